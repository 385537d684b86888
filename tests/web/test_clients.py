"""Clients of the Archiver Appliance by others: they read what ``rackioc history`` reads, sample by sample."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from archiver.sample import STATUSES, is_gap
from tests.web.served import BEGIN, SECOND, Served, iso

PROGRAMS = Path(__file__).parent / "programs"
PVS = ("T:DOUBLE", "T:BROKEN", "T:STATE", "T:COUNT", "T:TEXT", "T:ARRAY", "T:ESCAPED", "T:RARE", "T:LOST", "T:ONCE")
# Of some PVs a year ends in it
SPAN = (BEGIN - 90 * 86_400 * SECOND, BEGIN + 1200 * SECOND)


def run(program: str, module: str, served: Served, pv: str) -> Any:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed: script/setup test,clients")
    command = [sys.executable, "-P", str(PROGRAMS / program), str(served.port), pv, *map(iso, SPAN)]
    # the code of aapy that reads messages is older than the compiled part of protobuf
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=environment)
    told = [line for line in done.stderr.splitlines() if "Non-finite value" not in line]
    assert (done.returncode, told) == (0, [])
    return json.loads(done.stdout)


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("pv", PVS)
def test_epicsarchiver_retrieval_client_reads_each_sample(served: Served, pv: str) -> None:
    found = run("epicsarchiver.py", "epicsarchiver", served, pv)
    assert found["names"] == [pv]
    expected = served.history(pv, *SPAN)
    for (time_ns, value, severity, status), sample in zip(found["rows"], expected, strict=True):
        assert (time_ns, severity) == (sample.time_ns, sample.severity)
        if not is_gap(sample):
            assert (repr(value), status) == (repr(plain(sample.value)), STATUSES.index(sample.status))


@pytest.mark.parametrize("pv", ["T:DOUBLE", "T:BROKEN", "T:STATE", "T:COUNT", "T:RARE"])
def test_aapy_reads_each_sample_of_a_span(served: Served, pv: str) -> None:
    found = run("aapy.py", "aa", served, pv)
    expected = served.history(pv, *SPAN)
    for rows in found.values():
        # of raw it leaves out some at the ends of a year itself
        known = {each.time_ns // 1000: each for each in expected}
        assert len(expected) - 3 <= len(rows) <= len(expected)
        for (time_s,), (value,), (severity,) in rows:
            sample = known[round(time_s * 1e6)]
            assert severity == sample.severity
            assert is_gap(sample) or math.isclose(value, float(sample.value), rel_tol=1e-15)  # type: ignore[arg-type]
