"""The first and the newest row of channels, in the SQL of MySQL.

They are looked up channel by channel: grouped by channel, or where it has the choice of an index, a server that does
not know how many rows a table has may read all of them, as it did for 12 s after a filling, and as it does after a
table was exchanged for a part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

# Channels whose rows one statement looks up: of one without any the server looks into each part, 120 in ten years.
SLICE = 500

# Days in which the newest row is looked for, one after the other, before all there is: else the server looks into
# each part for each PV that has not changed for a day.
_DAYS = (1, 40, 400)


def end_of(column: str, channels: str, source: str = "sample", *, where: str = "TRUE", order: str = "DESC") -> str:
    """Return the subquery of a column of the last row (ASC: the first) of each channel of a table ``channels``.

    ``column`` is the time in the key of ``source``, a table or a part of it; NULL where there is no row.
    """
    return (
        f"(SELECT {column} FROM {source} AS found FORCE INDEX (PRIMARY) "
        f"WHERE found.channel_id = {channels}.channel_id AND {where} ORDER BY {column} {order} LIMIT 1)"
    )


def newest_time(channels: str) -> str:
    """Return the expression of the time of the newest row of each channel of a table ``channels``."""
    since = (*(f"smpl_time >= NOW() - INTERVAL {days} DAY" for days in _DAYS), "TRUE")
    return f"COALESCE({', '.join(end_of('smpl_time', channels, where=each) for each in since)})"


def slices(channels: Collection[int]) -> Iterator[tuple[int, ...]]:
    """Yield channels in parts that one statement may look up."""
    numbers = sorted(channels)
    return (tuple(numbers[begin : begin + SLICE]) for begin in range(0, len(numbers), SLICE))
