"""``python -m tests.campaign``: random faults and puts on a whole rack, judged by rules; exit code 1: one broken."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from bench.rig import loopback

# before libca is loaded
os.environ |= loopback.environment()

from tests.campaign import matrix as matrices
from tests.campaign import report
from tests.campaign.faults import FAULTS
from tests.campaign.plan import case as make_case
from tests.campaign.rig import Rig, running
from tests.campaign.rules.judge import judge


def main(
    minutes: Annotated[float, typer.Option(help="Time in which cases are begun.")] = 2.0,
    seed: Annotated[int, typer.Option(help="The same seed does the same, in the same order.")] = 1,
    only: Annotated[str, typer.Option(help=f"Drivers, with commas between: {','.join(FAULTS)}.")] = ",".join(FAULTS),
    case: Annotated[int, typer.Option(help="Run this case alone, of the one driver given.")] = -1,
    matrix: Annotated[bool, typer.Option(help="Run each fault with each put, each on a bench of its own.")] = False,
    every: Annotated[int, typer.Option(min=1, help="Of the matrix run one case in so many.")] = 1,
    show: Annotated[int, typer.Option("--list", help="Print so many cases of each driver, and run none.")] = 0,
) -> None:
    """Run cases of all instruments at the same time, and judge what happened."""
    drivers = only.split(",")
    if show:
        for driver in drivers:
            for number in range(show):
                typer.echo(make_case(seed, driver, number))
        return
    if matrix:
        sys.exit(run_matrix(drivers, every, case))
    numbers = {driver: [case] for driver in drivers} if case >= 0 else None
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), drivers) as rig:
        run(rig, seed, minutes, numbers)
    verdict = judge(rig.recording)
    for line in report.lines(rig.recording, verdict, seed):
        typer.echo(line)
    sys.exit(1 if verdict.violations else 0)


def run_matrix(drivers: list[str], every: int, case: int) -> int:
    """Run the matrix, or one case of it, and print what was broken; return the exit code."""
    found = []
    for result in matrices.batch(drivers[0], [case]) if case >= 0 else matrices.results(drivers, every):
        found.append(result)
        for line in result.lines:
            typer.echo(line)
    for line in matrices.summary(found):
        typer.echo(line)
    return 1 if any(result.violations for result in found) else 0


def run(rig: Rig, seed: int, minutes: float, numbers: dict[str, list[int]] | None) -> None:
    """Run cases, each instrument's one after the other, until the time is over or all are done."""
    end = time.monotonic() + 60 * minutes

    def work(driver: str) -> None:
        for number in numbers[driver] if numbers else count():
            if time.monotonic() > end and not numbers:
                return
            rig.run(make_case(seed, driver, number))

    threads = [threading.Thread(target=work, args=(driver,), daemon=True) for driver in rig.names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    typer.run(main)
