"""The updates of a whole block to one client, as one array of ready messages."""

from __future__ import annotations

import numpy as np

from ioc.block import Block, Masks
from ioc.ca import dbr
from ioc.ca.connection import Connection
from ioc.ca.message import EVENT_ADD, NORMAL
from ioc.ca.subscription import Subscription
from ioc.ca.updates.crowd import Member

_FRAME = np.dtype(
    [
        *((name, ">u2") for name in ("command", "size", "type", "count")),
        *((name, ">u4") for name in ("status", "id")),
        *((name, ">u2") for name in ("stat", "sevr")),
        *((name, ">u4") for name in ("seconds", "nanoseconds")),
        ("pad", "V4"),
        ("value", ">f8"),
    ]
)


class Frames:
    """The subscriptions of one client with one mask to the doubles (with time) of a block."""

    def __init__(self, connection: Connection, mask: int, rows: list[int], subscriptions: list[Subscription]) -> None:
        self._connection = connection
        self._mask = mask
        self._rows = np.array(rows)
        self._subscriptions = subscriptions
        self._frames = np.zeros(len(rows), _FRAME)
        head = (EVENT_ADD, dbr.TIME_DOUBLE_SIZE, dbr.TIME_DOUBLE, 1, NORMAL)
        for name, number in zip(("command", "size", "type", "count", "status"), head, strict=True):
            self._frames[name] = number
        self._frames["id"] = [subscription.id for subscription in subscriptions]

    def send(self, block: Block, masks: Masks) -> None:
        """Send the client what changed in the block."""
        wanted = np.flatnonzero(masks[self._rows] & self._mask)
        if not len(wanted):
            return
        if self._connection.behind:
            self._connection.due.update((self._subscriptions[index], None) for index in wanted)
            return
        everything = len(wanted) == len(self._rows)
        rows, frames = (self._rows, self._frames) if everything else (self._rows[wanted], self._frames[wanted])
        time = block.time[rows]
        seconds = np.floor(time)
        frames["stat"], frames["sevr"] = block.stat[rows], block.sevr[rows]
        frames["seconds"] = np.maximum(seconds - dbr.EPICS_EPOCH, 0)
        frames["nanoseconds"] = (time - seconds) * 1e9
        frames["value"] = block.val[rows]
        self._connection.out.append(frames.tobytes())

    def send_alone(self, masks: Masks) -> None:
        """Send the client what changed one by one, after a failure: what fails then costs no other."""
        for index in np.flatnonzero(masks[self._rows] & self._mask):
            self._connection.update(self._subscriptions[index])


def arrange(block: Block) -> tuple[list[Frames], list[tuple[int, Member]]]:
    """Return the subscriptions to a block: by client and mask, and those (row, subscription) of other types."""
    together: dict[tuple[Connection, int], tuple[list[int], list[Subscription]]] = {}
    others = []
    for row, record in enumerate(block.records):
        for subscription in record.monitors:
            if subscription.fast:
                rows, members = together.setdefault((subscription.connection, subscription.mask), ([], []))
                rows.append(row)
                members.append(subscription)
            else:
                others.append((row, subscription))
    return [Frames(connection, mask, *found) for (connection, mask), found in together.items()], others
