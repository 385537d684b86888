"""The command ``rackioc history``: it prints or draws the history."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from archiver.history import bins, rows, summary
from archiver.history.curves import Picture, picture
from archiver.history.formats import FORMATS, OutputLine
from archiver.history.narrow import fit, narrow, narrow_columns
from archiver.history.progress import with_progress
from archiver.history.query import HistoryError, HistoryUsageError, Query, Window, open_query, time_of
from archiver.history.rows import HistoryRow
from archiver.history.segments import Plan, drawn_width
from archiver.history.statistics import events
from archiver.sample import INVALID, Sample
from archiver.storage.store import Bin
from archiver.units import seconds

# Points of a plot, about; where there are more rows, summaries are drawn.
POINTS = 1000


@dataclass(frozen=True, kw_only=True)
class HistoryOptions:
    """The options of the command as they were given.

    ``utc``: times on a terminal are in UTC, too, not in local time; so are times that are given without an offset.
    ``at``, ``stat``, ``bin``, ``plot`` and ``terminal`` are views, of which at most one may be given.
    """

    pvs: Sequence[str]
    database: str
    since: str | None = None
    until: str | None = None
    form: str | None = None
    at: str | None = None
    stat: bool = False
    bin: str | None = None
    fill: bool = False
    plot: Path | None = None
    terminal: bool = False
    utc: bool = False

    def views(self) -> list[str]:
        """Return the options given that show something other than the rows."""
        asked = {"at": self.at, "stat": self.stat or None, "bin": self.bin, "plot": self.plot,
                 "terminal": self.terminal or None}  # fmt: skip
        return [f"--{name}" for name, value in asked.items() if value is not None]

    def check(self) -> None:
        """Raise HistoryUsageError for options that are wrong or do not go together, before anything is read."""
        views = self.views()
        if len(views) > 1:
            raise HistoryUsageError(f"{' and '.join(views)} exclude each other: give one of them")
        if self.at is not None and (self.since or self.until):
            raise HistoryUsageError("--at is one time, --since and --until are a window: give --at or the others")
        if self.fill and self.bin is None:
            raise HistoryUsageError("--fill is for empty bins: give --bin with it")
        if self.form and (self.plot or self.terminal):
            raise HistoryUsageError(f"--format is for rows and numbers: leave it out with {views[0]}")
        if self.form and self.form not in FORMATS:
            raise HistoryUsageError(f"{self.form!r} is not a format: choose one of {', '.join(FORMATS)}")
        if self.plot and self.plot.suffix.lower() != ".png":
            raise HistoryUsageError(f"{self.plot}: the picture is a PNG file: give it a name that ends in .png")
        if self.plot and not self.plot.parent.is_dir():
            raise HistoryUsageError(f"{self.plot}: there is no directory {self.plot.parent}")
        self.width_ns()
        self.window(time.time_ns())

    def window(self, now_ns: int) -> Window:
        """Return the window of the options, whose times are local or ``utc``. Raises HistoryUsageError."""
        local = not self.utc
        if self.at is not None:
            moment = time_of(self.at, now_ns, local=local) or 0
            return Window(moment, moment)
        until_ns = time_of(self.until, now_ns, local=local)
        return Window(time_of(self.since, now_ns, local=local), now_ns if until_ns is None else until_ns)

    def width_ns(self) -> int:
        """Return the width of the bins, 0 without ``--bin``. Raises HistoryUsageError."""
        try:
            width_ns = round(seconds(self.bin or 0) * 1e9)
        except ValueError as error:
            raise HistoryUsageError(f"--bin: {error}") from None
        if self.bin is not None and not width_ns:
            raise HistoryUsageError("--bin must be longer than 0")
        return width_ns


def show_history(options: HistoryOptions, out: TextIO, err: TextIO) -> None:
    """Print or draw the history on ``out``; PVs without it and, on a terminal, the progress on ``err``.

    Raises HistoryError; for PVs that are not in the archive when that of the others is printed.
    """
    options.check()
    now_ns, width_ns = time.time_ns(), options.width_ns()
    with open_query(options.database, options.pvs, options.window(now_ns)) as query:
        streams = options.views() in ([], ["--bin"])
        # lines that scroll over the screen are progress enough
        progress = err if err.isatty() and not (streams and out.isatty()) else None
        if options.plot or options.terminal:
            drawn_ns = drawn_width(query, POINTS)
            items = Plan(query, drawn_ns).items() if drawn_ns else query.samples()
            _draw(options, picture(with_progress(items, query.window, progress), query, drawn_ns), out, err)
        elif options.stat or width_ns:
            plan = Plan(query, width_ns)
            found = events(with_progress(plan.items(), query.window, progress), query, plan)
            if options.stat:
                _print(options, summary.COLUMNS, summary.summaries(found, query), out, err)
            else:
                _print(options, bins.COLUMNS, bins.bin_lines(found, query, width_ns, fill=options.fill), out, err)
        else:
            samples = with_progress(query.samples(), query.window, progress)
            lines = rows.rows(samples, query.metadata) if options.at is None else _in_force(samples, query, err)
            _print(options, rows.COLUMNS, lines, out, err)
        if query.missing:
            raise HistoryError("; ".join(query.missing))


def _print(
    options: HistoryOptions, columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO, err: TextIO
) -> None:
    form = options.form or "table"
    if form == "table" and out.isatty():
        columns, lines = narrow_columns(columns), narrow(columns, lines, utc=options.utc)
        columns, lines, left_out = fit(columns, lines, shutil.get_terminal_size().columns)
        if left_out:
            print(f"too wide for this terminal: {', '.join(left_out)}; --format csv has all", file=err)
    FORMATS[form](columns, lines, out)


def _in_force(samples: Iterable[Sample], query: Query, err: TextIO) -> Iterator[HistoryRow]:
    """Yield the newest row of each PV, in the order in which the PVs were given."""
    newest = {sample.pv: sample for sample in samples}
    for pv in query.names:
        if pv not in newest:
            print(f"{pv} has no value at that time: its first row is later", file=err)
            continue
        metadata = query.metadata.at(pv, newest[pv].time_ns)
        thinned = _deleted_from(newest[pv], query)
        yield rows.to_thinned_row(newest[pv], thinned, metadata) if thinned else rows.to_row(newest[pv], metadata)


def _deleted_from(sample: Sample, query: Query) -> Bin | None:
    """Return the thinned bin of which a row after ``sample`` may have been deleted that was in force.

    None if none was: the last number of a bin is kept, and every row that is INVALID or marks a gap.
    """
    moment = query.window.until_ns
    for thinned in query.bins(sample.pv):
        if thinned.time_ns <= sample.time_ns < moment and sample.severity != INVALID:
            rest = query.reader.samples([sample.pv], moment, thinned.end_ns - 1)
            if any(each.time_ns > moment for each in rest):
                return thinned
    return None


def _draw(options: HistoryOptions, drawing: Picture, out: TextIO, err: TextIO) -> None:
    for sentence in drawing.left_out:
        print(sentence, file=err)
    if not drawing.axes:
        raise HistoryError("there is nothing to plot: the window has no numbers and no states")
    if options.plot:
        from archiver.history import plot  # noqa: PLC0415 - matplotlib takes half a second, which rows need not wait for

        plot.save(drawing, options.plot)
    else:
        from archiver.history import terminal  # noqa: PLC0415

        terminal.draw(drawing, out, utc=options.utc or not out.isatty())
