"""The database as the writer sees it: the open store, and its state: ok, slow or away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.storage.store import Store, StoreError

# Seconds after which a call makes the database slow.
PATIENCE = 3.0
# Seconds after which a store is opened anew whose file was removed or replaced.
REOPEN = 3.0


class DatabaseLink:
    """The store, once it is open, and the state of the database as its last calls show it.

    healthy    True if the last call succeeded; False at first
    error      the message of the last call's error, "" if it succeeded
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._store: Store | None = None
        self._open_at = 0.0  # by the monotonic clock
        self._call_began: float | None = None  # by the monotonic clock; None between calls
        self.healthy = False
        self.error = ""

    @property
    def state(self) -> str:
        """Return ``slow`` during a call that has lasted over PATIENCE, else ``ok`` or ``away`` by the last call."""
        began = self._call_began
        if began is not None and time.monotonic() > began + PATIENCE:
            return "slow"
        return "ok" if self.healthy else "away"

    @property
    def is_open(self) -> bool:
        """Return whether there is a store; it stays open also while its database is away."""
        return self._store is not None

    @property
    def store(self) -> Store:
        """Return the open store. Raises StoreError if there is none."""
        if self._store is None:
            raise StoreError("the database is not open")
        return self._store

    def open(self) -> None:
        """Open the store. Raises StoreError."""
        self._store = self._open_store()

    @property
    def may_open(self) -> bool:
        """Return whether the store is to be opened; not right after it was left: its file may be being replaced."""
        return not self.is_open and time.monotonic() >= self._open_at

    def leave(self) -> None:
        """Close the store if it is open, so that it is opened anew after a while."""
        self.close()
        self._store = None
        self._open_at = time.monotonic() + REOPEN

    def close(self) -> None:
        """Close the store if it is open."""
        if self._store is not None:
            self._store.close()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Time a call of the store."""
        self._call_began = time.monotonic()
        try:
            yield
        finally:
            self._call_began = None
