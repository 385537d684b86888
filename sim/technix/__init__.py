"""A fake Technix high-voltage generator on a serial line (manual: RS-232 control protocol).

generator  its output, its contacts and its watchdog
protocol   commands and their answers
faults     what can go wrong with it and with its line
fake       the generator at the end of the line
"""

from __future__ import annotations

from sim.technix.fake import TechnixFake

FAKE = TechnixFake
