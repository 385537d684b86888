"""The report of a run: counts, the worst figure of each rule, and each violation with its time line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from tests.campaign.faults import CURE
from tests.campaign.plan import Case
from tests.campaign.recording import CaseRun, Recording
from tests.campaign.rules.judge import RULES, Verdict
from tests.campaign.rules.verdict import Finding

# Seconds before and after a violation that its time line shows, and its longest length in lines
BEFORE, AFTER, LINES = 8.0, 3.0, 60
# Violations of one kind that are shown with their time lines
SHOWN = 1
# Points that a heading names, and faults of an instrument that are named as the slowest to heal
NAMED, SLOWEST = 12, 6


def lines(recording: Recording, verdict: Verdict, seed: int) -> Iterator[str]:
    """Yield the report, line by line."""
    yield from _counts(recording, verdict)
    yield ""
    yield "| rule | worst figure | where | with | broken |"
    yield "| --- | --- | --- | --- | --- |"
    broken = Counter(found.rule for found in verdict.violations)
    for rule, text in RULES.items():
        worst = verdict.worst.get(rule)
        figure = f"{worst.figure:.2f}" if worst else "-"
        where = f"{worst.instrument}:{worst.point}" if worst else ""
        yield f"| {rule}: {text} | {figure} | {where} | {_fault(recording, worst)} | {broken[rule]} |"
    yield from violations(recording, verdict, lambda case: replay(case, seed))


def violations(recording: Recording, verdict: Verdict, again: Callable[[Case], str]) -> Iterator[str]:
    """Yield the kinds of violations, by rule and fault; the worst of each with its time line.

    ``again`` returns the command that runs a case once more.
    """
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for found in verdict.violations:
        groups.setdefault((found.rule, found.instrument, _fault(recording, found)), []).append(found)
    for number, ((rule, instrument, fault), group) in enumerate(groups.items(), 1):
        yield ""
        points = _some([found.point for found in group])
        yield f"--- {number} of {len(groups)}: rule {rule}, {instrument} with {fault}, {len(group)} times: {points}"
        for found in sorted(group, key=lambda found: -found.figure)[:SHOWN]:
            yield from _violation(recording, found, again)


def _fault(recording: Recording, found: Finding | None) -> str:
    run = recording.run_at(found.instrument, found.at) if found else None
    return run.case.fault.title if run else ""


def _counts(recording: Recording, verdict: Verdict) -> Iterator[str]:
    cases = [run for runs in recording.runs.values() for run in runs]
    ends = Counter(put.ok for put in recording.puts)
    updates = sum(map(len, recording.updates.values()))
    delays = sorted(took for _, took in recording.delays) or [0.0]
    faults = sum(event.what == "fault" for events in recording.events.values() for event in events)
    yield (
        f"{len(cases)} cases, {faults} commands of the fakes, {len(recording.puts)} puts ({ends[True]} good, "
        f"{ends[False]} failed, {ends[None]} without answer), {updates} updates of {len(recording.updates)} PVs"
    )
    yield (
        f"the IOC answered a get within {1e3 * delays[len(delays) // 2]:.1f} ms (median), "
        f"{1e3 * delays[int(len(delays) * 0.99)]:.0f} ms (99 %), {1e3 * delays[-1]:.0f} ms (worst)"
    )
    yield f"{len(verdict.violations)} violations"
    for instrument, runs in recording.runs.items():
        yield from _healing(recording, instrument, runs)


def _healing(recording: Recording, instrument: str, runs: Sequence[CaseRun]) -> Iterator[str]:
    """Yield after which faults an instrument took longest to be well again."""
    took: dict[str, float] = {}
    for run in runs:
        if run.settled:
            took[run.case.fault.title] = max(took.get(run.case.fault.title, 0.0), run.well - run.cured)
    slowest = sorted(took.items(), key=lambda each: -each[1])[:SLOWEST]
    yield f"{instrument} was well again after " + ", ".join(f"{title}: {s:.1f} s" for title, s in slowest)


def _some(points: Sequence[str]) -> str:
    """Return the first of some points, and how many more there are."""
    names = list(dict.fromkeys(points))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def replay(case: Case, seed: int) -> str:
    """Return the command that runs a case again."""
    return f"python -m tests.campaign --seed {seed} --only {case.driver} --case {case.number}"


def _violation(recording: Recording, found: Finding, again: Callable[[Case], str]) -> Iterator[str]:
    run = recording.run_at(found.instrument, found.at)
    yield f"{found.rule}: {found.instrument}:{found.point}: {found.sentence}"
    if run is not None:
        yield f"case {run.case}"
        yield f"again: {again(run.case)}"
    for moment, line in _around(recording, found):
        yield f"  {moment - found.at:+8.3f}  {line[:180]}"


def _around(recording: Recording, found: Finding) -> list[tuple[float, str]]:
    """Return what the fake recorded and what clients saw around a violation."""
    lines = []
    run = recording.run_at(found.instrument, found.at)
    cures = set(CURE[run.case.driver]) - set(run.case.fault.end) if run else set[str]()
    for event in recording.events.get(found.instrument, []):
        if not _concerns(event.what, str(event.value), found) or (event.what == "fault" and event.value in cures):
            continue
        lines.append((event.time, f"fake    {event.what} {event.value}"))
    names = [f"{found.instrument}:{point}" for point in _family(found.point)]
    for name in (*names, f"{found.instrument}:Conn"):
        for update in recording.updates.get(name, []):
            lines.append((update.at, f"client  {name} = {update.value!r}, severity {update.severity}"))
    for put in recording.puts:
        if put.name.startswith(f"{found.instrument}:"):
            lines.append((put.asked, f"client  asks: {put.name} {put.value:g} by client {put.client}"))
            if put.done is not None:
                lines.append((put.done, f"client  told: {put}"))
    begin, end = found.at - BEFORE, found.at + AFTER
    near = sorted(line for line in lines if begin <= line[0] <= end)
    middle = sum(moment < found.at for moment, _ in near)
    return near[max(0, middle - LINES * 3 // 4) : middle + LINES // 4]


def _family(point: str) -> tuple[str, ...]:
    base = point.removesuffix("_RBV")
    return tuple(dict.fromkeys((point, base, f"{base}_RBV", f"{base}:OffPending")))


def _concerns(what: str, value: str, found: Finding) -> bool:
    """Return True for what belongs into the time line of a finding: not the polling."""
    if what in ("fault", "violation", "missed", "spoilt"):
        return True
    if what == "heard":
        return "," in value
    if what == "wire":
        return value.startswith(("Set", "Exec", "login", "logout"))
    if what.startswith("is:"):
        key = what[3:]
        return key in (found.point, found.point.removesuffix("_RBV"), "hears") or (
            not found.point and key.count(":") == 0
        )
    return False
