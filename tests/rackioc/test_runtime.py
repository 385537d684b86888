"""The directory of a simulation: each user has his own, it is removed, and each error of a path names it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from rackioc.cli import runtime
from tests.rackioc.test_cli import run
from tests.small_ioc import until


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(runtime.VARIABLE, raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_the_version_is_told() -> None:
    assert run("--version") == (0, f"rackioc {version('rackioc')}\n")


def test_two_users_have_two_directories(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for user in (1000, 1001):
        monkeypatch.setattr(os, "getuid", lambda user=user: user)
        found.add(runtime.directory())
    assert found == {temporary / "rackioc-1000", temporary / "rackioc-1001"}


def test_the_directory_of_the_session_is_preferred_if_there_is_one(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(temporary / "none"))
    assert runtime.directory() == temporary / f"rackioc-{os.getuid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(temporary))
    assert runtime.directory() == temporary / "rackioc"


def test_a_disk_without_room_hinders_no_command(temporary: Path) -> None:
    config = temporary / "rack.yaml"
    config.write_text("prefix: 'LAB:'\ninstruments:\n  TC1: {driver: se521}\n")
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "rackioc", "check", str(config)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),  # no byte gets into any file
        env={name: text for name, text in os.environ.items() if name != "TMPDIR"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, f"{config}: no faults; 1 instrument\n"), ended.stderr


def test_the_demo_leaves_nothing_behind_at_its_end(temporary: Path) -> None:
    folder = temporary / "run"
    environment = {**os.environ, runtime.VARIABLE: str(folder)}
    command = [sys.executable, "-P", "-m", "rackioc", "sim", "demo"]
    log = temporary / "log"
    with log.open("wb") as out, subprocess.Popen(command, cwd=temporary, env=environment, stderr=out) as process:
        try:
            until(lambda: "serving" in log.read_text() or process.poll() is not None, 40)
            assert (folder / "control").exists(), log.read_text()
            assert (folder / "technix").is_symlink()
            process.send_signal(signal.SIGHUP)
            assert process.wait(20) == 0, log.read_text()
        finally:
            process.kill()
    assert not folder.exists()


def test_an_error_of_a_path_names_the_path(temporary: Path) -> None:
    taken = temporary / "file"
    taken.touch()
    config = temporary / "rack.yaml"
    config.write_text("prefix: 'A:'\ninstruments: {TC1: {driver: se521}}\n")
    code, text = run("sim", "run", str(config), "--control-path", str(taken / "control"))
    assert (code, text) == (1, f"rackioc: {taken}: File exists\n")
    long = temporary / ("x" * 120)
    code, text = run("sim", "run", str(config), "--control-path", str(long))
    assert (code, text) == (1, f"rackioc: {long} cannot be the control channel: AF_UNIX path too long\n")
    code, text = run("sim", "fault", "list", "--control-path", str(long))
    assert (code, text.startswith(f"rackioc: {long} cannot be connected to: ")) == (1, True)
    code, text = run("sim", "fault", "list", "--control-path", str(taken / "control"))
    assert (code, text) == (1, f"rackioc: {taken / 'control'} cannot be connected to: Not a directory\n")
