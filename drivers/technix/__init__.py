"""Technix high-voltage generators (SR100KV-5KW and similar ones) on their RS-232 line.

config     the instrument's keys in the configuration file
watchdog   what can be known from outside about the generator's watchdog
loss       when a generator that is not understood is asked
points     the status byte, the ranges of voltage and current, and the points made of them
setpoints  what is known of the setpoints, which cannot be read
status     the status byte, and what follows from it
line       commands and their replies on the serial line
switching  the pairs of commands that switch high voltage
driver     the generator: its scan and its puts

Source: the manual's chapter "RS-232 control protocol". What the manual leaves open is marked "assumed".
"""

from __future__ import annotations

from drivers.technix.config import TechnixConfig as Config
from drivers.technix.driver import Technix

DRIVER = Technix

__all__ = ["DRIVER", "Config", "Technix"]
