"""The result of a comparison as a markdown table."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import typer

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Column:
    """A figure: ``key`` finds it in what a run measured; ``ratio``: also shown as a multiple of softIoc's."""

    key: str
    title: str
    digits: int = 2
    ratio: bool = False


@dataclass(frozen=True)
class TableRow:
    """What was measured of one server: a set of figures for each run, or the reason why there is none."""

    title: str
    runs: Sequence[Figures | None] = ()
    reason: str = ""


def show(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[TableRow],
    reference: TableRow | None,
    goal: str,
    head: str = "server",
) -> None:
    """Print the medians of all rows, and beside them those of the ratios, each taken within a round.

    ``head`` says what the rows are.
    """
    heads = [head, "runs"]
    for column in columns:
        heads += [column.title, "x softIoc"] if column.ratio and reference else [column.title]
    typer.echo(f"\n**{title}**; {_machine()}\n")
    typer.echo(_line(heads))
    typer.echo(_line("---" for _ in heads))
    for row in rows:
        cells = _cells(row, columns, reference)
        typer.echo(_line(cells + [""] * (len(heads) - len(cells))))
    typer.echo(f"\nGoal: {goal}")


def _cells(row: TableRow, columns: Sequence[Column], reference: TableRow | None) -> list[str]:
    runs = [run for run in row.runs if run is not None]
    if not runs:
        return [row.title, "0", row.reason]
    cells = [row.title, str(len(runs))]
    for column in columns:
        cells.append(_number(_median([run[column.key] for run in runs]), column.digits))
        if column.ratio and reference:
            pairs = zip(row.runs, reference.runs, strict=False)
            ratios = [a[column.key] / b[column.key] for a, b in pairs if a and b and b[column.key]]
            cells.append(_number(_median(ratios), 2))
    return cells


def _median(values: Sequence[float]) -> float:
    """Return the median of what was measured; NaN stands for what was not."""
    measured = [value for value in values if not math.isnan(value)]
    return median(measured) if measured else math.nan


def _number(value: float, digits: int) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.{digits}f}" if math.isfinite(value) else "never"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machine() -> str:
    model = next((s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")), ":")
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} x{model.partition(':')[2]}, Python {platform.python_version()}, load now {load:.1f}"
