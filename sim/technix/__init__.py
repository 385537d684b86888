"""A fake Technix high-voltage generator on a serial line (manual: RS-232 control protocol)."""

from __future__ import annotations

from sim.technix.fake import TechnixFake

FAKE = TechnixFake
