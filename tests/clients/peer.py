"""A client of others as the tests see it: a process that is asked in lines of JSON and answers so."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Programs -> the packages that the extra ``clients`` brings for them
PACKAGES = {
    "pyepics": ("epics",),
    "cothread": ("cothread",),
    "ophyd": ("ophyd",),
    "ophyd_async": ("ophyd_async", "aioca"),
    "bluesky": ("bluesky", "ophyd"),
    "pydm": ("pydm", "PyQt5"),
}
# Of these, what may be installed and cannot be loaded: Qt has needs of its own (libGL.so.1 and others)
LOADED = {"cothread": "cothread", "pydm": "PyQt5.QtWidgets"}


@dataclass(frozen=True)
class Update:
    """What a monitor brought, and when (monotonic seconds)."""

    name: str
    value: Any
    severity: int
    at: float


def missing(program: str) -> str:
    """Return why a client cannot be run here; "" if it can."""
    for package in PACKAGES.get(program, ()):
        if find_spec(package) is None:
            return f"{program}: {package} is not installed (script/setup test,clients)"
    if program in LOADED:
        command = [sys.executable, "-P", "-c", f"import {LOADED[program]}"]
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
            return f"{program}: {LOADED[program]} cannot be loaded here"
    return ""


class PeerError(Exception):
    """What the library of the client raised."""


class Peer:
    """A running program of ``tests/clients/programs``."""

    def __init__(self, program: str, log: Path) -> None:
        self.program = program
        self.updates: list[Update] = []
        self._log = log
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"tests.clients.programs.{program}"],
                cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True,
            )  # fmt: skip
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def __repr__(self) -> str:
        return self.program

    def ask(self, verb: str, *words: Any, timeout: float = 30.0) -> Any:
        """Have a method of the client called; returns what it returned, raises ``PeerError`` if it raised."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, *words]) + "\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            answer = None
        assert answer is not None, f"{self} does not answer {verb} {words}:\n{self.logged()}"
        if "raised" in answer:
            raise PeerError(answer["raised"])
        return answer["returned"]

    def get(self, name: str) -> dict[str, Any]:
        """The value and what the client tells of it: ``severity``, ``units``, ``lower``, ``upper``, ``words``."""
        told: dict[str, Any] = self.ask("get", name)
        return told

    def put(self, name: str, value: Any) -> None:
        """Put with completion."""
        assert self.ask("put", name, value) is not False, f"{self} was told that {name} does not take {value}"

    def refused(self, name: str, value: Any) -> str:
        """Put what must fail; returns how a user notices: ``raised``, ``status``, ``alarm``, ``""`` (not at all)."""
        try:
            told = self.ask("put", name, value)
        except PeerError:
            return "raised"
        if told is False:
            return "status"
        return "alarm" if self.get(name)["severity"] == 1 else ""

    def newest(self, name: str, since: float = 0.0) -> Any:
        """The value of the newest update of a monitor since then (monotonic seconds); None if there is none."""
        found = (update.value for update in reversed(self.updates) if update.name == name and update.at > since)
        return next(found, None)

    def logged(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End it; asks first, by the end of its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            words = json.loads(line)
            if "name" in words:
                self.updates.append(Update(**words, at=time.monotonic()))
            else:
                self._answers.put(words)
        self._answers.put(None)
