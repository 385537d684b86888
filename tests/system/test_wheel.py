"""The wheel: built, installed into a fresh environment of each Python that is here, and used as a user would."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rig.loopback import environment
from tests.documents.shell import Shell

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SETTING = "DEMO:HV1:S02:C00:V0Set"
# Files of the directory in which rackioc is started, named like modules that it imports
TRAPS = (
    *("yaml.py", "serial.py", "logging.py", "numpy.py"),
    *("ioc/__init__.py", "archiver/__init__.py", "drivers/__init__.py"),
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def find(version: str) -> str | None:
    """Return the interpreter of a version: this one, one of the PATH, or one that pyenv has."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    others = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
    return next((str(each) for each in others), None) or shutil.which(f"python{version}")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the files that are in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={folder}", str(ROOT))
    (made,) = folder.glob("rackioc-*.whl")
    return made


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_serves_the_demo_from_a_hostile_directory(version: str, wheel: Path, tmp_path: Path) -> None:
    python = find(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this computer")
    run(python, "-m", "venv", str(tmp_path / "venv"))
    run(str(tmp_path / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel))
    folder = tmp_path / "folder"
    for name in TRAPS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"raise ImportError({name!r} + ' of the working directory')\n", encoding="utf-8")
    run_directory = tmp_path / "run"
    run_directory.mkdir(mode=0o700)
    variables = {
        **environment(),
        "PATH": f"{tmp_path / 'venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(run_directory),
        "COLUMNS": "200",
        "TERM": "dumb",
    }
    shell = Shell(folder, variables)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as repeater:
        repeater.bind(("", int(variables["EPICS_CA_REPEATER_PORT"])))
        try:
            written = shell.serve("rackioc sim demo")
            shell.type("$ rackioc --version\nrackioc ...")
            shell.type("$ rackioc get DEMO:TC1:T1.SEVR\nDEMO:TC1:T1.SEVR NO_ALARM")
            shell.type(f"$ rackioc get -t {SETTING}\n1250")
            shell.type(f"$ rackioc put {SETTING} 1200\nOld : {SETTING} 1250\nNew : {SETTING} 1200")
            shell.type(f"$ rackioc history {SETTING}\n...\n2026-11-27 12:00:00.000+00 {SETTING} 1200.0 V")
        finally:
            shell.close()
    assert "of the working directory" not in written
