"""Updates that were dropped before anybody looked at them leave a gap from the first to the last."""

from __future__ import annotations

import time
from collections import Counter

from archiver.ca.listener import PvUpdate
from archiver.recording.queue import Queue
from archiver.recording.timeline import Timeline
from archiver.recording.track import Rule, Track
from archiver.sample import Gap
from archiver.settings import Policy

S = 10**9


def recorded(policy: Policy, *events: PvUpdate | int) -> list[tuple[int, object, str]]:
    queue = Queue()
    track = Track("A", Rule.of(policy), queue, Counter(), Timeline())
    track.connected()
    for event in events:
        if isinstance(event, int):
            track.lost(event)
        else:
            track.update(event)
    return [(each.time_ns, each.value, each.status) for each in queue.drain().samples]


def test_the_gap_lasts_from_the_first_dropped_update_to_the_last() -> None:
    now = time.time_ns() // S * S
    one, last = PvUpdate(now - 50 * S, 1.0, 0, "NO_ALARM"), PvUpdate(now - 10 * S, 3.0, 0, "NO_ALARM")
    expected = [
        (one.stamp_ns, 1.0, "NO_ALARM"),
        (now - 40 * S, "Overrun", Gap.OVERRUN),
        (last.stamp_ns, 3.0, "NO_ALARM"),
    ]
    assert recorded(Policy(), one, now - 40 * S, last) == expected
    assert recorded(Policy(deadband=5), one, now - 40 * S, last) == expected


def test_a_stamp_that_cannot_be_right_puts_the_gap_neither_before_the_last_row_nor_into_the_future() -> None:
    now = time.time_ns() // S * S
    one = PvUpdate(now - 50 * S, 1.0, 0, "NO_ALARM")
    for stamp in (0, now + 10_000 * S):
        _, (gap_ns, _, status) = recorded(Policy(), one, stamp)
        assert (status, one.stamp_ns < gap_ns <= time.time_ns()) == (Gap.OVERRUN, True)
