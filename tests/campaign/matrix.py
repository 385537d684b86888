"""Every fault x every kind of put x before, during and after it: each case on a bench of its own, many at a time."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from tests.campaign import report
from tests.campaign.bench import run
from tests.campaign.plan import Case, PutStep, matrix
from tests.campaign.rules.judge import RULES, judge
from tests.campaign.rules.verdict import Finding

# Cases that one process runs at a time, and processes for each processor: most of the time is waiting. The binding of
# CAEN's library and the USB bus are one for a process.
AT_ONCE = {"technix": 20, "caen": 1, "se521": 1}
PROCESSES = {"technix": 1, "caen": 2, "se521": 2}


@dataclass(frozen=True)
class Result:
    """What a case ended with: what was broken, the figures of the rules, and the report of it."""

    case: Case
    violations: list[Finding]
    worst: dict[str, Finding]
    lines: list[str]


def batch(driver: str, numbers: Sequence[int]) -> list[Result]:
    """Run cases of the matrix in this process."""
    cases = matrix(driver)
    return asyncio.run(_together([cases[number] for number in numbers], AT_ONCE[driver]))


async def _together(cases: Sequence[Case], at_once: int) -> list[Result]:
    gate = asyncio.Semaphore(at_once)

    async def one(case: Case) -> Result:
        async with gate:
            recording = await run(case)
        verdict = judge(recording)
        return Result(case, verdict.violations, verdict.worst, list(report.violations(recording, verdict, _again)))

    return list(await asyncio.gather(*map(one, cases)))


def _again(case: Case) -> str:
    return f"python -m tests.campaign --matrix --only {case.driver} --case {case.number}"


def results(drivers: Sequence[str], every: int = 1) -> Iterator[Result]:
    """Yield the results of all cases, or of one in so many, as they come."""
    for driver in drivers:
        numbers = range(0, len(matrix(driver)), every)
        processes = PROCESSES[driver] * (os.cpu_count() or 1)
        size = max(1, min(AT_ONCE[driver], len(numbers) // processes + 1))
        batches = [numbers[begin : begin + size] for begin in range(0, len(numbers), size)]
        with ProcessPoolExecutor(processes) as pool:
            for done in as_completed([pool.submit(batch, driver, each) for each in batches]):
                yield from done.result()


def summary(found: Sequence[Result]) -> Iterator[str]:
    """Yield a table of what was broken, by fault and put, and the worst figure of each rule."""
    broken = [result for result in found if result.violations]
    yield f"{len(found)} cases, {len(broken)} of them with violations"
    yield ""
    yield "| rule | worst figure | where | fault, put | cases |"
    yield "| --- | --- | --- | --- | --- |"
    for rule in RULES:
        worst = max((r for r in found if rule in r.worst), key=lambda r: r.worst[rule].figure, default=None)
        cases = sum(any(each.rule == rule for each in result.violations) for result in found)
        if worst is not None:
            finding = worst.worst[rule]
            where = f"{finding.instrument}:{finding.point}"
            yield f"| {rule} | {finding.figure:.2f} | {where} | {_name(worst.case)} | {cases} |"
    yield ""
    yield "| fault | put: rules broken (times of before, during, after) |"
    yield "| --- | --- |"
    table: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for result in broken:
        for rule in {each.rule for each in result.violations}:
            table[f"{result.case.driver} {result.case.fault.title}"][_put(result.case)][rule] += 1
    for fault, puts in table.items():
        cells = (f"{put}: " + ", ".join(f"{rule} ({times})" for rule, times in c.items()) for put, c in puts.items())
        yield f"| {fault} | {'; '.join(cells)} |"


def _put(case: Case) -> str:
    puts = [step.act for step in case.steps if isinstance(step.act, PutStep)]
    return ", ".join(f"{put.point}={put.value:g}" for put in puts) or "no put"


def _name(case: Case) -> str:
    return f"{case.fault.title}, {_put(case)} {case.when}"
