"""The report of ``rackioc status``: the state of the archiver and its problems, for users and for scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TextIO

from archiver.health import STALE, Health, hidden, read, running
from archiver.recording.figures import PERIOD, PvFigures, read_figures
from archiver.times import format_time
from archiver.units import counted, sized

# Seconds after which a sample that waits for its commit is a problem.
LATE = 10.0
# Days for which the disk lasts that are a problem, and that are told as a number.
FEW_DAYS, TEN_YEARS = 14.0, 3652.5


def show_status(path: Path, form: str, out: TextIO) -> list[str]:
    """Print the archiver's status file as ``table`` or ``json``; return a sentence for each problem."""
    if reason := hidden(path):
        problem = f"whether the archiver runs cannot be seen ({reason}): ask as a user who may read that file"
        if form == "json":
            json.dump({"running": None, "troubles": [problem]}, out, indent=1)
            out.write("\n")
        return [problem]
    health = read(path)
    is_running = running(path)
    problems = list(_problems(health, is_running, path))
    if form == "json":
        fields = asdict(health) | {"age": health.age} if health else {}
        json.dump({"running": is_running, "troubles": problems, **fields}, out, indent=1)
        out.write("\n")
    elif health is not None and is_running:
        _show(health, out)
    return problems


def _problems(health: Health | None, is_running: bool, path: Path) -> Iterator[str]:
    if health is None or not is_running:
        last = f"; its last error: {health.last_error}" if health and health.last_error else ""
        yield f"the archiver is not running (no process holds {path.absolute()}){last}"
        return
    if health.age > STALE:
        yield f"the archiver (pid {health.pid}) has not reported for {health.age:.0f} s: it hangs, or is stopped"
    if health.never:
        yield (
            f"{counted(health.never, 'PV')} not connected since the archiver's start: {_names(health)}: check the "
            "spelling, and whether the IOC runs"
        )
    if health.database != "ok":
        yield f"the database is {health.database}"
    if health.lag >= LATE:
        yield f"a sample has waited for its commit for {health.lag:.0f} s"
    if health.spool_rows:
        yield f"{counted(health.spool_rows, 'sample')} in the spool, not in the database yet"
    if health.aside:
        yield (
            f"{counted(health.aside_rows, 'sample')} of the spool could not be read, and set aside as batches or "
            f"files ({health.aside}): look at them with rackioc spool"
        )
    if health.days_left is not None and health.days_left < FEW_DAYS:
        yield (
            f"the disk of the database is full in {health.days_left:.1f} days if the archive grows as in the last "
            "day: keep less (archive.policies), or give it more disk"
        )
    if health.lost:
        yield f"{counted(health.lost, 'sample')} lost: spool and memory were full (Overrun)"
    for cause, number in health.rejected.items():
        if number:
            yield f"{counted(number, 'sample')} rejected; cause: {cause}"


def _show(health: Health, out: TextIO) -> None:
    rows = {
        "archiver": f"running, pid {health.pid}",
        "PVs": f"{health.connected} of {health.total} connected",
        **({"never connected": f"{health.never}: {_names(health)}"} if health.never else {}),
        "samples": f"{health.samples_per_second:.1f} /s",
        "stored": f"{health.stored}",
        "in memory": f"{health.queue}, {sized(health.queue_bytes)}",
        "in the spool": f"{health.spool_rows}, {sized(health.spool_bytes)}",
        "write lag": f"{health.lag:.1f} s",
        "rejected": f"{sum(health.rejected.values())}",
        "repeated": f"{health.repeated}",
        "lost": f"{health.lost}",
        "disk free": sized(health.disk_free),
        "days left": _days(health.days_left),
        "database": health.database,
        "last error": health.last_error or "none",
    }
    width = max(map(len, rows))
    for label, value in rows.items():
        print(f"{label:<{width}}  {value}", file=out)


def show_pvs(path: Path, glob: str, form: str, out: TextIO) -> list[str]:
    """Print the figures of the PVs that fit a glob as ``table`` or ``json``; return a sentence for each problem."""
    if reason := hidden(path):
        return [f"the figures of PVs cannot be seen ({reason}): ask as a user who may read that file"]
    found = read_figures(path)
    if found is None:
        return [f"{path.absolute()}: there are no figures of PVs; they are written when the archiver runs"]
    written, figures = found
    chosen = [each for each in figures if each.pv == glob or fnmatchcase(each.pv, glob)]
    if form == "json":
        json.dump([each._asdict() for each in chosen], out, indent=1)
        out.write("\n")
    else:
        _show_figures(chosen, out)
    if not chosen:
        return [f"none of the {len(figures)} PVs fits {glob}"]
    age = abs(time.time() - written)
    return [f"the figures are {age:.0f} s old: does the archiver run?"] if age > 3 * PERIOD else []


def _show_figures(figures: Sequence[PvFigures], out: TextIO) -> None:
    lines = [("pv", "state", "rows", "per_s", "last row", "rejected")]
    for each in figures:
        rejected = ", ".join(f"{number} {cause}" for cause, number in each.rejected.items() if number)
        last = format_time(each.last_ns) if each.last_ns else "none"
        lines.append((each.pv, each.state, str(each.rows), f"{each.rate:.3g}", last, rejected or "none"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        print("  ".join(map(str.ljust, cells, widths)).rstrip(), file=out)


def _days(number: float | None) -> str:
    if number is None:
        return "not known"
    return "more than 10 years" if number > TEN_YEARS else f"{number:.3g}"


def _names(health: Health) -> str:
    more = f" and {health.never - len(health.never_names)} more" if health.never > len(health.never_names) else ""
    return ", ".join(health.never_names) + more
