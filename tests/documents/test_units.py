"""The units of deploy/: one for each process, and a page that installs and removes them all."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT

FOLDER = ROOT / "deploy" / "systemd"
WHOLE = "rackioc.service"
# What `rackioc run` is in one process group, and what it is made of
COMMANDS = {
    WHOLE: "run",
    "rackioc-ioc.service": "ioc",
    "rackioc-archive.service": "archive",
    "rackioc-web.service": "web",
}
PAGE = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys are case-sensitive
    parser.read(FOLDER / name, encoding="utf-8")
    return parser


def test_each_process_of_a_rack_has_a_unit() -> None:
    units = {path.name for path in FOLDER.glob("*.service") if "@" not in path.name}
    assert units == set(COMMANDS)
    for name, command in COMMANDS.items():
        assert unit(name)["Service"]["ExecStart"] == f"/opt/rackioc/bin/rackioc {command} /etc/rackioc/rack.yaml"


def test_the_whole_and_its_parts_exclude_each_other() -> None:
    parts = set(COMMANDS) - {WHOLE}
    assert set(unit(WHOLE)["Unit"]["Conflicts"].split()) == parts
    assert {unit(name)["Unit"]["Conflicts"] for name in parts} == {WHOLE}


def test_the_page_names_and_removes_each_unit() -> None:
    (removal,) = re.findall(r"^systemctl disable --now (.*)$", PAGE, re.MULTILINE)
    assert set(removal.split()) == set(COMMANDS)
    assert [name for name in COMMANDS if f"`{name}`" not in PAGE and f"`systemd/{name}`" not in PAGE] == []


def test_an_environment_is_made_with_a_python_that_the_service_may_run_and_with_files_that_it_may_read() -> None:
    """A Python of root's own home, or a umask of 077, ends in 203/EXEC under systemd."""
    lines = [line.strip() for line in PAGE.splitlines()]
    made = [number for number, line in enumerate(lines) if "-m venv" in line]
    assert len(made) == 2
    for number in made:
        assert lines[number].startswith("/usr/bin/python3 -m venv")
        assert "umask 022" in lines[number - 4 : number]


def test_a_restart_by_hand_begins_the_count_of_starts_anew() -> None:
    """Systemd counts starts by hand, too, and would leave the IOC stopped at the sixth within ten minutes."""
    before, restart, _ = PAGE.partition("systemctl restart rackioc.service")
    assert restart
    assert before.rstrip("` \n").endswith("systemctl reset-failed rackioc.service` and")


@pytest.mark.parametrize("name", COMMANDS)
def test_systemd_takes_the_unit(name: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not here")
    for path in FOLDER.glob("*.service"):  # a program that is there, in the place of the one that is installed
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", path.read_text(encoding="utf-8"))
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", str(tmp_path / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "rackioc" in line]) == (0, [])
