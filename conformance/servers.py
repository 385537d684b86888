"""The processes: each server with its run of the script, on private ports of the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from bench.rig.loopback import environment

Observations = dict[str, dict[str, Any]]

# Seconds after which a run is given up
LONGEST = 900.0

SERVERS = {"base": "conformance.softioc", "rackioc": "conformance.soft"}


def observe(which: str, areas: Sequence[str]) -> Observations:
    """Start a server, run the script against it, return what was observed."""
    own = _environment()
    command = [sys.executable, "-P", "-m", "conformance.script", *areas]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,  # base logs the bytes of a client's text as they are
        _running(SERVERS[which], own, log),
    ):
        script = subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=LONGEST)
        if script.returncode:
            raise RuntimeError(f"the script failed against {which}:\n{script.stderr}")
        log.seek(0)
        return dict(map(_line, script.stdout.splitlines())) | {"log/errors": _errors(log.read())}


def _errors(log: str) -> dict[str, Any]:
    """Return what a server logged about its own faults while clients did what they may do."""
    tracebacks = log.split("Traceback (most recent call last):\n")[1:]
    ends = [next((line for line in text.splitlines() if line and line[0] != " "), "") for text in tracebacks]
    return {"tracebacks": len(ends), "kinds": sorted(set(ends))}


@contextmanager
def _running(module: str, environment: dict[str, str], log: IO[str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not any(line.startswith("ready") for line in process.stdout):
            log.seek(0)
            raise ConnectionError(f"{module} did not start:\n{log.read()}")
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _line(line: str) -> tuple[str, dict[str, Any]]:
    """Return an observation, with NaN and infinity as texts: JSON's NaN would not be equal to itself."""
    key, aspects = json.loads(line, parse_constant=str)
    return key, aspects


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("EPICS_")} | environment()
