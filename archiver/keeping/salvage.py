"""The salvage of an archive from a damaged SQLite file: what can be read goes to a new one, what cannot is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from operator import attrgetter
from typing import NamedTuple

from archiver.keeping.copy import Report, carry
from archiver.sample import INVALID, RESOLUTION_NS, Gap
from archiver.storage import manage
from archiver.storage.database import open_target
from archiver.storage.sqlite.salvage import FIRST, DamagedFile, Hole
from archiver.storage.store import StoreError
from archiver.storage.transfer.contract import Channel, Row, Target
from archiver.storage.transfer.tables import CARRIED
from archiver.storage.url import url_of


class Salvaged(NamedTuple):
    """What was salvaged: rows; names of PVs with a hole; tables of which something is lost; tables left out."""

    rows: int
    pvs: list[str]
    tables: list[str]
    others: list[str]


def salvage(damaged: str, new: str, report: Report) -> Salvaged:
    """Copy what can be read of a damaged file to a new archive, with ``Damaged`` where rows are missing.

    Raises StoreError, also if SQLite cannot read the file at all.
    """
    url = url_of(damaged)
    if url.backend != "sqlite":
        raise StoreError("only an SQLite file is salvaged: on a server its own tools repair, or a backup is restored")
    if manage.exists(new):
        raise StoreError(
            f"{url_of(new).shown}: there is an archive already (of a salvage that was interrupted, a part of one): "
            "name a new one for what is salvaged"
        )
    with closing(DamagedFile(url)) as source:
        manage.init(new)
        with closing(open_target(new)) as target:
            return _salvage(source, target, report)


def _salvage(source: DamagedFile, target: Target, report: Report) -> Salvaged:
    target.begin("")
    channels = source.channels()
    ids = dict(target.channels(channels))
    names = source.statuses()
    numbers = target.statuses({*names.values(), Gap.DAMAGED, "UDF"})
    statuses = {number: numbers[name] for number, name in names.items()}
    rows = 0
    for chunk in source.chunks(channels):
        if nameless := [_nameless(number) for number in {row.channel for row in chunk} - ids.keys()]:
            ids |= target.channels(nameless)
        target.add([_translated(row, ids, statuses, numbers["UDF"]) for row in chunk])
        rows += len(chunk)
        report(rows, rows)
    holes = [hole for hole in source.holes if hole.channel in ids]
    _mark(target, holes, ids, numbers[Gap.DAMAGED])
    for table in CARRIED:
        carry(source, target, table, ids)
    target.refresh_metadata(list(ids.values()))
    target.finish(source.archivers())
    pvs = {each.number: each.pv for each in channels}
    lost = {pvs.get(hole.channel, _nameless(hole.channel).pv) for hole in holes}
    return Salvaged(rows, sorted(lost), sorted(source.lost), source.others)


def _mark(target: Target, holes: Sequence[Hole], ids: Mapping[int, int], status: int) -> None:
    """Mark the holes as gaps; before a channel's first row nothing is known anyhow."""
    word = Gap.DAMAGED.value
    rows = [
        Row(ids[hole.channel], hole.after_ns + RESOLUTION_NS, INVALID + 1, status, None, None, word, None)
        for hole in holes
        if hole.after_ns != FIRST
    ]
    target.add(sorted(rows, key=attrgetter("channel", "time_ns")))


def _nameless(number: int) -> Channel:
    """Return a channel whose name cannot be read."""
    return Channel(number, f"unknown:{number}", f"unknown:{number}", None)


def _translated(row: Row, ids: Mapping[int, int], statuses: Mapping[int, int], unknown: int) -> Row:
    return row._replace(channel=ids[row.channel], status=statuses.get(row.status, unknown))
