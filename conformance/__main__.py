"""``python -m conformance``: every difference between rackioc and EPICS base, seen through libca."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from conformance import report
from conformance.areas import NAMES
from conformance.compare import compare
from conformance.servers import SERVERS, Observations, observe


def main(
    areas: Annotated[list[str] | None, typer.Argument(help=f"only these: {', '.join(NAMES)}")] = None,
    brief: Annotated[bool, typer.Option(help="Show differences that are alike in one line.")] = False,
    itself: Annotated[bool, typer.Option(help="Compare base with base: shows what is not repeatable.")] = False,
    markdown: Annotated[bool, typer.Option(help="Write the page docs/reference/conformance.md.")] = False,
) -> None:
    """Make the same libca calls to the C softIoc and to rackioc, and show what differs.

    Ends with 1 if there is a difference that conformance/explained.py does not explain.
    """
    chosen = areas or []
    if unknown := set(chosen) - set(NAMES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))} is not an area; allowed: {', '.join(NAMES)}")
    with ThreadPoolExecutor() as pool:
        base, rackioc = pool.map(lambda which: _observe(which, chosen), ("base", "base") if itself else SERVERS)
    comparison = compare(base, rackioc)
    lines = report.markdown(comparison) if markdown else report.lines(comparison, brief=brief)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(1 if comparison.unexplained else 0)


def _observe(which: str, areas: list[str]) -> Observations:
    began = time.monotonic()
    observations = observe(which, areas)
    typer.echo(f"{which}: {len(observations)} cases in {time.monotonic() - began:.0f} s", err=True)
    return observations


if __name__ == "__main__":
    typer.run(main)
