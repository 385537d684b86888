"""What was recorded of each PV: rows, their rate, the last one, and what was refused; in a file."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from archiver.recording.queue import Queue
from archiver.sample import Dated, Sample

# Seconds from one writing of the file to the next.
PERIOD = 10.0

log = logging.getLogger(__name__)


class PvFigures(NamedTuple):
    """The figures of a PV: ``state`` is connected, lost or never; ``rate`` in 1/s; ``last_ns`` 0 without a row."""

    pv: str
    state: str
    rows: int
    rate: float
    last_ns: int
    rejected: Mapping[str, int]


class PvSink:
    """The receiver of what is stored of one PV: it counts, and passes on to the queue.

    rows       rows since the start, gaps included
    last_ns    the time of the last one, 0 if there is none
    rejected   refused samples by cause
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.rows = 0
        self.last_ns = 0
        self.rejected: Counter[str] = Counter()

    def add(self, sample: Sample) -> None:
        """Append a sample."""
        self.rows += 1
        self.last_ns = sample.time_ns
        self._queue.add(sample)

    def add_metadata(self, pv: str, dated: Dated) -> None:
        """Append metadata of the PV."""
        self._queue.add_metadata(pv, dated)


class FiguresFile:
    """The file with the figures of all PVs, written anew each PERIOD; an error of the disk stops nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: dict[str, int] = {}
        self._at = time.monotonic()
        self._failed = False

    def write(self, sinks: Mapping[str, PvSink], states: Mapping[str, str]) -> None:
        """Write the figures if it is time to."""
        now = time.monotonic()
        if self._before and now < self._at + PERIOD:
            return
        elapsed, self._at = max(now - self._at, 1e-3), now
        figures = [
            PvFigures(pv, states[pv], sink.rows, (sink.rows - self._before.get(pv, 0)) / elapsed, sink.last_ns,
                      sink.rejected)
            for pv, sink in sinks.items()
        ]  # fmt: skip
        self._before = {pv: sink.rows for pv, sink in sinks.items()}
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.write_text(json.dumps([time.time(), figures], ensure_ascii=False), encoding="utf-8", errors="replace")
            new.replace(self._path)
        except OSError as error:
            if not self._failed:
                log.error("%s cannot be written: %s; rackioc status --pvs is out of date", self._path, error.strerror)
            self._failed = True
        else:
            self._failed = False


def read_figures(path: Path) -> tuple[float, Sequence[PvFigures]] | None:
    """Return when the figures were written (seconds since 1970), and those of all PVs; None if there are none."""
    try:
        written, figures = json.loads(path.read_text(encoding="utf-8"))
        return float(written), [PvFigures(*each) for each in figures]
    except (OSError, ValueError, TypeError):
        return None
