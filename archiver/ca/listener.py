"""The contract between the Channel Access client and the users of its updates."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from archiver.sample import Metadata, Value


class PvUpdate(NamedTuple):
    """A value from a PV's IOC: the IOC's time stamp (ns since 1970, UTC), value, severity (0 to 3), status word."""

    stamp_ns: int
    value: Value
    severity: int
    status: str


class PvListener(Protocol):
    """The user of one PV's updates.

    All methods are called by the thread that polls the client, in the order in which things happened.
    """

    def connected(self) -> None:
        """Handle a connection, the first or a new one; metadata and the value in force follow."""

    def metadata_changed(self, metadata: Metadata) -> None:
        """Handle the metadata that hold from now on."""

    def update(self, update: PvUpdate) -> None:
        """Handle a value that was posted for archivers or with a change of alarm (DBE_LOG | DBE_ALARM)."""

    def lost(self, since_ns: int) -> None:
        """Handle that updates were dropped, from a time stamp (ns since 1970) on; the last of them follows."""

    def disconnected(self) -> None:
        """Handle the loss of the connection; libca searches for the PV again."""
