"""What is known about a channel besides its values: as it is now, and since when each of it holds."""

from operator import attrgetter

from sqlalchemy import Connection

from archiver.sample import Dated, Metadata

_NUMBERS = "unit, prec, low_disp_rng, high_disp_rng, low_warn_lmt, high_warn_lmt, low_alarm_lmt, high_alarm_lmt"


def describe(connection: Connection, channel: int, dated: Dated) -> None:
    """Note what holds from a time on, if it is new; what is known first holds from the beginning."""
    known = history(connection, channel)
    if known and known[-1].metadata == dated.metadata:
        return
    since_ns = dated.since_ns if known else 0
    for table in ("num_metadata", "enum_metadata"):
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE channel_id = ?", (channel,))
    for suffix, key in (("", (channel,)), ("_history", (channel, since_ns))):
        _write(connection, suffix, key, dated.metadata)


def history(connection: Connection, channel: int) -> list[Dated]:
    """All that was ever known, the oldest first."""
    numbers = f"SELECT since_time, {_NUMBERS} FROM num_metadata_history WHERE channel_id = ?"
    found = [Dated(since, _numeric(*row)) for since, *row in connection.exec_driver_sql(numbers, (channel,))]
    words = "SELECT since_time, enum_val FROM enum_metadata_history WHERE channel_id = ? ORDER BY enum_nbr"
    states: dict[int, list[str]] = {}
    for since, word in connection.exec_driver_sql(words, (channel,)):
        states.setdefault(since, []).append(word)
    found += [Dated(since, Metadata(words=tuple(each))) for since, each in states.items()]
    return sorted(found, key=attrgetter("since_ns"))


def _numeric(unit: str, precision: int, *limits: float | None) -> Metadata:
    display, warning, alarm = zip(limits[0::2], limits[1::2], strict=True)
    return Metadata(unit, precision, display, warning, alarm)


def _write(connection: Connection, suffix: str, key: tuple[int, ...], about: Metadata) -> None:
    names = ("channel_id", "since_time")[: len(key)]
    if about.words:
        marks = ", ".join("?" * (len(key) + 2))
        insert = f"INSERT INTO enum_metadata{suffix} ({', '.join(names)}, enum_nbr, enum_val) VALUES ({marks})"
        connection.exec_driver_sql(insert, [(*key, *word) for word in enumerate(about.words)])
        return
    marks = ", ".join("?" * (len(key) + 8))
    insert = f"INSERT INTO num_metadata{suffix} ({', '.join(names)}, {_NUMBERS}) VALUES ({marks})"
    numbers = (about.unit, about.precision, *about.display, *about.warning, *about.alarm)
    connection.exec_driver_sql(insert, (*key, *numbers))
