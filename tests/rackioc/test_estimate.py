"""What ``rackioc check`` says an archive grows by."""

from __future__ import annotations

import re
import textwrap
from importlib.resources import files
from pathlib import Path

import pytest

from archiver.units import sized
from rackioc.config.load import load
from rackioc.estimate import ROW_BYTES, lines

CONFIG = """\
prefix: "LAB:"
instruments:
  TC1: {{driver: se521}}
archive:
  database: {database}
  pvs: {pvs}
  policies: {policies}
"""


def numbers(tmp_path: Path, pvs: str, policies: str = "{}", database: str = "sqlite:///rack.sqlite") -> list[float]:
    """Number of PVs; rows a day at most, and at least."""
    path = tmp_path / "rack.yaml"
    path.write_text(CONFIG.format(database=database, pvs=pvs, policies=policies))
    line = next(lines(load(path)))
    return [float(each.replace(",", "")) for each in re.findall(r"([\d,.]+) (?:PVs?|rows?)", line)]


def test_a_value_has_a_row_a_scan_at_most_and_one_an_hour_at_least(tmp_path: Path) -> None:
    assert numbers(tmp_path, '["LAB:TC1:T1"]') == [1, 86_400, 24]
    assert numbers(tmp_path, '["LAB:TC1:T?"]') == [4, 4 * 86_400, 4 * 24]


@pytest.mark.parametrize(
    ("policy", "rows"),
    [
        ("min_period: 10s", [1, 8_640, 24]),
        ("scan: 60s", [1, 1_440, 24]),
        ("deadband: 1 digit, min_period: 0.1s", [1, 86_400, 24]),
        ("keep_alive: 10m", [1, 86_400, 144]),
    ],
)
def test_policies_count(tmp_path: Path, policy: str, rows: list[float]) -> None:
    assert numbers(tmp_path, '["LAB:TC1:T1"]', f'{{"LAB:TC1:T*": {{{policy}}}}}') == rows


def test_states_and_texts_change_seldom(tmp_path: Path) -> None:
    assert numbers(tmp_path, '["LAB:TC1:Conn", "LAB:TC1:Error"]') == [2, 48, 48]


def test_a_server_needs_more_for_a_row(tmp_path: Path) -> None:
    sizes = []
    for database in ("sqlite:///rack.sqlite", "mysql+pymysql://u:p@h/n"):
        numbers(tmp_path, '["LAB:TC1:T1"]', database=database)
        sizes.append(float(re.findall(r"\(([\d.]+) MB\)", next(lines(load(tmp_path / "rack.yaml"))))[0]))
    assert sizes[1] / sizes[0] == pytest.approx(ROW_BYTES["mysql"] / ROW_BYTES["sqlite"], rel=0.01)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (864, "864 B"), (1000, "1 kB"), (622_080, "622 kB"), (6.25e9, "6.25 GB")]
)
def test_bytes_are_told_in_the_unit_that_fits(number: float, text: str) -> None:
    assert sized(number) == text


@pytest.mark.parametrize("name", ["demo.yaml", "large.yaml"])
def test_a_crate_that_says_later_what_it_has_is_named_with_what_one_value_makes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKIOC_RUNTIME", str(tmp_path))  # the demo's own directory
    monkeypatch.setenv("RACKIOC_WEB_PORT", "8080")
    found = list(lines(load(Path(str(files("sim") / name)))))
    assert len(found) == 2
    assert "the PVs of HV1 come on top" in found[1]
    assert found[1].endswith("17,280 rows (622 kB) a day"), "a row in 5 s"


def test_without_an_archive_there_is_nothing_to_say(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text('prefix: "LAB:"\ninstruments:\n  TC1: {driver: se521}\n')
    assert list(lines(load(path))) == []


def test_the_tables_of_the_former_loggers_come_on_top(tmp_path: Path) -> None:
    text = """\
        prefix: "LAB:"
        instruments:
          HV1: {driver: caen, system: SY1527, link: TCPIP, host: crate, username: a, password: b}
          TC1: {driver: se521}
        archive:
          database: sqlite:///rack.sqlite
          pvs: ["LAB:TC1:Conn"]
          measurements: {instrument: HV1, channels: {4: ALL}, interval: 10s}
          temperatures: {instrument: TC1}
    """
    (tmp_path / "rack.yaml").write_text(textwrap.dedent(text))
    found = list(lines(load(tmp_path / "rack.yaml")))
    assert "measurements: 8,640 rows a day of each channel on top" in found
    assert "temperatures: 1,440 rows a day on top" in found
