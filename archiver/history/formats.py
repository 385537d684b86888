"""Lines of any kind as a table, csv, json and plain text."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Protocol, TextIO

from archiver.sample import Value

Cell = Value | None
"""None: there is nothing, as the mean of no numbers."""

LOOK_AHEAD = 1000
"""Lines from which a table takes its widths: it is to begin at once, and a long one is not to fill the memory."""

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
_ESCAPES = str.maketrans({"\t": r"\t", "\n": r"\n", "\r": r"\r"})


class OutputLine(Protocol):
    def exact(self) -> Sequence[Cell]:
        """For programs: all digits."""

    def shown(self) -> Sequence[str]:
        """For the eye: numbers with the precision of their PV."""


def show_table(columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    """By hand, for rich takes 0.3 ms a row. A cell that is wider than all of the first lines' moves what follows."""
    rest = iter(lines)
    first = [columns, *(line.shown() for line in islice(rest, LOOK_AHEAD))]
    widths = [max(map(len, column)) for column in zip(*first, strict=True)]
    for cells in chain(first, (line.shown() for line in rest)):
        print("  ".join(map(str.ljust, cells, widths)).rstrip(), file=out)


def show_csv(columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(_flat(line.exact()) for line in lines)


def show_json(columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    """One array, an object a line: written as it is read, so that a long history needs no memory."""
    separator = "[\n"
    for line in lines:
        cells = (_plain(cell) for cell in line.exact())
        out.write(separator + _ENCODE(dict(zip(columns, cells, strict=True))))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


def show_text(columns: Sequence[str], lines: Iterable[OutputLine], out: TextIO) -> None:
    """A tab between cells; a tab or new line within one is written \\t or \\n."""
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
    """PREC 0 is what a record has that was given none: then as many digits as are worth reading."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{precision}f}" if precision > 0 else f"{value:.7g}"
    if isinstance(value, tuple):
        more = f" ... ({len(value)} values)" if len(value) > 3 else ""
        return " ".join(show_value(each, precision) for each in value[:3]) + more
    return str(value).translate(_ESCAPES)


def _flat(cells: Sequence[Cell]) -> Sequence[Cell]:
    """An array is written as json, in one cell. Few lines have one, and this is done for each."""
    if tuple not in map(type, cells):
        return cells
    return [_ENCODE(_plain(cell)) if isinstance(cell, tuple) else cell for cell in cells]


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell if cell.isprintable() else cell.translate(_ESCAPES)
    return "" if cell is None else str(cell)


def _plain(cell: Cell) -> Cell | list[float | str]:
    """JSON knows no NaN: in arrays, too, it is a text then, as among single values."""
    if isinstance(cell, tuple):
        return [_word_or(number) for number in cell]
    return _word_or(cell) if isinstance(cell, float) else cell


def _word_or(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
