"""The rules that a run has to keep, judged from the fakes' own records and from what clients saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.campaign.recording import Recording
from tests.campaign.rules import truth, writes
from tests.campaign.rules.verdict import Finding

# Seconds in which the heartbeat of the IOC has to come, which it does once a second
HEARTBEAT = 3.0
# PVs that a sentence names
NAMED = 5

RULES: dict[str, str] = {
    "1 writes": "nothing reached an instrument that no client asked for, and nothing outside the limits",
    "2 good puts": "what a good put asked for was there",
    "2 failed puts": "a put of On that failed was not left on (s after the failure)",
    "3 true": "a valid value was true within two periods (s beyond that)",
    "3 read": "a valid value was read within two periods (s beyond that)",
    "4 off": "an Off was obeyed soon after the instrument heard again (s)",
    "4 pending": "an Off that waits was shown as pending",
    "5 pauses": "the pauses of the manual were kept",
    "6 others": "nothing else stopped: heartbeat, circuits, process, log, instruments without a fault",
    "6 heals": "what was valid at the start was valid again after the last of a fault (s)",
}

_JUDGES: tuple[Callable[[Recording], Iterator[Finding]], ...] = (
    writes.unasked,
    writes.good_puts,
    writes.failed_puts,
    truth.untrue,
    truth.unread,
    writes.offs,
)


@dataclass(frozen=True)
class Verdict:
    """What was found: the findings that break a rule, and the worst figure of each rule."""

    violations: list[Finding]
    worst: dict[str, Finding]


def judge(recording: Recording) -> Verdict:
    """Return what was found in a run."""
    findings = [found for each in (*_JUDGES, _pauses, _others) for found in each(recording)]
    worst: dict[str, Finding] = {}
    for found in findings:
        if found.rule not in worst or found.figure > worst[found.rule].figure:
            worst[found.rule] = found
    return Verdict(sorted((found for found in findings if found.broken), key=lambda found: found.at), worst)


def _pauses(recording: Recording) -> Iterator[Finding]:
    for instrument, events in recording.events.items():
        for event in events:
            if event.what == "violation":
                yield Finding("5 pauses", instrument, "", event.time, 1.0, True, str(event.value))


def _others(recording: Recording) -> Iterator[Finding]:
    for at, sentence in recording.broken:
        yield Finding("6 others", "IOC", "", at, 1.0, True, sentence)
    beats = [update.at for update in recording.updates.get("IOC:HEARTBEAT", [])]
    for before, after in zip(beats, [*beats[1:], recording.end], strict=False):
        late = after - before
        broken = late > HEARTBEAT + recording.delay(before, after)
        yield Finding("6 others", "IOC", "HEARTBEAT", after, late, broken, f"no heartbeat for {late:.1f} s")
    for instrument in recording.drivers:
        yield from _disturbed(recording, instrument)
        yield from _unhealed(recording, instrument)


def _disturbed(recording: Recording, instrument: str) -> Iterator[Finding]:
    """Yield what became INVALID while nothing was done to an instrument."""
    quiet = list(recording.quiet(instrument))
    for name in recording.updates:
        if name.partition(":")[0] != instrument:
            continue
        for (begin, _), update in recording.shown(name):
            if update.severity == 3 and any(a < begin < b for a, b in quiet):
                sentence = f"INVALID (status {update.status}) although nothing was done to the instrument"
                yield Finding("6 others", instrument, name.partition(":")[2], begin, 1.0, True, sentence)


def _unhealed(recording: Recording, instrument: str) -> Iterator[Finding]:
    """Yield how long each case needed to heal."""
    for run in recording.runs.get(instrument, []):
        if run.ended == math.inf:
            continue
        took = run.well - run.cured if run.settled else run.ended - run.cured
        what = ", ".join(run.missing[:NAMED]) + (f" and {len(run.missing) - NAMED} more" * (len(run.missing) > NAMED))
        sentence = f"not well again after {took:.1f} s: {what}"
        yield Finding("6 heals", instrument, "", run.ended, took, not run.settled, sentence)
