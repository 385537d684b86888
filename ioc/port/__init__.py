"""One instrument's connection: the thread that reads it, what is put next, and how old its values may be.

port      the thread: connecting, scans, puts; the one place where thread and event loop meet
putqueue  what is put next, and what makes things safe and is pending
scan      when a scan group is due, and how groups share the line
ages      what was not read for too long to be true
"""

from __future__ import annotations

from ioc.port.port import Link, Port

__all__ = ["Link", "Port"]
