"""A campaign is decided by its seed alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.faults import FAULTS
from tests.campaign.plan import PutStep, case

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("driver", FAULTS)
def test_the_same_seed_does_the_same_and_another_something_else(driver: str) -> None:
    first = [str(case(3, driver, number)) for number in range(40)]
    assert first == [str(case(3, driver, number)) for number in range(40)]
    assert first != [str(case(4, driver, number)) for number in range(40)]


@pytest.mark.parametrize("driver", FAULTS)
def test_all_faults_come_before_one_comes_again(driver: str) -> None:
    count = len(FAULTS[driver])
    assert {case(1, driver, number).fault for number in range(count)} == set(FAULTS[driver])


@pytest.mark.parametrize("driver", ["technix", "caen"])
def test_puts_come_before_during_and_after_faults(driver: str) -> None:
    cases = [case(1, driver, number) for number in range(60)]
    assert {each.when for each in cases} == {"before", "during", "after"}
    for each in cases:
        assert any(isinstance(step.act, PutStep) for step in each.steps)
        lines = [step.act for step in each.steps if isinstance(step.act, str)]
        assert lines == [*each.fault.begin, *each.fault.end]


def test_the_plan_can_be_listed_without_a_run() -> None:
    command = [sys.executable, "-P", "-m", "tests.campaign", "--list", "2", "--only", "technix,caen"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 4
