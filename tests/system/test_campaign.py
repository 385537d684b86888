"""Random faults and puts on the whole rack for two minutes: no rule of truth, and no Off, may be broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(400)
def test_two_minutes_of_faults_and_puts_break_no_rule() -> None:
    command = [sys.executable, "-P", "-m", "tests.campaign", "--minutes", "2", "--seed", "1"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
