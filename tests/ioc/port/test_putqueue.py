"""How puts share the line with the scans."""

from __future__ import annotations

import threading

from drivers.base import NotShown, Point, RecordType
from ioc.port.putqueue import PUT_AGE, REPEAT, Put, PutQueue

SET = Point(name="Set", rtyp=RecordType.ao)
HV = Point(name="HV", rtyp=RecordType.bo, states=("Off", "On"), safe=0)
OTHER = Point(name="Other", rtyp=RecordType.bo, states=("Off", "On"), safe=0)


def shares(puts: list[Put], steps: int) -> str:
    """Let scans that are always ready and puts that never end share a line; return who had it, step by step."""
    queue = PutQueue(threading.Condition(), lambda safe, waiting: False)
    for put in puts:
        queue.add(put)
    had = ""
    for _ in range(steps):
        stepped = queue.next(1.0, scan_ready=True)
        if stepped is None:
            queue.scan_stepped()
            had += "s"
        else:
            stepped.steps, stepped.tried = iter(()), True
            had += "O" if stepped.safe else "p"
    return had


def test_puts_have_a_third_of_a_line_that_is_never_free() -> None:
    assert shares([Put(SET, value, 0.0) for value in (1.0, 2.0, 3.0)], 9) == "psspsspss"


def test_a_put_that_makes_things_safe_has_half_of_it_and_waits_for_no_other() -> None:
    assert shares([Put(SET, 1.0, 0.0), Put(HV, 0, 0.0)], 6) == "OsOsOs"


def test_several_that_make_things_safe_begin_at_once_and_then_take_turns_with_the_scans() -> None:
    assert shares([Put(HV, 0, 0.0), Put(OTHER, 0, 0.0)], 8) == "OOsOsOsO"


def test_of_several_that_are_repeated_in_vain_on_a_slow_line_none_holds_up_another() -> None:
    queue = PutQueue(threading.Condition(), lambda safe, waiting: False)
    for point in (HV, OTHER):
        queue.add(Put(point, 0, 0.0))
    sent, steps = dict.fromkeys(("HV", "Other"), 0), dict.fromkeys(("HV", "Other"), 0)
    for now in range(1, 25):  # a step takes as long as the time between two tries
        put = queue.next(float(now), scan_ready=False)
        assert put is not None
        name = put.point.name
        steps[name] += 1
        if put.steps is None:
            put.steps, put.tried, put.began, put.resume = iter(()), True, float(now), float(now)
            sent[name] += 1
        elif steps[name] % 4:
            put.resume = float(now)
        else:
            queue.repeat(put, put.began + REPEAT)
    assert max(sent.values()) - min(sent.values()) <= 1, sent


def test_one_that_is_repeated_in_vain_takes_turns_with_other_puts_and_one_put_once_more_does_not() -> None:
    queue = PutQueue(threading.Condition(), lambda safe, waiting: False)
    off = Put(HV, 0, 0.0, error=NotShown("it is on"), tried=True)
    queue.add(off)
    queue.add(Put(SET, 1.0, 0.0))
    assert [queue.next(1.0, scan_ready=False) is off for _ in range(4)] == [True, False, True, False]
    queue.add(Put(HV, 0, 0.5))
    assert [queue.next(1.0, scan_ready=False) is off for _ in range(2)] == [True, True]


def test_what_was_asked_for_before_a_safe_put_is_cancelled_also_when_that_is_over() -> None:
    queue = PutQueue(threading.Condition(), lambda safe, waiting: safe.name == waiting.name)
    safe, late, later = Put(HV, 0, 5.0), Put(HV, 1, 4.0), Put(HV, 1, 6.0)
    queue.add(safe)
    queue.end(safe)
    assert queue.add(late) == [late]
    assert queue.add(later) == []
    assert queue.next(7.0, scan_ready=False) is later


def test_a_put_has_the_line_for_itself_while_no_scan_is_ready() -> None:
    queue = PutQueue(threading.Condition(), lambda safe, waiting: False)
    queue.add(Put(SET, 1.0, 0.0))
    assert all(queue.next(1.0, scan_ready=False) for _ in range(3))


def test_puts_that_waited_too_long_take_nothing_of_the_line_from_one_that_did_not() -> None:
    queue = PutQueue(threading.Condition(), lambda safe, waiting: False)
    for number in range(100):
        queue.add(Put(Point(name=f"Set{number}", rtyp=RecordType.ao), 1.0, 0.0))
    queue.add(Put(SET, 1.0, PUT_AGE))
    had = ""
    while (put := queue.next(PUT_AGE + 1, scan_ready=True)) is not None:
        had += "p" if put.point is SET else "r"
        queue.end(put)
    assert had == "r" * 100 + "p"
