"""What happens on a port, and who is told."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from drivers.base import DeviceError, Point, Readings, Value


class Link(IntEnum):
    """State of a connection, as the Conn record shows it."""

    Down = 0
    Connecting = 1
    Up = 2


class Listener(Protocol):
    """Who gets what happens on a port; always called in the event loop's thread, in order."""

    def link(self, state: Link, error: DeviceError | None) -> None:
        """Handle a change of the connection; ``error`` says why it is down."""

    def points(self, points: tuple[Point, ...]) -> None:
        """Handle a change of what the instrument has."""

    def readings(self, readings: Readings, moment: float, read_at: float) -> None:
        """Handle readings whose transaction ended at ``moment`` (s since 1970 UTC), ``read_at`` (monotonic s)."""

    def failed(self, group: str, read: frozenset[str], error: DeviceError) -> None:
        """Handle a scan that ended with an error; ``read`` are the points that it had read before."""

    def scanned(self, group: str) -> None:
        """Handle the end of a scan, good or bad."""

    def done(self, point: Point, value: Value, readings: Readings, asked: float) -> None:
        """Handle the end of a put that was carried out.

        ``readings`` is what the instrument said in its course; ``asked`` when it was asked for (monotonic s).
        """

    def unknown(self, point: Point, error: DeviceError) -> None:
        """Handle a put that failed, of which it is not known what it did."""

    def pending(self, point: Point) -> None:
        """Handle a put that makes things safe and has become pending, or is not any more (``Port.is_pending``)."""
