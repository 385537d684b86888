"""What a line needs is its own time: not that for which the process stood still, or its event loop was busy."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from drivers.base import Step
from tests.ioc.bench import Bench, Rig, Run, running

STEP, PERIOD, PAUSE = 0.02, 0.2, 0.8
SLOW_STEP = 0.3


class Line(Bench):
    """An instrument whose steps take time, and that stops its own process under way."""

    scan = {"fast": PERIOD, "slow": PERIOD}  # noqa: RUF012

    def __init__(self, step: float) -> None:
        super().__init__()
        self.stops = False
        self._step = step

    def read(self, group: str) -> Iterator[Step]:
        for step in super().read(group):
            if self.stops and group == "fast":
                self.stops = False
                os.kill(os.getpid(), signal.SIGSTOP)  # another thread may take it: this one stops in its sleep
            time.sleep(self._step)
            yield step


def longest_ages(rig: Rig) -> list[float]:
    assert rig.instrument._port is not None
    return [scan.longest_age for scan in rig.instrument._port.scans]


async def stand_still() -> None:
    """Print the longest ages behind a standstill in a step."""
    line = Line(STEP)
    async with running(line) as rig:
        line.stops = True
        await rig.until(lambda: not line.stops)
        scans = line.log.count("fast")
        await rig.until(lambda: line.log.count("fast") > scans)
        sys.stdout.write(" ".join(str(age) for age in longest_ages(rig)))


@pytest.mark.quiet
def test_a_standstill_of_the_process_in_a_step_does_not_make_old_values_true() -> None:
    command = [sys.executable, "-P", "-c", f"import asyncio, {__name__} as test; asyncio.run(test.stand_still())"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]):
            time.sleep(PAUSE)
            process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        ages = [float(each) for each in process.stdout.read().split()]
    assert len(ages) == 2
    assert max(ages) < 1.0  # 2.0 where all of such a step counts


def test_a_slow_line_is_allowed_its_time_also_while_the_event_loop_is_busy(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(4):
            time.sleep(0.5)
            await asyncio.sleep(0)
        assert min(longest_ages(rig)) > 0.9 * 2 * 2 * SLOW_STEP

    run(scenario, driver=Line(SLOW_STEP))
