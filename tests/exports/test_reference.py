"""The reference of the PVs, in its two forms."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from exports.reference import COLUMNS, markdown, page, runs, sections

if TYPE_CHECKING:
    from exports.rack import Rack


class Cells(HTMLParser):
    """The cells of all tables of a page, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def written_out(name: str) -> list[str]:
    """Return the names for which one with a list of channels stands."""
    found = re.search(r"\{(.*)\}", name)
    if found is None:
        return [name]
    labels = []
    for run in found[1].split(","):
        first, _, last = run.partition("-")
        labels += [f"C{number:02}" for number in range(int(first[1:]), int((last or first)[1:]) + 1)]
    return [name.replace(found[0], label) for label in labels]


def read_markdown(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\) \| ", row[2:-2]) for row in rows]
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in cells]


def test_each_pv_is_there_once_in_both_forms(demo: Rack) -> None:
    reader = Cells()
    reader.feed(page(demo))
    for rows in (reader.rows, read_markdown(markdown(demo))):
        assert {len(row) for row in rows} == {len(COLUMNS)}
        names = [name for row in rows if row[0] not in {"PV", "---"} for name in written_out(row[0])]
        assert sorted(names) == sorted(pv.name for pv in demo.pvs)


def line(rack: Rack, name: str) -> dict[str, str]:
    lines = [line for section in sections(rack) for line in section.lines]
    return next(dict(zip(COLUMNS, line, strict=True)) for line in lines if name in written_out(line[0]))


def test_a_line_has_unit_limits_states_and_alarms(demo: Rack) -> None:
    assert line(demo, "DEMO:HV1:S02:C03:V0Set") == {
        "PV": "DEMO:HV1:S02:{C00-C27}:V0Set", "type": "ao", "access": "read/write", "unit": "V", "read every": "",
        "limits of a put, or states": "0 V to 2500 V; moves with other settings", "alarms": "",
        "description": "V0Set",
    }  # fmt: skip
    assert line(demo, "DEMO:HV1:S02:C03:IMon")["alarms"].startswith("MAJOR from 400 uA up; MINOR from 300 uA up")
    assert line(demo, "DEMO:HV1:S02:C03:VMon")["read every"] == "1 s"
    assert line(demo, "DEMO:GEN:Interlock")["limits of a put, or states"] == "Closed, Open"
    assert line(demo, "DEMO:GEN:Interlock")["alarms"] == "MAJOR: Open"
    assert line(demo, "DEMO:HV1:S02:VMon:Array")["type"] == "waveform of 28 DOUBLE"


def test_a_channel_that_differs_has_a_line_of_its_own(demo: Rack) -> None:
    crate = demo.instruments[0]
    other = crate.pv("S02:C03:VMon")
    assert other is not None
    pvs = tuple(replace(pv, point=replace(pv.point, hihi=5.0)) if pv is other else pv for pv in crate.pvs)
    rack = replace(demo, instruments=(replace(crate, pvs=pvs),))
    assert line(rack, other.name)["PV"] == other.name
    assert line(rack, "DEMO:HV1:S02:C04:VMon")["PV"] == "DEMO:HV1:S02:{C00-C02,C04-C27}:VMon"


@pytest.mark.parametrize(
    ("labels", "short"), [(["C05"], "C05"), (["C00", "C01"], "{C00-C01}"), (["C00", "C02"], "{C00,C02}")]
)
def test_channels_are_named_in_short(labels: list[str], short: str) -> None:
    assert runs(labels) == short


@pytest.mark.parametrize("text", ["a|b", "<script>", "5 * 3 * 2", "`x`", "a_b_c", "\\", "&amp;"])
def test_signs_of_a_description_are_shown_as_they_are(demo: Rack, text: str) -> None:
    loggers = demo.instruments[1]
    first = loggers.pvs[0]
    pvs = (replace(first, point=replace(first.point, desc=text)),)
    rack = replace(demo, instruments=(replace(loggers, pvs=pvs),))
    reader = Cells()
    reader.feed(page(rack))
    assert reader.rows[-1][-1] == text
    last = read_markdown(markdown(rack))[-1][-1]
    assert last.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


def test_signs_of_names_are_shown_as_they_are_in_headings(demo: Rack) -> None:
    odd = replace(demo.instruments[1], name="T<1>_[a]")
    text = markdown(replace(demo, prefix="<b>_A_:", file="a_<i>_b.yaml", instruments=(odd,)))
    plain = [re.sub(r"\\(.)", r"\1", each) for each in text.splitlines()]
    assert plain[0] == "# PVs of &lt;b&gt;_A_:"
    assert "## T&lt;1&gt;_[a] (se521)" in plain
    assert "from a_&lt;i&gt;_b.yaml." in plain[2]


def test_the_same_rack_gives_the_same_bytes(demo: Rack) -> None:
    assert (markdown(demo), page(demo)) == (markdown(demo), page(demo))
    assert f"Made by rackioc {demo.version} from demo.yaml." in markdown(demo)
    assert "rackioc reference --format html demo.yaml" in page(demo)
