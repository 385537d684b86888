"""A fake CAEN high-voltage crate behind a fake of CAEN's C library.

header      what the library's C header defines
parameters  parameters and system properties, and what has parameters
channel     a high-voltage channel
crate       boards and the crate that holds them
boards      the boards of the demo crate and of the large one
login       what the library asks of a crate on the network
memory      what the library reads from and writes to its caller's memory
functions   the functions of the C library
library     the C library
odd         channels that do not take a setting as it is
faults      faults of single calls: a result code, a delay
cratefaults faults of its time, its sessions and its boards
truth       its true state, for who compares it with what is shown
fake        the crate on the network, with its faults

Source: CAENHVWrapper.h and the manual of the library.
"""

from __future__ import annotations

from sim.caen.fake import CrateFake

FAKE = CrateFake
