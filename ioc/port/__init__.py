"""One instrument's connection: the thread that reads it, what is put next, and how old its values may be.

port       the thread: connecting, scans; the one place where thread and event loop meet
execution  puts carried out step by step, and what follows by itself
beat       for how long the process stood still
calls      calls of the driver: what they raise, and how long they take
listener   what happens on a port, and who is told
putqueue   what is put next, and what makes things safe and is pending
scan       when a scan group is due, and how groups share the line
newest     floods of puts to one point, of which the newest wins
ended      the end of what somebody waits for
outbox     what the thread tells the event loop, in order and in turns
rereads    requests to read a group now
errorlog   errors in the log, each once, or summed up
watch      hangs, silence, old values, by a clock that no scan can hold up
ages       what was not read for too long to be true
"""

from __future__ import annotations

from ioc.port.ages import Ages
from ioc.port.errorlog import ErrorLog
from ioc.port.listener import Link
from ioc.port.port import Port
from ioc.port.watch import ScanState, Watch

__all__ = ["Ages", "ErrorLog", "Link", "Port", "ScanState", "Watch"]
