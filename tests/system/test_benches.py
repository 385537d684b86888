"""The benches of the archive run, and print a table; what they measure is not looked at. Ports are never shared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rig.loopback import BLOCK, free_port

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("ingest --rounds 1 --scans 1 --rows-before 2e5", ["rackioc, 200,000 rows before", "sqlite3, executemany"]),
        ("archive --seconds 1 --count 24", [r"rackioc \| 1 \| (\d+) \| \1 \| 0 \| 0 \|"]),
        ("query --rounds 1 --rows 2e5", [r"200,000 rows, PV of 100,000 rows, cold \| 1 \| 100,000 \|"]),
        ("size --scans 1", ["rackioc, SQLite", "rackioc, MariaDB", "Phoebus as shipped, MariaDB"]),
        ("keeping.retention --pvs 1 --spacing 6000", [r"keep: 365d \| 1 \| 5,25"]),
        ("web.retrieval --rounds 1 --days 2", ["getData.raw, 24 h", "getData.raw, optimized_1000, 2 days"]),
    ],
)
def test_a_bench_prints_its_table(command: str, rows: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", *f"bench.{command}".split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for row in rows:
        assert re.search(rf"^\| {row}.*\|$", done.stdout, re.MULTILINE), done.stdout


def test_no_two_processes_are_given_the_same_port() -> None:
    program = f"from bench.rig.loopback import free_port; print(*(free_port() for _ in range({BLOCK})))"
    command = [sys.executable, "-P", "-c", program]
    mine = {free_port() for _ in range(BLOCK)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert mine.isdisjoint(map(int, done.stdout.split()))
