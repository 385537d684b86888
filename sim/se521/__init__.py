"""A fake Center SE521 thermocouple logger on a fake USB bus (manual: USB protocol of the logger)."""

from __future__ import annotations

from sim.se521.fake import ThermometerFake

FAKE = ThermometerFake
