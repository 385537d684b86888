"""CAEN high-voltage crates (SY1527 to R6060 and their relatives) over caen-libs and CAEN's HV Wrapper library.

config      the instrument's keys in the configuration file
library     one open handle, and why it cannot be opened; calls that are repeated when boards came or went
session     one login to one crate: every failure of caen-libs as a DeviceError, and whether the crate is there
replies     replies that caen-libs cannot decode
retry       when to ask again for what was asked in vain
formats     how a value looks as EPICS records, and how it goes over the wire
bits        what the bits of the status words mean
roles       what a parameter is for, by its name
items       parameters, names, properties and commands: their points, how they are read and set
questions   what a crate is asked about a parameter, a property or a list, one call a step
discovery   the list of what is still to be asked of a board
board/      what is served of one board, and how it is read
inventory   the boards of the crate, which come and go
puts        how a put is carried out and confirmed
driver      the crate: its scans and puts

Source: CAENHVWrapper.h and the manual of the library, and caen-libs 3.3 for what its calls do.
"""

from __future__ import annotations

from drivers.caen.config import Config
from drivers.caen.driver import Caen

DRIVER = Caen

__all__ = ["DRIVER", "Caen", "Config"]
