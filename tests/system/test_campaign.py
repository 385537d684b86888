"""Random faults and puts on a whole rack, and part of all faults with all puts: no rule may be broken."""

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
@pytest.mark.parametrize("options", ["--minutes 2 --seed 1", "--matrix --every 37"])
def test_faults_and_puts_break_no_rule(options: str) -> None:
    command = [sys.executable, "-P", "-m", "tests.campaign", *options.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
