"""The formats of an output: table, csv, json and plain text."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Protocol, TextIO

from archiver.sample import Value

# None where there is no value, as the mean of no numbers.
Cell = Value | None

# Lines that decide a table's widths: it is to begin at once, and a long one is not to fill the memory.
LOOK_AHEAD = 1000

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
_ESCAPES = str.maketrans({"\t": r"\t", "\n": r"\n", "\r": r"\r"})


class OutputLine(Protocol):
    """A line of an output; its cells go with the columns."""

    def exact(self) -> Sequence[Cell]:
        """Return the cells for programs, with all digits."""

    def shown(self) -> Sequence[str]:
        """Return the cells for users, with the precision of the PV."""


def show_table(columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    """Print a table, by hand, for rich takes 0.3 ms a row.

    A cell that is wider than all of the first lines moves what follows.
    """
    rest = iter(lines)
    first = [columns, *(line.shown() for line in islice(rest, LOOK_AHEAD))]
    widths = [max(map(len, column)) for column in zip(*first, strict=True)]
    for cells in chain(first, (line.shown() for line in rest)):
        print("  ".join(map(str.ljust, cells, widths)).rstrip(), file=out)


def show_csv(columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    """Print comma-separated values with a line of the columns' names."""
    write_csv(chain([columns], (_flat(line.exact()) for line in lines)), out)


class _LineFeeds:
    """A text file whose lines are to end with a line feed, for what ends them with carriage return and line feed."""

    def __init__(self, out: TextIO) -> None:
        self._write = out.write

    def write(self, line: str) -> None:
        """Write a line."""
        self._write(line[:-2] + "\n")


def write_csv(rows: Iterable[Iterable[object]], out: TextIO) -> None:
    """Write comma-separated values.

    Before Python 3.13 a carriage return within a cell is quoted only where the lines end with one. Whoever reads the
    file takes it for an end of the row else.
    """
    csv.writer(_LineFeeds(out), lineterminator="\r\n").writerows(rows)


def show_json(columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    """Print one array with an object for each line, as they are read, so that a long history needs no memory."""
    separator = "[\n"
    for line in lines:
        cells = (_plain(cell) for cell in line.exact())
        out.write(separator + _ENCODE(dict(zip(columns, cells, strict=True))))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


def show_text(columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    r"""Print lines with a tab between cells; a tab or new line within one is written ``\t`` or ``\n``."""
    out.write("\t".join(columns) + "\n")
    for line in lines:
        out.write("\t".join(map(_text, _flat(line.exact()))) + "\n")


FORMATS: dict[str, Callable[[Sequence[str], Iterable[OutputLine], TextIO], None]] = {
    "table": show_table,
    "csv": show_csv,
    "json": show_json,
    "text": show_text,
}


def show_value(value: Cell, precision: int) -> str:
    """Return a value with so many decimals; with 7 digits for PREC 0, which records have that define none."""
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.{precision}f}" if precision > 0 else f"{value:.7g}"
    if isinstance(value, tuple):
        more = f" ... ({len(value)} values)" if len(value) > 3 else ""
        return " ".join(show_value(each, precision) for each in value[:3]) + more
    return str(_plain(value)).translate(_ESCAPES)


def _flat(cells: Sequence[Cell]) -> Sequence[Cell]:
    """Return the cells, arrays as json, NaN as everywhere. The tests are short, for each line is tested."""
    if tuple in map(type, cells):
        return [_ENCODE(_plain(cell)) if isinstance(cell, tuple) else cell for cell in cells]
    if any(type(cell) is float and cell - cell != 0 for cell in cells):
        return [_word_or(cell) if isinstance(cell, float) else cell for cell in cells]
    return cells


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell if cell.isprintable() else cell.translate(_ESCAPES)
    return "" if cell is None else str(cell)


def _plain(cell: Cell) -> Cell | list[float | str]:
    """Return a cell with the words NaN, Infinity and -Infinity, which json has no numbers for, as texts."""
    if isinstance(cell, tuple):
        return [_word_or(number) for number in cell]
    return _word_or(cell) if isinstance(cell, float) else cell


def _word_or(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
