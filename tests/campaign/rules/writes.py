"""Rules 1, 2 and 4: what reached an instrument, what puts did, and whether each Off was obeyed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.campaign.recording import Put, Recording, States
from tests.campaign.rules.points import FULL_KV, FULL_MA
from tests.campaign.rules.verdict import MACHINE, Finding

# Seconds after its answer in which a command of a put may still arrive, and for which a put without one may wait
AFTER, NO_ANSWER = 0.3, 15.0
# Seconds in which what a good put asked for has to show
SETTLE = 1.0
# Seconds in which an Off is obeyed once it can be
OBEYED = 5.0
# The same after a lost link: back-off and login of a crate; the pause in which a generator's watchdog is not fed
OBEYED_AFTER_LOSS = {"caen": 36.0, "technix": 7.0}
# Seconds after which an Off that waits has to be shown as waiting
SHOWN_PENDING = 2.0
# Limits of the campaign's generator, in steps of its converter
LIMITS = {"d1": math.floor(60 / FULL_KV * 4095), "d2": math.floor(20 / FULL_MA * 4095)}


@dataclass(frozen=True)
class Write:
    """A command that reached an instrument: the point and the value that it sets, and the words of the wire."""

    at: float
    point: str
    value: float
    words: str


def written(recording: Recording, instrument: str) -> Iterator[Write]:
    """Yield what reached an instrument, in the words of its points."""
    kind = {"technix": _technix, "caen": _caen}.get(recording.drivers[instrument])
    return kind(recording, instrument) if kind else iter(())


def _technix(recording: Recording, instrument: str) -> Iterator[Write]:
    for event in recording.events[instrument]:
        if event.what != "heard" or "," not in str(event.value):
            continue
        words = str(event.value)
        name, _, number = words.partition(",")
        if name in LIMITS:
            full = FULL_KV if name == "d1" else FULL_MA
            yield Write(event.time, "VSet" if name == "d1" else "ISet", int(number) * full / 4095, words)
        else:
            point = {"P5": "HV", "P6": "HV", "P7": "Mode", "P8": "Inhibit"}[name]
            value = {"P5": 1, "P6": 0}.get(name, int(number))
            yield Write(event.time, point, value, words)


# Calls that acted: the answer was good, lost (TIMEERR) or garbled
_SET = re.compile(r"SetChParam (\d+) \[(\d+)\] (\w+) (\S+) -> (?:0|4|23130)$")
_EXECUTE = re.compile(r"ExecComm (\w+) -> (?:0|4|23130)$")


def _caen(recording: Recording, instrument: str) -> Iterator[Write]:
    for event in recording.events[instrument]:
        words = str(event.value)
        if event.what == "wire" and (call := _SET.match(words)):
            slot, channel, name, value = call.groups()
            yield Write(event.time, f"S{int(slot):02d}:C{int(channel):02d}:{name}", float(value), words)
        elif event.what == "wire" and (call := _EXECUTE.match(words)):
            yield Write(event.time, f"Cmd:{call[1]}", 1, words)


def makes_safe(point: str, value: float) -> bool:
    """Return True for a put that makes an instrument safe."""
    last = point.rpartition(":")[2]
    return (last, value) in {("HV", 0), ("Inhibit", 1), ("Mode", 1), ("Pw", 0), ("Kill", 1)}


def _asked(write: Write, put: Put) -> bool:
    """Return True if a put asked for a write."""
    if put.name.partition(":")[2] != write.point or put.asked > write.at + 0.05:
        return False
    step = {"VSet": FULL_KV, "ISet": FULL_MA}.get(write.point)
    if step is not None:
        return math.isclose(put.value, write.value, abs_tol=step / 4095 + 1e-6)
    return math.isclose(put.value, write.value, abs_tol=0.06)


def _lasts(put: Put) -> float:
    return put.done + AFTER if put.done is not None else put.asked + NO_ANSWER


def unasked(recording: Recording) -> Iterator[Finding]:
    """Yield each write that no client asked for, or that is outside the limits."""
    for instrument in recording.drivers:
        puts = [put for put in recording.puts if put.name.partition(":")[0] == instrument]
        begun = False  # an HV On that may be half-done
        for write in written(recording, instrument):
            reason = ""
            if write.words.partition(",")[0] in LIMITS:
                name, _, number = write.words.partition(",")
                reason = "is outside the limits" if int(number) > LIMITS[name] else ""
            if not reason and not _explained(write, puts, begun=begun):
                reason = "was not asked for by any client at that time"
            begun = begun or write.words == "P5,1"
            sentence = f"{write.words} {reason}"
            yield Finding("1 writes", instrument, write.point, write.at, float(bool(reason)), bool(reason), sentence)


def _explained(write: Write, puts: list[Put], *, begun: bool) -> bool:
    asked = [put for put in puts if _asked(write, put)]
    if any(write.at <= _lasts(put) for put in asked):
        return True
    if write.words == "P5,0":  # a release is what ends a half-done pair
        return begun
    if write.words in ("P8,1", "P8,0") and begun:  # the completion of a half-done On, under inhibition
        return True
    if makes_safe(write.point, write.value):
        # pending since it was asked for, or sent because an On failed, or might have
        others = [put for put in puts if put.name.partition(":")[2] == write.point and put.asked <= write.at]
        return bool(others) or write.point.startswith("Cmd:")
    return False


def good_puts(recording: Recording) -> Iterator[Finding]:
    """Yield each good put whose effect was not there."""
    for put in recording.puts:
        instrument, _, point = put.name.partition(":")
        states = recording.states[instrument]
        if not put.ok or put.done is None or point not in states:
            continue
        until = put.done + SETTLE + MACHINE
        tolerance = {"VSet": FULL_KV / 4095 + 1e-6, "ISet": FULL_MA / 4095 + 1e-6}.get(point, 0.06)
        seen = [
            state
            for (begin, end), state in states.spans(point)
            if begin <= until and end >= put.asked and state is not None
        ]
        there = any(math.isclose(float(state), put.value, abs_tol=tolerance) for state in seen)
        sentence = f"{put}, but it was {seen} from the put until {SETTLE:g} s after the answer"
        yield Finding("2 good puts", instrument, point, put.done, float(not there), not there, sentence)


def failed_puts(recording: Recording) -> Iterator[Finding]:
    """Yield for how long each On that failed was on."""
    for put in recording.puts:
        instrument, _, point = put.name.partition(":")
        if put.ok is not False or put.done is None or point.rpartition(":")[2] not in ("HV", "Pw") or not put.value:
            continue
        if recording.states[instrument].at(point, put.asked) != 0:
            continue  # it was on before
        if any(_same(put, other) and other.value and other.asked > put.asked - NO_ANSWER for other in recording.puts):
            continue  # another one asked for it
        yield from _obeyed("2 failed puts", recording, put, put.done, 0)


def offs(recording: Recording) -> Iterator[Finding]:
    """Yield how long each Off took since the instrument could hear it, and whether it was shown as waiting."""
    for put in recording.puts:
        _, _, point = put.name.partition(":")
        if makes_safe(point, put.value):
            yield from _obeyed("4 off", recording, put, put.asked, _safe(put))


def _same(put: Put, other: Put) -> bool:
    return other is not put and other.name == put.name


@dataclass(frozen=True)
class Off:
    """What became of an Off, for one part of the state, all in monotonic s.

    heard   from when on the instrument heard for long enough; until: when an On was put
    obeyed  infinity if it was not; allowed: the seconds that it had
    """

    key: str
    heard: float
    until: float
    obeyed: float
    allowed: float

    @property
    def broken(self) -> bool:
        """Return True if it was not obeyed in time."""
        return min(self.obeyed, self.until) > self.heard + self.allowed


def waits(recording: Recording, instrument: str, put: Put) -> bool:
    """Return True as long as an Off of a run in progress is not obeyed, and may still be."""
    name, _, point = put.name.partition(":")
    if name != instrument or not makes_safe(point, put.value):
        return False
    states = recording.states_now(instrument)
    found = _followed(recording, states, put, put.asked, _safe(put))
    return any(off.obeyed == math.inf and off.until == recording.end and not off.broken for off in found)


def _safe(put: Put) -> int:
    return 0 if put.name.endswith("Cmd:Kill") else int(put.value)


def _followed(recording: Recording, states: States, put: Put, since: float, safe: int) -> Iterator[Off]:
    """Yield what became of an Off from a moment on; nothing for a part of the state that was not known then."""
    instrument, _, point = put.name.partition(":")
    for key in states.names(r"S\d\d:C\d\d:Pw") if point == "Cmd:Kill" else [point]:
        obeyed = _first(states, key, safe, since)
        heard = _hears(states, since)
        if obeyed is None:
            continue
        until = min((other.asked for other in recording.puts if _undoes(other, put, key)), default=recording.end)
        after_loss = OBEYED_AFTER_LOSS.get(recording.drivers[instrument], OBEYED)
        allowed = MACHINE + (after_loss if _was_lost(recording, states, instrument, since) else OBEYED)
        yield Off(key, heard, until, obeyed, allowed + recording.delay(since, since + allowed))


def _obeyed(rule: str, recording: Recording, put: Put, since: float, safe: int) -> Iterator[Finding]:
    instrument, _, _ = put.name.partition(":")
    for off in _followed(recording, recording.states[instrument], put, since, safe):
        took = max(0.0, min(off.obeyed, off.until, recording.end) - off.heard)
        when = f"after {took:.1f} s"
        if min(off.until, recording.end) < off.obeyed:
            when = f"not within {took:.1f} s, {'when an On was put' if off.until < recording.end else 'to the end'}"
        sentence = f"{put}: {off.key} obeyed {when} (the instrument heard from {off.heard - since:+.1f} s on)"
        yield Finding(rule, instrument, off.key, since, took, off.broken, sentence)
        if rule == "4 off":
            yield from _shown(recording, put, off.key, since, min(off.obeyed, off.until, recording.end))


def _first(states: States, key: str, safe: int, since: float) -> float | None:
    """Return when a part of the state was first safe; infinity if it never was; None where it is not known."""
    spans = list(states.spans(key))
    if not spans or spans[0][0][0] > since:
        return None
    return next(
        (max(begin, since) for (begin, end), value in spans if end > since and value in (safe, None)), math.inf
    )


def _hears(states: States, since: float) -> float:
    """Return from when on an instrument heard for long enough; infinity if it never did."""
    spans = [span for span, hears in states.spans("hears") if hears == 1]
    return next((max(a, since) for a, b in spans if b > since and b - max(a, since) >= OBEYED + MACHINE), math.inf)


def _was_lost(recording: Recording, states: States, instrument: str, since: float) -> bool:
    link = recording.shown_at(f"{instrument}:Conn", since)
    lately = recording.shown_at(f"{instrument}:Conn", since + 1.0)
    return any(each is not None and each.value != 2 for each in (link, lately)) or any(
        span[1] > since - 2 and span[0] < since + 2 for span, hears in states.spans("hears") if hears != 1
    )


def _undoes(other: Put, put: Put, key: str) -> bool:
    """Return True for a later put that ends an Off of a part of the state."""
    if other.asked <= put.asked or other is put:
        return False
    if put.name.endswith("Cmd:Kill"):
        return other.name.endswith(f":{key}") and other.value == 1
    return other.name == put.name and not makes_safe(put.name, other.value)


def _shown(recording: Recording, put: Put, key: str, since: float, until: float) -> Iterator[Finding]:
    """Yield whether an Off that waits is shown as waiting."""
    if until - since < SHOWN_PENDING + 1:
        return
    # The switch that was put: a kill that waits says so itself, and not each of the channels that it switches off
    last = put.name.rpartition(":")[2]
    name = f"{put.name}:{ {'Inhibit': 'On', 'Mode': 'Local', 'Kill': 'Execute'}.get(last, 'Off') }Pending"
    seen = recording.shown_at(name, since + SHOWN_PENDING + recording.delay(since, since + SHOWN_PENDING))
    missing = seen is None or (seen.value, seen.severity) != (1, 2)
    shows = "there is no such PV" if seen is None else f"it shows {seen.value!r}, severity {seen.severity}"
    sentence = f"{put}: not obeyed {SHOWN_PENDING:g} s later, but {name} is not Yes and MAJOR: {shows}"
    yield Finding("4 pending", put.name.partition(":")[0], key, since, float(missing), missing, sentence)
