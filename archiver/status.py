"""The report of ``rackioc status``: the state of the archiver and its problems, for users and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from archiver.health import STALE, Health, read, running

# Seconds after which a sample that waits for its commit is a problem.
LATE = 10.0

_UNITS = ("B", "kB", "MB", "GB", "TB")


def show_status(path: Path, form: str, out: TextIO) -> list[str]:
    """Print the archiver's status file as ``table`` or ``json``; return a sentence for each problem."""
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
    if health.database != "ok":
        yield f"the database is {health.database}"
    if health.lag >= LATE:
        yield f"a sample has waited for its commit for {health.lag:.0f} s"
    if health.spool_rows:
        yield f"{health.spool_rows} samples wait in the spool"
    if health.lost:
        yield f"{health.lost} samples are lost: spool and memory were full (Overrun)"
    for cause, number in health.rejected.items():
        if number:
            yield f"{number} samples were rejected: {cause}"


def _show(health: Health, out: TextIO) -> None:
    rows = {
        "archiver": f"running, pid {health.pid}",
        "PVs": f"{health.connected} of {health.total} connected",
        "samples": f"{health.samples_per_second:.1f} /s",
        "stored": f"{health.stored}",
        "in memory": f"{health.queue}",
        "in the spool": f"{health.spool_rows}, {_size(health.spool_bytes)}",
        "write lag": f"{health.lag:.1f} s",
        "rejected": f"{sum(health.rejected.values())}",
        "repeated": f"{health.repeated}",
        "lost": f"{health.lost}",
        "disk free": _size(health.disk_free),
        "database": health.database,
        "last error": health.last_error or "none",
    }
    width = max(map(len, rows))
    for label, value in rows.items():
        print(f"{label:<{width}}  {value}", file=out)


def _size(number: float) -> str:
    power = next((power for power, _ in enumerate(_UNITS) if number < 1000 ** (power + 1)), len(_UNITS) - 1)
    return f"{number / 1000**power:.3g} {_UNITS[power]}"
