"""What a board, or the crate itself, has: its items, and the points made of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from drivers.base import Point
from drivers.caen.board.arrays import ChannelArray, channel_arrays
from drivers.caen.items import Item, Variable, summary
from drivers.caen.questions import label_of

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board

log = logging.getLogger(__name__)


class PointTable:
    """The items of a board (None: of the crate itself) and their points.

    items    label -> item
    arrays   the waveforms of the board's channels
    changed  True when ``points`` are new; whoever publishes them resets it
    """

    def __init__(self, board: Board | None, items: Iterable[Item]) -> None:
        self.items = _distinct(item if item.board is board else replace(item, board=board) for item in items)
        self.arrays: tuple[ChannelArray, ...] = ()
        self._slot = None if board is None else board.slot
        self._names: dict[int | None, str] = {}  # channel -> its name in the crate
        self._points: tuple[Point, ...] | None = None  # None: an item has changed since
        self.changed = True
        if board is not None:
            title = label_of(board.slot, None)
            self.arrays = tuple(channel_arrays(board.n_channel, title, self.variables()))
            self._use_units(self.arrays)

    @property
    def points(self) -> tuple[Point, ...]:
        """Return the points of all items and arrays, and the worst alarm.

        It is a new tuple after an item or a channel's name has changed.
        """
        if self._points is None:
            self._points = tuple(self._make_points())
        return self._points

    def variables(self) -> Iterator[Variable]:
        """Yield the items that have a value."""
        return (item for item in self.items.values() if isinstance(item, Variable))

    def variable(self, label: str) -> Variable:
        """Return the item of that label, as the crate described it last."""
        item = self.items[label]
        assert isinstance(item, Variable)
        return item

    def has(self, items: Iterable[Item]) -> bool:
        """Return True if there is an item of each of these labels, and no other."""
        return {item.label for item in items} == self.items.keys()

    def replace(self, item: Item) -> None:
        """Replace the item of the same label, which the crate describes differently now."""
        if item != self.items[item.label]:
            self.items[item.label] = item
            self._use_units(array for array in self.arrays if item.label in array.labels)
            self._renew()

    def rename(self, names: Mapping[int | None, str]) -> None:
        """Set channels' names (channel -> name), with which their descriptions begin."""
        if names.items() - self._names.items():
            self._names |= names
            self._renew()

    def _use_units(self, arrays: Iterable[ChannelArray]) -> None:
        for array in arrays:
            array.use_units(map(self.variable, array.labels))

    def _renew(self) -> None:
        self._points = None
        self.changed = True

    def _make_points(self) -> Sequence[Point]:
        points = [point for item in self.items.values() for point in item.points(self._title(item))]
        points += [array.point() for array in self.arrays]
        if self._slot is not None:
            title = label_of(self._slot, None)
            points.append(summary({point.name for point in points}, title, [f"{title}:"]))
        return points

    def _title(self, item: Item) -> str:
        if self._slot is None:
            return ""
        return self._names.get(item.channel) or label_of(self._slot, item.channel)


def _distinct(items: Iterable[Item]) -> dict[str, Item]:
    """Return the items by label, without those of whose points one is there already."""
    used: set[str] = set()
    found = {}
    for item in items:
        names = {point.name for point in item.points("")}
        if names & used:
            log.warning("left out (no PVs are made of it): %s, because the crate has two of that name", item.label)
            continue
        used |= names
        found[item.label] = item
    return found
