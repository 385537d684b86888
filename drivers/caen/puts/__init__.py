"""How a put is carried out: sent, read back until the crate shows it, and judged.

put       the steps of a put
limits    what is asked before it is sent
kills     kills that are not known to be carried out
outcome   what a result code, and a value that was read back, say of it

Each call to the crate is a step of its own, and each wait is one: meanwhile the crate is scanned, and other puts are
carried out. A put that switches off asks for nothing first, and waits behind two calls at most: it goes also between
those with which ``Session.confirm`` asks whether a crate is dead.
"""

from __future__ import annotations

from drivers.caen.puts.kills import Kills, reaches, status_words
from drivers.caen.puts.put import execute, send, set_variable

__all__ = ["Kills", "execute", "reaches", "send", "set_variable", "status_words"]
