"""Summaries: what making them costs beside ingest, and a year of a PV with a row a second as a plot."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Annotated
from unittest.mock import patch

import typer

from archiver.history.bins import bin_lines
from archiver.history.command import POINTS
from archiver.history.curves import picture
from archiver.history.query import Window, open_query
from archiver.history.segments import Plan, drawn_width
from archiver.history.statistics import events
from archiver.history.summary import summaries
from archiver.storage import summarizer
from archiver.storage.database import open_reader, open_store
from archiver.storage.summarizer import Summarizer
from bench.ingest import Rackioc, Scans, TimedWriter
from bench.rig import archives, table
from bench.rig.archives import DAY_NS, END_NS, NAMES, SECOND_NS, Series
from bench.rig.contest import Rounds
from bench.rig.databases import Backend, Database, Directory, MariadbDatabases, SqliteFiles, connect, databases
from bench.rig.table import Column, Figures, TableRow

INGEST = (
    Column("lasting", "samples/s with settling and summaries", 0),
    Column("beside", "x without summaries", 2),
    Column("share", "of its own rate without that", 2),
    Column("longest", "longest commit, s", 2),
    Column("cpu", "CPU of this process, us/sample", 2),
    Column("cpu_beside", "x without summaries", 2),
)
YEAR = (Column("seconds", "s", 3), Column("points", "points", 0))
GOALS = ("0.9 of the rate without summaries", "a plot of a year from its 1,000 points within 0.3 s")
Days = Annotated[int, typer.Option(min=2, help="Days of the PV with a row a second.")]
# Seconds from one scan to the next: hours are to be completed.
SPACING = 10


class WithoutSummaries(Rackioc):
    """The archiver, which makes no summaries."""

    def store(self) -> None:
        """Store what is queued."""
        with patch.object(Summarizer, "step", lambda *_: False):
            super().store()


def main(
    rounds: Rounds = 3,
    scans: Scans = 360,
    days: Days = 365,
    database: Database = Backend.sqlite,
    directory: Directory = None,
) -> None:
    """Measure ingest with and without summaries, in turn, and a year's plot from them."""
    with databases(database, directory) as there:
        _ingest(there, rounds, scans)
        _year(there, rounds, days)


def _ingest(there: SqliteFiles | MariadbDatabases, rounds: int, scans: int) -> None:
    summarizer.PERIOD = 5.0  # these hours are quicker than real ones
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        writers = []
        for name, kind in (("summaries", Rackioc), ("no_summaries", WithoutSummaries)):
            writer = kind(there.create(name), Path(folder) / f"{name}.sqlite", f"rackioc, {name.replace('_', ' ')}")
            writers.append(TimedWriter(writer, END_NS, SPACING * SECOND_NS))
        for each in writers:
            stack.enter_context(closing(each.writer))
        runs = []
        for number in range(rounds):
            typer.echo(f"round {number + 1} of {rounds}", err=True)
            turn = writers if number % 2 else writers[::-1]
            run = {each.writer.title: _round(each, scans, number) for each in turn}
            runs.append([run[each.writer.title] for each in writers])
        rows = [
            TableRow(each.writer.title, [_compared(run[n], run[1]) for run in runs]) for n, each in enumerate(writers)
        ]
        title = f"summaries: {there.title}, {rounds} x {scans} scans of {len(NAMES):,} PVs, {SPACING} s apart"
        table.show(title, INGEST, rows, None, GOALS[0], head="writer")
        with closing(open_reader(there.url("summaries"))) as reader:
            typer.echo(f"summaries were made of {sum(bool(reader.summarized(pv)) for pv in NAMES):,} PVs")


def _round(writer: TimedWriter, scans: int, number: int) -> Figures:
    begin = time.process_time()
    figures = writer.round(scans, Random(number))
    return {**figures, "cpu": (time.process_time() - begin) / scans / len(NAMES) * 1e6}


def _compared(run: Figures, reference: Figures) -> Figures:
    ratios = {"beside": run["lasting"] / reference["lasting"], "cpu_beside": run["cpu"] / reference["cpu"]}
    return {**run, **ratios, "share": run["lasting"] / run["rate"]}


def _year(there: SqliteFiles | MariadbDatabases, rounds: int, days: int) -> None:
    name = f"days_{days}"
    url = there.url(name)
    count = days * DAY_NS // SECOND_NS
    typer.echo(f"filling {count:,} rows", err=True)
    there.create(name)
    open_store(url).close()
    archives.fill(there, url, iter([Series(1, END_NS - days * DAY_NS, SECOND_NS, count)]))
    typer.echo(f"made of {count / archives.summarize(url):,.0f} rows/s (archive of before, without pauses)")
    cases = {"a plot": _plot, "--stat": _stat, "--bin 1d": _bin, "--bin 1h": _hours, "--bin 31537s": _odd}
    if there.kind is Backend.mariadb:
        cases["the stored procedure"] = _procedure
    rows = []
    for cold in (True, False):
        for title, case in cases.items():
            runs: list[Figures] = []
            for _ in range(rounds):
                if cold:
                    there.drop_caches(name)
                begin = time.perf_counter()
                points = case(url, days)
                runs.append({"seconds": time.perf_counter() - begin, "points": points})
            rows.append(TableRow(f"{title}, {'cold' if cold else 'warm'}", runs))
    table.show(f"{there.title}, {days} days of a row a second", YEAR, rows, None, GOALS[1], head="what")


def _plot(url: str, days: int) -> int:
    with open_query(url, [NAMES[0]], Window(END_NS - days * DAY_NS, END_NS)) as query:
        width_ns = drawn_width(query, POINTS)
        ((curve,),) = picture(Plan(query, width_ns).items(), query, width_ns).axes
        return len(curve.values)


def _stat(url: str, days: int) -> int:
    with open_query(url, [NAMES[0]], Window(END_NS - days * DAY_NS + 1, END_NS - 1)) as query:
        plan = Plan(query)
        return len(list(summaries(events(plan.items(), query, plan), query)))


def _bin(url: str, days: int) -> int:
    return _bins(url, days, DAY_NS)


def _hours(url: str, days: int) -> int:
    return _bins(url, days, DAY_NS // 24)


def _odd(url: str, days: int) -> int:
    return _bins(url, days, 31_537 * SECOND_NS)


def _bins(url: str, days: int, width_ns: int) -> int:
    with open_query(url, [NAMES[0]], Window(END_NS - days * DAY_NS + 1, END_NS - 1)) as query:
        plan = Plan(query, width_ns)
        return len(list(bin_lines(events(plan.items(), query, plan), query, width_ns, fill=False)))


def _procedure(url: str, days: int) -> int:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        window = ((END_NS - days * DAY_NS) / 1e9, END_NS / 1e9, POINTS)
        cursor.execute("CALL rackioc_history(1, FROM_UNIXTIME(%s), FROM_UNIXTIME(%s), %s)", window)
        return len(cursor.fetchall())


if __name__ == "__main__":
    typer.run(main)
