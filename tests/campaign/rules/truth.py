"""Rule 3: a valid value is true, and was read lately."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sim.events import Scalar
from tests.campaign.recording import Recording, Span, Update
from tests.campaign.rules.points import PERIODS, Shown, reads, shown
from tests.campaign.rules.verdict import MACHINE, Finding, last_end, merged, next_begin

_SWITCHES = re.compile(r"(.*:)?(HV|Inhibit|Mode|Pw)$")
# Seconds within which a write of ours shows as a change of the true state
OWN = 0.3
# Seconds between two known states of something that slews, at most: it passed through all values between them
SLEWING = 0.5


def untrue(recording: Recording) -> Iterator[Finding]:
    """Yield for how long valid values were not true."""
    for each in shown(recording):
        states = list(recording.states[each.instrument].spans(each.key))
        if not states:
            continue
        known = states[0][0][0]
        pending = _pending(recording, each)
        ours = _own_writes(recording, each)
        cache: dict[object, list[Span]] = {}
        for span, update in recording.shown(each.name):
            if update.severity == 3 or span[1] <= known:
                continue
            value = update.value
            if repr(value) not in cache:
                true = list(_true(each, value, states))
                cache[repr(value)] = merged([*true, *pending])
            yield from _late(
                "3 true", recording, each, (max(span[0], known), span[1]), update, cache[repr(value)], ours
            )


def _true(each: Shown, value: Any, states: Sequence[tuple[Span, Scalar]]) -> Iterator[Span]:
    """Yield the spans in which a value was true."""
    for index, (span, state) in enumerate(states):
        if each.agrees(value, state):
            yield span
        elif each.slews and index + 1 < len(states) and span[1] - span[0] < SLEWING:
            ends = [float(end) for end in (state, states[index + 1][1]) if end is not None]
            if len(ends) == 2 and min(ends) <= float(value) <= max(ends):
                yield span


def unread(recording: Recording) -> Iterator[Finding]:
    """Yield for how long valid values were not read."""
    read = {instrument: reads(recording, instrument) for instrument in recording.drivers}
    for each in shown(recording):
        times = [(at, at) for at in read[each.instrument].get(each.key, [])]
        for span, update in recording.shown(each.name):
            if update.severity < 3 and times and span[1] > times[0][0]:
                begin = max(span[0], times[0][0])
                yield from _late("3 read", recording, each, (begin, span[1]), update, times, None)


def _late(
    rule: str,
    recording: Recording,
    each: Shown,
    span: Span,
    update: Update,
    good: Sequence[Span],
    ours: Sequence[float] | None,
) -> Iterator[Finding]:
    """Yield the longest gap between the good spans while a value was shown, beyond what is allowed."""
    worst: tuple[float, float, float] | None = None
    moment, end = span
    while moment < end:
        until = last_end(good, moment)
        following = min(end, next_begin(good, moment))
        if following > moment:  # nothing is good from here on
            since = until if until is not None else span[0] - 60.0
            excess = following - since - _allowed(recording, each, since, following, ours)
            if worst is None or excess > worst[0]:
                worst = (excess, since, following)
        index = next((s for s in good if s[0] <= following < s[1] or s[0] == following), None)
        moment = max(following, index[1] if index else following) + 1e-6
    if worst is None or worst[0] < -2 * each.period:
        return
    excess, since, until_ = worst
    what = "was not true" if ours is not None else "was not read"
    lasted = f"for {until_ - since:.1f} s" if until_ - since < 59 else "at any time before"
    states = recording.states[each.instrument]
    sentence = f"{each.name} = {update.value!r} (severity {update.severity}) {what} {lasted}"
    sentence += f"; it is {states.at(each.key, until_ - 1e-3)!r}" if ours is not None else ""
    point = each.name.partition(":")[2]
    yield Finding(rule, each.instrument, point, until_, excess, excess > 0, sentence)


def _allowed(recording: Recording, each: Shown, since: float, until: float, ours: Sequence[float] | None) -> float:
    """Return the seconds that a value may be old: two periods, or two durations of the scan, and the machine's part.

    What the status tells of, and what a put of ours changed, is read at once: as fast as the fastest group.
    """
    instrument = each.instrument
    fastest = PERIODS[recording.drivers[instrument]]
    at_once = ours is not None and (each.prompt or any(abs(since - at) < OWN for at in ours))
    period = fastest if at_once else each.period
    scans = [recording.shown_at(f"{instrument}:ScanTime", moment) for moment in (since, until)]
    duration = max((float(scan.value) / 1e3 for scan in scans if scan is not None), default=0.0)
    stretched = max(period, duration) * recording.stretch(since, until)
    return 2 * stretched + MACHINE + at_once * fastest + recording.delay(since, since + 2 * period)


def _pending(recording: Recording, each: Shown) -> list[Span]:
    """Return when a switch's Off waits, and is shown to wait: its setting may show what was asked for."""
    if not _SWITCHES.fullmatch(each.name):
        return []
    word = {"Inhibit": "On", "Mode": "Local"}.get(each.name.rpartition(":")[2], "Off")
    return [span for span, update in recording.shown(f"{each.name}:{word}Pending") if update.value == 1]


def _own_writes(recording: Recording, each: Shown) -> list[float]:
    """Return when a command of ours reached this part of the state."""
    slot, _, rest = each.key.partition(":")
    channel, _, name = rest.partition(":")
    if recording.drivers[each.instrument] != "caen" or not name:
        return []
    text = f"SetChParam {int(slot[1:])} [{int(channel[1:])}] {name} "
    return [event.time for event in recording.events[each.instrument] if str(event.value).startswith(text)]
