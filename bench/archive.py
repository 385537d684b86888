"""The whole path: an IOC's values through libca and the archiver's process into an SQLite file."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import typer

from bench.rig import contest, servers
from bench.rig.client import Circuit, collect
from bench.rig.contest import Count, Seconds
from bench.rig.load import Load, LoadKind
from bench.rig.servers import RACKIOC, PeerServer, serve
from bench.rig.table import Column, Figures
from bench.rig.updates import Updates

# Seconds from then on to the measurement
SETTLE = 2.0
# Seconds between two looks into the archive: not in step with the IOC's seconds
LOOK = 0.23
# Seconds after which the memory should not grow
WARM = 60.0
# Seconds by which a stamp as a float may differ from itself
SAME = 1e-5
# Seconds for the last rows of the measurement to come in
LAST = 2.0
COLUMNS = (
    Column("posted", "posted by the IOC", 0),
    Column("rows", "rows in the archive", 0),
    Column("lost", "lost", 0),
    Column("repeated", "repeated", 0),
    Column("cpu", "archiver, cores", 3),
    Column("early", "its memory at first, MB", 1),
    Column("late", "in the end, MB", 1),
    Column("lag", "lag, median, s", 2),
    Column("worst", "longest, s", 2),
    Column("ioc", "IOC, cores", 3),
)
GOAL = "rows as many as posted, none lost; archiver < 0.5 core, memory constant, longest lag < 2 s"


@dataclass(frozen=True)
class Look:
    """A look into the archive by an independent reader.

    moment  when it was taken; newest  the time stamp of the newest row (both s since 1970)
    """

    moment: float
    newest: float


def main(seconds: Seconds = 300, count: Count = 12_000) -> None:
    """Measure an IOC's 12,000 PVs at 1 Hz -> libca -> rackioc archive -> SQLite: losses, CPU, memory, lag."""
    load = Load(LoadKind.ramp, count)
    contest.run(
        f"archive: {count:,} PVs x {load.rate:g} Hz -> libca -> rackioc archive -> SQLite, {seconds:g} s",
        [RACKIOC],
        1,
        lambda _: _run(load, seconds),
        COLUMNS,
        GOAL,
    )


def _run(load: Load, seconds: float) -> Figures:
    with (
        serve(RACKIOC, load) as ioc,
        tempfile.TemporaryDirectory() as folder,
        servers.archiver(ioc, load, Path(folder), lambda: _missing(Path(folder), load)) as pid,
        closing(_reader(Path(folder))) as reader,
        Circuit(ioc.port) as circuit,
    ):
        circuit.subscribe(circuit.connect(load.names))
        return _measure(ioc, pid, circuit, reader, seconds)


def _missing(folder: Path, load: Load) -> str:
    """Return what the archive lacks before the measurement may begin."""
    stored = _stored(folder)
    return "" if stored >= load.count else f"the archiver stored {stored:,} PVs, not {load.count:,}"


def _reader(folder: Path) -> sqlite3.Connection:
    """Open the archive for reading, without a transaction, for which the writer would have to wait."""
    return sqlite3.connect(f"file:{folder}/rack.sqlite?mode=ro", uri=True, isolation_level=None)


def _stored(folder: Path) -> int:
    """Return how many PVs have a number in the archive."""
    try:
        with closing(_reader(folder)) as reader:
            return int(reader.execute("SELECT count(*) FROM channel").fetchone()[0])
    except sqlite3.OperationalError:  # no file yet, or no table
        return 0


def _measure(ioc: PeerServer, pid: int, circuit: Circuit, reader: sqlite3.Connection, seconds: float) -> Figures:
    """Count what the IOC posts with an independent client, and look into the archive again and again."""
    collect([circuit], SETTLE)
    begin, archiver, own = time.time(), servers.cpu(pid), ioc.cpu()
    looks, memory = [], []
    while (now := time.time()) < begin + seconds:
        collect([circuit], min(LOOK, begin + seconds - now))
        looks.append(_look(reader))
        memory.append(servers.rss(pid) / 1024)
    end, archiver, own = time.time(), servers.cpu(pid) - archiver, ioc.cpu() - own
    collect([circuit], LAST)
    posted = circuit.updates()
    rows = _rows(reader, begin, end)
    lags = _lags(looks, posted)
    return {
        "posted": len(posted.stamped(begin, end)),
        "rows": len(rows),
        "lost": rows.lost(),
        "repeated": rows.repeated(),
        "cpu": archiver / (end - begin),
        "early": memory[min(int(WARM / LOOK), len(memory) // 2)],
        "late": memory[-1],
        "lag": float(np.median(lags)),
        "worst": float(lags.max()),
        "ioc": own / (end - begin),
    }


def _look(reader: sqlite3.Connection) -> Look:
    """Read the newest time stamp: new rows are always in ``sample_recent``."""
    (newest,) = reader.execute("SELECT max(smpl_time) FROM sample_recent").fetchone()
    return Look(time.time(), newest / 1e9)


def _rows(reader: sqlite3.Connection, begin: float, end: float) -> Updates:
    """Return the archive's rows with stamps in a span of time, as a client would have received them."""
    numbers = {number: int(name.rpartition(":")[2]) for number, name in reader.execute("SELECT * FROM channel")}
    window = "SELECT channel_id, smpl_time, float_val, severity_id - 1 FROM sample WHERE smpl_time BETWEEN ? AND ?"
    rows = reader.execute(f"{window} ORDER BY smpl_time", (int(begin * 1e9), int(end * 1e9) - 1))
    channel, stamp, value, severity = np.array(rows.fetchall()).T
    return Updates(
        channel=np.array([numbers[int(each)] for each in channel], np.uint32),
        value=value,
        severity=severity.astype(np.uint16),
        sent=stamp / 1e9,
        received=stamp / 1e9,
    )


def _lags(looks: Sequence[Look], posted: Updates) -> npt.NDArray[np.float64]:
    """Return, for each look, how long the oldest value that could not be read yet had been posted (s)."""
    stamps = np.unique(posted.sent)
    newest = np.array([look.newest for look in looks])
    following = np.append(stamps, np.inf)[np.searchsorted(stamps, newest + SAME)]
    moments = np.array([look.moment for look in looks])
    lags: npt.NDArray[np.float64] = np.maximum(moments - following, 0.0)
    return lags


if __name__ == "__main__":
    typer.run(main)
