"""The same libca calls to the C softIoc and to rackioc: nothing differs but what is meant to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_difference_from_epics_base_is_explained() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "conformance", "--brief"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
