"""The page docs/adding-an-instrument.md, run as it stands: its files, its tests and what it types in its shells."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.rig.loopback import environment

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-an-instrument.md").read_text(encoding="utf-8")
# Headings, and blocks with their language, in order
PARTS = re.findall(r"(?ms)^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", PAGE)
CONTRACT = "tests/drivers/test_all_drivers.py"
SERVE = "rackioc sim run "


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is installed, in a folder of its own, with the files of the page and its line for the drivers' tests."""
    folder = tmp_path_factory.mktemp("copy")
    (folder / "tmp").mkdir()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in files().items():
        assert not (folder / name).exists()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    key = re.search(r"in `KEYS`, here `(.+?)`", PAGE)
    assert key is not None
    contract = (ROOT / CONTRACT).read_text(encoding="utf-8")
    (folder / CONTRACT).write_text(re.sub(r"(?m)^KEYS: .*$", rf"\g<0>\n    {key[1]}", contract), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def variables(copy: Path) -> Iterator[dict[str, str]]:
    """The environment of the page's shells: the copy before the repository, Channel Access on ports of its own.

    The port of the repeater is taken, so that no client starts one, which would outlive the test.
    """
    own = {"PYTHONPATH": str(copy), "TMPDIR": str(copy / "tmp"), "COLUMNS": "200"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, **environment(), **own, "PATH": path}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as repeater:
        repeater.bind(("", int(variables["EPICS_CA_REPEATER_PORT"])))
        yield variables


def files() -> dict[str, str]:
    """Return the page's files: each is named in the heading above its block."""
    found = {}
    name = ""
    for heading, language, block in PARTS:
        if heading:
            name = "".join(re.findall(r"`(.+?)`", heading))
        elif language:
            found[name] = block
    return found


def commands() -> list[tuple[str, list[str]]]:
    """Return what the page types in its shells, in order, each with the lines that it shows below."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(block for _, language, block in PARTS if not language).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


@contextmanager
def served(command: str, folder: Path, variables: dict[str, str]) -> Iterator[Path]:
    """Serve, in the first shell, until the block ends; what is served must stop in order."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(shlex.split(command), cwd=folder, env=variables, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 20
        while not re.search(r"serving \d+ records", log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield log
    finally:
        process.terminate()
        process.wait(20)
    assert process.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def run(command: str, folder: Path, variables: dict[str, str]) -> list[str]:
    """Run a command and return the lines that it writes."""
    done = subprocess.run(
        shlex.split(command), cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout.decode().rstrip().splitlines()


def test_it_has_the_files_that_it_tells_of() -> None:
    assert list(files()) == ["drivers/gauge.py", "sim/gauge.py", "gauge.yaml", "tests/drivers/test_gauge.py"]


@pytest.mark.parametrize("command", [each for each, _ in commands() if each.startswith("pytest ")])
def test_its_tests_pass(command: str, copy: Path, variables: dict[str, str]) -> None:
    last = run(command, copy, variables)[-1]
    assert re.match(r"\d+ passed", last), last


def test_its_shells_show_what_it_says(copy: Path, variables: dict[str, str]) -> None:
    steps = [step for step in commands() if not step[0].startswith("pytest ")]
    start = next(number for number, (command, _) in enumerate(steps) if command.startswith(SERVE))
    for command, shown in steps[:start]:
        lines = run(command, copy, variables)
        assert lines == shown or (not shown and "LAB:VAC:P" in "".join(lines))
    with served(steps[start][0], copy, variables) as log:
        for command, shown in steps[start + 1 :]:
            check(command, shown, copy, variables)
        assert "caput -c LAB:VAC:Thr 2e-6" in log.read_text()


def check(command: str, shown: list[str], folder: Path, variables: dict[str, str]) -> None:
    """Compare what a command writes with what the page shows; what is read may take a scan to come."""
    deadline = time.monotonic() + 10
    while (lines := run(command, folder, variables)) != shown:
        assert command.startswith("caproto-get"), lines
        assert time.monotonic() < deadline, (command, lines)
