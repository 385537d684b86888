"""The note that a PV has another name since a time: its history is read as one under both names."""

from __future__ import annotations

import time
from contextlib import closing

from sqlalchemy import text

from archiver.history.query import HistoryError, time_of
from archiver.sample import END_OF_TIME_NS, is_gap
from archiver.storage import manage
from archiver.storage.database import connect, open_reader
from archiver.storage.store import Reader, Rename
from archiver.storage.url import url_of
from archiver.times import format_time

_ADD = "INSERT INTO renamed (old_pv, new_pv, since_time) VALUES (:old, :new, :since)"
_REMOVE = "DELETE FROM renamed WHERE old_pv = :old AND new_pv = :new"


def rename(database: str, old: str, new: str, at: str | None = None) -> Rename:
    """Note that a PV is ``new`` from a time on: left out, from the first row of ``new`` on, or if it has none, now.

    No row is touched. Raises HistoryError if a value would be hidden by it.
    """
    manage.migrate(database)
    with closing(open_reader(database)) as reader:
        _check_names(reader, old, new)
        made = Rename(old, new, _since(reader, new, at))
        _check(reader, made)
    with connect(url_of(database)) as connection, connection.begin():
        connection.execute(text(_ADD), {"old": old, "new": new, "since": made.since_ns})
    return made


def undo(database: str, old: str, new: str) -> None:
    """Take back a rename. Raises HistoryError if there is none."""
    manage.migrate(database)
    with connect(url_of(database)) as connection, connection.begin():
        if not connection.execute(text(_REMOVE), {"old": old, "new": new}).rowcount:
            raise HistoryError(f"{old} is not renamed to {new}: nothing is to be taken back")


def _check_names(reader: Reader, old: str, new: str) -> None:
    """Raise HistoryError if the two names cannot be those of one PV."""
    if old not in reader.names():
        raise HistoryError(f"{old} is not in the archive, so it cannot be renamed")
    later, end = {each.old: each.new for each in reader.renames()}, new
    for each in reader.renames():
        if old == each.old or new == each.new:
            raise HistoryError(
                f"{each.old} is renamed to {each.new} already, since {format_time(each.since_ns)}: take that back "
                "with --undo"
            )
    while end != old and end in later:
        end = later[end]
    if end == old:
        raise HistoryError(f"{new} is an older name of {old}, or the same: give the name that the PV has now")


def _since(reader: Reader, new: str, at: str | None) -> int:
    """Return from when on the new name holds."""
    now_ns = time.time_ns()
    given = time_of(at, now_ns, local=True)
    if given is not None:
        return given
    if new not in reader.names():
        return now_ns
    return next((each.time_ns for each in reader.samples([new], 0, END_OF_TIME_NS)), now_ns)


def _check(reader: Reader, made: Rename) -> None:
    """Raise HistoryError if the old name has values after the time, or the new one before it."""
    after = reader.samples([made.old], made.since_ns, END_OF_TIME_NS)
    for sample in after:
        if sample.time_ns >= made.since_ns and not is_gap(sample):
            raise HistoryError(
                f"{made.old} has values after {format_time(made.since_ns)}, which would not be seen: give a "
                "later time with --at"
            )
    if made.new in reader.names():
        for sample in reader.samples([made.new], 0, made.since_ns - 1):
            if not is_gap(sample):
                raise HistoryError(
                    f"{made.new} has values before {format_time(made.since_ns)}, which would not be seen: give with "
                    f"--at {format_time(sample.time_ns)}, the time of its first one, or an earlier one"
                )
