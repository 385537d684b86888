"""Archives with all that one can hold, and what they hold, for the tests of what carries them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from archiver.sample import Dated, Gap, Metadata, Sample, gap_marker, pack
from archiver.storage.database import open_reader, open_source, open_store
from archiver.storage.transfer.tables import CARRIED

START = 1_700_000_000_000_000_000
SECOND = 10**9
# Rows that each archiver has of the PV R
ROWS = 3_000


def fill(database: str, archiver: str = "LAB:one") -> None:
    """Fill an archive: numbers, states, texts, arrays, NaN, gaps, units of the past, thinned rows."""
    with closing(open_store(database, archiver)) as store:
        store.add_metadata(
            {
                "R": Dated(0, Metadata("V", 2, (0.0, 8000.0), (None, 10.0), (None, 20.0))),
                "S": Dated(0, Metadata(words=("Off", "On", "Trip"))),
                "OLD": Dated(0, Metadata("V", 1)),
            }
        )
        store.add(
            [Sample("R", START + n * SECOND, n * 0.1, n % 3, "HIGH" if n % 3 else "NO_ALARM") for n in range(ROWS)]
        )
        store.add([Sample("OLD", START + n * SECOND // 10, float(n % 7), 0, "NO_ALARM") for n in range(ROWS)])
        store.add_metadata({"R": Dated(START + 100 * SECOND, Metadata("kV", 5))})
        store.add_metadata({"S": Dated(START + 100 * SECOND, Metadata(words=("Off", "On", "Trip", "Ünknown 电压")))})
        store.add(
            [
                *(Sample("S", START + n * SECOND, n % 3, 0, "NO_ALARM") for n in range(10)),
                Sample("S", START + 20 * SECOND, -5, 3, "STATE"),
                gap_marker("S", START + 30 * SECOND, Gap.DISCONNECTED),
                Sample("NAN", START, float("nan"), 3, "UDF"),
                Sample("NAN", START + 1000, float("-inf"), 0, "NO_ALARM"),
                Sample("TEXT", START + 123_456, "it's \\ a 'text'\n电压 \U0001f600", 0, "NO_ALARM"),
                Sample("TEXT", START + SECOND, "", 0, "NO_ALARM"),
                Sample("WF", START, pack([1.0, float("nan"), 3.0]), 0, "NO_ALARM"),
                Sample("WF", START + SECOND, pack([]), 0, "NO_ALARM"),
                Sample("WF", START + 2 * SECOND, pack([0.5] * 20_000), 0, "NO_ALARM"),
            ]
        )
        while store.thin("OLD", START + 100 * SECOND, 10 * SECOND):
            pass
        store.live(START + ROWS * SECOND)


def contents(database: str) -> dict[str, Any]:
    """Return all that an archive holds, by names and not by ids; times in microseconds."""
    with closing(open_source(database)) as source:
        channels = {each.number: (each.name, each.pv, each.archiver) for each in source.channels()}
        statuses = source.statuses()
        rows = [
            (channels[row.channel], row.time_ns // 1000, row.severity, statuses[row.status], *row[4:])
            for chunk in source.chunks(list(channels), {})
            for row in chunk
        ]
        tables = {
            table.name: sorted(
                tuple(
                    channels[value] if name == "channel_id" else value // 1000 if name == "since_time" else value
                    for name, value in zip(table.columns, row, strict=True)
                )
                for row in source.table(table)
            )
            for table in CARRIED
        }
        archivers = dict(source.archivers())
    read: dict[str, list[Sample]] = {}
    with closing(open_reader(database)) as reader:
        for each in reader.samples(reader.names(), 0, 2**62):
            read.setdefault(each.pv, []).append(each._replace(time_ns=each.time_ns // 1000))
    return {
        "channels": sorted(channels.values()), "rows": sorted(rows, key=lambda row: row[:2]), "archivers": archivers,
        "read": {pv: repr(samples) for pv, samples in read.items()}, **tables,
    }  # fmt: skip
