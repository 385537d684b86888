"""Faults of the program itself: an exception where none is expected.

Whoever catches one lets it cost the least that is possible (one record, one request, one update) and reports it here.
At 50 updates a second a line for each would bury everything else, so each is logged once, with its traceback.
"""

from __future__ import annotations

import logging

log = logging.getLogger("rackioc.faults")

_seen: set[tuple[str, str, type[Exception]]] = set()


def log_once(place: str, name: str, error: Exception) -> None:
    """Log an exception, unless one of its type was logged for this place and name before.

    ``place``: what failed, in words; ``name``: of the record. Both come from few, never from what a client sends.
    """
    seen = (place, name, type(error))
    if seen not in _seen:
        _seen.add(seen)
        log.error("internal error in %s of %s; said once", place, name, exc_info=error)
