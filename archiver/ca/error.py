"""The error of a session, for those who catch it without loading libca."""

from __future__ import annotations


class SessionError(Exception):
    """What a PV did not do; ``str(error)`` is one sentence for the user."""
