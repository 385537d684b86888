"""Tests that fail are run again, each time with a time-out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HANGS = """
import time

def test_that_hangs():
    time.sleep(60)
"""


def test_a_test_that_hangs_ends_each_time_that_it_is_run(tmp_path: Path) -> None:
    file = tmp_path / "test_hangs.py"
    file.write_text(HANGS)
    options = ("-p", "tests.conftest", "-p", "no:cacheprovider", "--reruns", "2", "--timeout", "0.5")
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(file)]
    root = Path(__file__).parents[1]
    run = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True, timeout=40)
    assert "1 failed, 2 rerun" in run.stdout, run.stdout + run.stderr
