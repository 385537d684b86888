"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ioc.cli import app

CONFIG = """\
prefix: "LAB:"
instruments:
  TC1: {driver: se521}
  GEN:
    driver: technix
    port: /dev/ttyUSB0
    full_scale: {voltage_kv: 100, current_ma: 50}
records:
  "LAB:TC1:T1": {DESC: cold finger}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "rack.yaml"
    path.write_text(CONFIG)
    return str(path)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "command", ["run", "ioc", "archive", "check", "pvs", "history", "sim demo", "sim run", "sim fault"]
)
def test_each_command_explains_itself(command: str) -> None:
    code, text = run(*command.split(), "--help")
    assert code == 0
    assert len(text.split()) > 20


def test_help_names_the_first_steps() -> None:
    code, text = run("--help")
    assert code == 0
    assert "rackioc sim demo" in text


def test_a_good_configuration_is_told_and_nothing_else_happens(config: str) -> None:
    code, text = run("check", config)
    assert (code, "good; 2 instruments" in text) == (0, True)


def test_a_bad_configuration_is_code_2_with_each_fault_on_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text("prefix: 5\ninstruments: {X: {driver: lecroy}}\n")
    code, text = run("check", str(path))
    assert code == 2
    assert [line.startswith(f"{path}:") for line in text.splitlines()] == [True, True]


def test_an_archive_without_its_section_is_code_2(config: str) -> None:
    code, text = run("archive", config)
    assert code == 2
    assert "archive: is missing" in text


def test_pvs_are_listed_as_csv_with_what_the_site_says(config: str) -> None:
    code, text = run("pvs", config, "--format", "csv")
    assert code == 0
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["LAB:TC1:T1"] == {
        "name": "LAB:TC1:T1", "type": "ai", "unit": "C", "access": "read", "description": "cold finger",
    }  # fmt: skip
    assert rows["LAB:GEN:VSet"]["access"] == "read/write"
    assert {"LAB:GEN:Conn", "LAB:IOC:HEARTBEAT"} <= set(rows)


def test_pvs_are_listed_as_json_and_as_a_table(config: str) -> None:
    listed = json.loads(run("pvs", config, "--format", "json")[1])
    table = run("pvs", config)[1].splitlines()
    assert len(table) == len(listed) + 1
    assert "LAB:GEN:VSet" in "\n".join(table)


def test_a_crate_that_cannot_be_asked_is_told_and_the_rest_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    text = """\
        prefix: "LAB:"
        instruments:
          HV1: {driver: caen, system: SY4527, link: TCPIP, host: nowhere.invalid, username: a, password: geheim42}
    """
    path.write_text(textwrap.dedent(text))
    code, text = run("pvs", str(path), "--format", "csv")
    assert code == 1
    assert "LAB:HV1:Conn" in text
    assert "HV1: " in text
    assert "geheim42" not in text


def test_a_history_that_is_not_there_is_code_1_and_makes_no_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run("history", "LAB:X")
    assert code == 1
    assert "rack.sqlite" in text
    assert list(tmp_path.iterdir()) == []


def test_views_of_a_history_that_exclude_each_other_are_one_sentence() -> None:
    code, text = run("history", "X", "--at", "1h", "--stat", "--bin", "60s", "--plot", "x.png", "--terminal")
    assert code == 1
    assert (
        text == "rackioc: --at and --stat and --bin and --plot and --terminal exclude each other: give one of them\n"
    )


def test_no_simulation_is_told_in_words(tmp_path: Path) -> None:
    code, text = run("sim", "fault", "GEN", "help", "--control-path", str(tmp_path / "none"))
    assert code == 1
    assert "rackioc sim demo" in text
