"""The reference of a rack's PVs: a table for each instrument and board, as Markdown or HTML.

What all channels of a board have alike is one line, with the channels that have it: a full crate has 50,000 PVs.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from exports.crate import Board, boards, of_the_crate
from exports.guidance import causes
from exports.levels import levels, number
from exports.rack import Instrument, Pv, Rack

COLUMNS = ("PV", "type", "access", "unit", "read every", "limits of a put, or states", "alarms", "description")
_STYLE = """\
body { font: 14px/1.4 sans-serif; margin: 2em; color: #1a1a1a; background: #ffffff; }
table { border-collapse: collapse; margin-bottom: 2em; }
th, td { border: 1px solid #b0b0b0; padding: 2px 8px; text-align: left; vertical-align: top; }
th { background: #eeeeee; position: sticky; top: 0; }
td:first-child { font-family: monospace; white-space: nowrap; }"""


@dataclass(frozen=True)
class Section:
    """A heading with its lines; each has a text for each of ``COLUMNS``."""

    title: str
    lines: tuple[tuple[str, ...], ...]


def markdown(rack: Rack) -> str:
    """Return the reference as Markdown."""
    parts = [_escape(line) for line in (f"# PVs of {rack.prefix or rack.file}", *rack.header("reference"))]
    for section in sections(rack):
        rows = [COLUMNS, ("---",) * len(COLUMNS), *(tuple(map(_escape, line)) for line in section.lines)]
        parts += [f"## {_escape(section.title)}", "\n".join(f"| {' | '.join(row)} |" for row in rows)]
    return "\n\n".join(parts) + "\n"


def page(rack: Rack) -> str:
    """Return the reference as an HTML page that needs nothing else."""
    title = html.escape(f"PVs of {rack.prefix or rack.file}")
    lines = [
        *("<!DOCTYPE html>", '<html lang="en">', '<meta charset="utf-8">', f"<title>{title}</title>"),
        *(f"<style>\n{_STYLE}\n</style>", f"<h1>{title}</h1>"),
        *(f"<p>{html.escape(line)}</p>" for line in rack.header("reference --format html")),
    ]
    for section in sections(rack):
        lines += [f"<h2>{html.escape(section.title)}</h2>", "<table>", _row("th", COLUMNS)]
        lines += [*(_row("td", line) for line in section.lines), "</table>"]
    return "\n".join([*lines, "</html>", ""])


def sections(rack: Rack) -> Iterator[Section]:
    """Yield a section for each instrument, and for each board of a crate."""
    for instrument in rack.instruments:
        own = of_the_crate(instrument)
        yield Section(f"{instrument.name} ({instrument.kind})", tuple(_line(instrument, pv) for pv in own))
        for board in boards(instrument):
            yield Section(f"{instrument.name}, board {board.label}", tuple(_board(instrument, board)))


def _board(instrument: Instrument, board: Board) -> Iterator[tuple[str, ...]]:
    for pv in board.pvs.values():
        yield _line(instrument, pv)
    alike: dict[tuple[str, ...], list[str]] = {}
    for channel in board.channels.values():
        for parameter, pv in channel.pvs.items():
            label = f"{board.label}{channel.label} "
            *cells, desc = _line(instrument, pv)[1:]
            line = (parameter, *cells, desc.removeprefix(label))
            alike.setdefault(line, []).append(channel.label)
    for (parameter, *cells), labels in alike.items():
        yield f"{board.name}:{runs(labels)}:{parameter}", *cells


def runs(labels: Sequence[str]) -> str:
    """Return labels such as C00 in short: "C00", or "{C00-C03,C05}"."""
    found: list[list[str]] = []
    for label in labels:
        if found and int(label[1:]) == int(found[-1][-1][1:]) + 1:
            found[-1].append(label)
        else:
            found.append([label])
    words = [run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found]
    return words[0] if len(labels) == 1 else f"{{{','.join(words)}}}"


def _line(instrument: Instrument, pv: Pv) -> tuple[str, ...]:
    point = pv.point
    return (
        pv.name,
        point.rtyp.name if point.nelm == 1 else f"{point.rtyp.name} of {point.nelm} {point.ftvl}",
        "read/write" if point.rtyp.writable else "read",
        point.egu,
        "" if pv.period is None else f"{pv.period:g} s",
        ", ".join(point.states) if point.rtyp.states else _limits(pv),
        "; ".join([*levels(point), *causes(instrument, pv)]),
        point.desc,
    )


def _limits(pv: Pv) -> str:
    point = pv.point
    if not point.rtyp.writable or not point.rtyp.numeric:
        return ""
    low = "" if point.drvl is None else number(point, point.drvl)
    high = "" if point.drvh is None else number(point, point.drvh)
    words = f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}" if high else ""
    # those of the moment in which it was asked
    return f"{words}; moves with other settings" if words and point.moving else words


def _escape(cell: str) -> str:
    """Return a text that Markdown shows as it is, in a cell of a table."""
    plain = html.escape(cell, quote=False)
    return "".join(f"\\{char}" if char in "|*_`[]\\" else char for char in plain)


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell, quote=False)}</{tag}>" for cell in cells) + "</tr>"
