"""The command ``rackioc history``: it prints or draws the history."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from archiver.history import bins, rows, summary
from archiver.history.curves import Picture, picture
from archiver.history.formats import FORMATS, OutputLine
from archiver.history.progress import with_progress
from archiver.history.query import HistoryError, Query, Window, open_query, time_of
from archiver.history.rows import HistoryRow
from archiver.history.statistics import events
from archiver.sample import INVALID, Sample
from archiver.storage.store import Bin
from archiver.units import seconds


@dataclass(frozen=True, kw_only=True)
class HistoryOptions:
    """The options of the command as they were given.

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

    def views(self) -> list[str]:
        """Return the options given that show something other than the rows."""
        asked = {"at": self.at, "stat": self.stat or None, "bin": self.bin, "plot": self.plot,
                 "terminal": self.terminal or None}  # fmt: skip
        return [f"--{name}" for name, value in asked.items() if value is not None]

    def check(self) -> None:
        """Raise HistoryError for options that do not go together, before anything is read."""
        views = self.views()
        if len(views) > 1:
            raise HistoryError(f"{' and '.join(views)} exclude each other: give one of them")
        if self.at is not None and (self.since or self.until):
            raise HistoryError("--at is one time, --since and --until are a window: give --at or the others")
        if self.fill and self.bin is None:
            raise HistoryError("--fill is for empty bins: give --bin with it")
        if self.form and (self.plot or self.terminal):
            raise HistoryError(f"--format is for rows and numbers: leave it out with {views[0]}")
        if self.form and self.form not in FORMATS:
            raise HistoryError(f"{self.form!r} is not a format: choose one of {', '.join(FORMATS)}")
        if self.plot and self.plot.suffix.lower() != ".png":
            raise HistoryError(f"{self.plot}: the picture is a PNG file: give it a name that ends in .png")
        if self.plot and not self.plot.parent.is_dir():
            raise HistoryError(f"{self.plot}: there is no directory {self.plot.parent}")

    def window(self, now_ns: int) -> Window:
        """Return the window of the options. Raises HistoryError."""
        if self.at is not None:
            moment = time_of(self.at, now_ns) or 0
            return Window(moment, moment)
        until_ns = time_of(self.until, now_ns)
        return Window(time_of(self.since, now_ns), now_ns if until_ns is None else until_ns)

    def width_ns(self) -> int:
        """Return the width of the bins, 0 without ``--bin``. Raises HistoryError."""
        try:
            width_ns = round(seconds(self.bin or 0) * 1e9)
        except ValueError as error:
            raise HistoryError(f"--bin: {error}") from None
        if self.bin is not None and not width_ns:
            raise HistoryError("--bin must be longer than 0")
        return width_ns


def show_history(options: HistoryOptions, out: TextIO, err: TextIO) -> None:
    """Print or draw the history on ``out``; PVs without it and, on a terminal, the progress on ``err``.

    Raises HistoryError; for PVs that are not in the archive when that of the others is printed.
    """
    options.check()
    now_ns, width_ns = time.time_ns(), options.width_ns()
    with open_query(options.database, options.pvs, options.window(now_ns)) as query:
        samples = query.samples()
        streams = options.views() in ([], ["--bin"])
        if err.isatty() and not (streams and out.isatty()):  # lines that scroll over the screen are progress enough
            samples = with_progress(samples, query.window, err)
        if options.plot or options.terminal:
            _draw(options, picture(samples, query), out, err)
        elif options.at is not None:
            _print(options, rows.COLUMNS, _in_force(samples, query, err), out)
        elif options.stat:
            _print(options, summary.COLUMNS, summary.summaries(events(samples, query), query), out)
        elif width_ns:
            lines = bins.bin_lines(events(samples, query), query, width_ns, fill=options.fill)
            _print(options, bins.COLUMNS, lines, out)
        else:
            _print(options, rows.COLUMNS, rows.rows(samples, query.metadata), out)
        if query.missing:
            raise HistoryError("; ".join(query.missing))


def _print(options: HistoryOptions, columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    FORMATS[options.form or "table"](columns, lines, out)


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

        terminal.draw(drawing, out)
