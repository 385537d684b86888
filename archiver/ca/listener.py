"""The contract between Channel Access and whoever wants its updates."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from archiver.sample import Metadata, Value


class PvUpdate(NamedTuple):
    """What a PV's IOC sent: its own time stamp (ns since 1970, UTC), and value, severity (0 to 3) and status word."""

    stamp_ns: int
    value: Value
    severity: int
    status: str


class PvListener(Protocol):
    """One PV. All calls come from the thread that polls the client, in the order in which things happened."""

    def connected(self) -> None:
        """There is a connection, a new one or again; metadata and the value in force follow."""

    def metadata_changed(self, metadata: Metadata) -> None:
        """What holds from now on."""

    def update(self, update: PvUpdate) -> None:
        """A value that was posted for archivers or with a change of alarm (DBE_LOG | DBE_ALARM)."""

    def disconnected(self) -> None:
        """The connection is gone; it will be looked for."""
