"""Technix high-voltage generators (SR100KV-5KW and similar ones) on their RS-232 line.

config    the instrument's keys in the configuration file
watchdog  what can be known from outside about the generator's watchdog
points    the status byte, the ranges of voltage and current, and the points made of them
line      commands and their replies on the serial line
driver    the generator: its scan, puts, and the pairs of commands that switch high voltage

Source: the manual's chapter "RS-232 control protocol". What the manual leaves open is marked "assumed".
"""

from __future__ import annotations

from drivers.technix.config import TechnixConfig as Config
from drivers.technix.driver import Technix

DRIVER = Technix

__all__ = ["DRIVER", "Config", "Technix"]
