"""Center SE521, a logger for four thermocouples, on USB (a HID-to-UART bridge, 04d9:e000) through pyusb.

config  the instrument's keys in the configuration file
bus     the loggers on the USB buses, and which of them is meant
link    transactions with one of them, and how they are brought into step again
means   means of the last readings
driver  the logger: its points and its scan

Source: public code for the instrument; there is no manual of the protocol. Temperatures cross the wire in tenths of a
degree Fahrenheit, whatever the display shows. Assumed, because it was not tried on an instrument: a 1 in the low
nibble of the flags says "connected" (bit 3 is channel 1); the counter comes back in byte 31 of the second report.
"""

from __future__ import annotations

from drivers.se521.config import SE521Config
from drivers.se521.config import SE521Config as Config
from drivers.se521.driver import SE521

DRIVER = SE521

__all__ = ["DRIVER", "SE521", "Config", "SE521Config"]
