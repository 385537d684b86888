"""The record against the tables of EPICS base (analogMonitorTest, recGbl, aiRecord)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import Point, Reading, RecordType, Refused, Severity, Status
from ioc.block import FEWEST, Block, Blocks
from ioc.record import ALARM, LOG, VALUE, Record, beyond, process_block

NAN, INF = math.nan, math.inf


def ai(**fields: Any) -> Record:
    return Record("T:ai", Point(name="ai", rtyp=RecordType.ai, egu="V", **fields))


def masks(record: Record, *values: float) -> list[int]:
    return [record.process(Reading(value), 1000.0 + second) for second, value in enumerate(values)]


def test_a_record_is_undefined_and_invalid_until_its_first_reading() -> None:
    record = ai()
    assert (record.udf, record.stat, record.sevr) == (True, Status.UDF, Severity.INVALID)
    assert record.process(Reading(1.0), 1000.0) == VALUE | LOG | ALARM
    assert (record.udf, record.stat, record.sevr, record.val) == (False, Status.NO_ALARM, Severity.NO_ALARM, 1.0)


def test_an_unchanged_value_sends_nothing() -> None:
    assert masks(ai(), 5.0, 5.0, 5.0)[1:] == [0, 0]


# base's analogMonitorTest: deadband, value before, value after, is it an event
@pytest.mark.parametrize(
    ("deadband", "old", "new", "event"),
    [
        (0.0, 0.0, 0.0, False),
        (0.0, 0.0, 1.0, True),
        (0.0, 1.0, -1.0, True),
        (1.5, 0.0, 1.0, False),
        (1.5, 0.0, 1.5, False),
        (1.5, 0.0, 1.6, True),
        (1.5, 0.0, -1.6, True),
        (-1.0, 0.0, 0.0, True),
        (-1.0, NAN, NAN, True),
        (-1.0, INF, INF, True),
        (0.0, 0.0, NAN, True),
        (0.0, NAN, 0.0, True),
        (0.0, NAN, NAN, False),
        (0.0, 0.0, INF, True),
        (0.0, INF, INF, False),
        (0.0, INF, -INF, True),
        (0.0, NAN, INF, True),
        (1.5, INF, NAN, True),
        (1.5, NAN, NAN, False),
    ],
)
def test_a_value_is_an_event_when_it_leaves_the_deadband(
    deadband: float, old: float, new: float, event: bool
) -> None:
    assert beyond(new, old, deadband) is event


def test_mdel_and_adel_are_judged_each_by_itself_against_what_each_sent_last() -> None:
    sent = masks(ai(mdel=1.0, adel=2.5), 0.0, 1.0, 1.5, 2.0, 3.0)
    assert sent[1:] == [0, VALUE, 0, VALUE | LOG]


@pytest.mark.parametrize(
    ("value", "alarm"),
    [
        (10.0, (Status.HIHI, Severity.MAJOR)),
        (9.9, (Status.HIGH, Severity.MINOR)),
        (8.0, (Status.HIGH, Severity.MINOR)),
        (7.9, (Status.NO_ALARM, Severity.NO_ALARM)),
        (-8.0, (Status.LOW, Severity.MINOR)),
        (-10.0, (Status.LOLO, Severity.MAJOR)),
        (INF, (Status.HIHI, Severity.MAJOR)),
        (NAN, (Status.UDF, Severity.INVALID)),
    ],
)
def test_limits_give_their_alarm(value: float, alarm: tuple[Status, Severity]) -> None:
    record = ai(hihi=10.0, high=8.0, low=-8.0, lolo=-10.0)
    masks(record, value)
    assert (record.stat, record.sevr) == alarm


@pytest.mark.parametrize("limit", ["hihi", "high", "low", "lolo"])
def test_each_limit_works_by_itself(limit: str) -> None:
    record = ai(**{limit: 0.0})
    inside, outside = (-1.0, 1.0) if limit in {"hihi", "high"} else (1.0, -1.0)
    masks(record, inside)
    assert record.sevr == Severity.NO_ALARM
    masks(record, outside)
    assert record.stat == Status[limit.upper()]


def test_a_limit_without_severity_does_not_alarm() -> None:
    record = ai(high=1.0, hsv=Severity.NO_ALARM)
    masks(record, 2.0)
    assert record.sevr == Severity.NO_ALARM


def test_hysteresis_keeps_an_alarm_until_the_value_is_clearly_back() -> None:
    record = ai(high=8.0, hyst=1.0)
    states = []
    for value in (7.5, 8.0, 7.5, 7.0, 6.9, 7.5):
        masks(record, value)
        states.append(record.stat.name)
    assert states == ["NO_ALARM", "HIGH", "HIGH", "HIGH", "NO_ALARM", "NO_ALARM"]


def test_an_alarm_change_alone_is_an_alarm_event() -> None:
    record = ai()
    masks(record, 1.0)
    assert record.process(Reading(None, Severity.INVALID, Status.COMM), 1010.0) == ALARM
    assert (record.val, record.stat, record.sevr) == (1.0, Status.COMM, Severity.INVALID)
    assert record.process(Reading(1.0), 1011.0) == ALARM


def test_the_higher_severity_of_reading_and_limits_wins() -> None:
    record = ai(hihi=10.0)
    record.process(Reading(11.0, Severity.MINOR, Status.STATE), 1000.0)
    assert (record.stat, record.sevr) == (Status.HIHI, Severity.MAJOR)
    record.process(Reading(11.0, Severity.INVALID, Status.READ), 1001.0)
    assert (record.stat, record.sevr) == (Status.READ, Severity.INVALID)


def test_time_never_goes_back_though_the_clock_does() -> None:
    record = ai()
    times = []
    for moment in (1000.0, 1001.0, 702.0, 703.0, 1002.0):
        record.process(Reading(moment), moment)
        times.append(record.time)
    assert times == sorted(set(times))
    assert times[-1] == 1002.0


@pytest.mark.parametrize("wrong", [301.0, 7200.0, 3e8])
def test_time_follows_a_clock_that_was_far_ahead(wrong: float) -> None:
    """A computer that begins two hours ahead must not date everything two hours ahead until it is restarted."""
    one, two, three = ai(), ai(), ai()
    block = Block([three])
    for moment in (1e9, 1e9 + wrong + 1, 1e9 + 1):
        one.process(Reading(moment), moment)
        list(process_block({"X": two}, {"X": moment}, moment, []))
        block.process(np.array([moment]), moment)
    assert (one.time, two.time, three.time) == (1e9 + 1, 1e9 + 1, 1e9 + 1)
    one.process(Reading(None, Severity.INVALID, Status.COMM), 1e9 + 2)
    assert one.time == 1e9 + 2


def test_states_have_severities_and_a_change_may_have_one() -> None:
    point = Point(
        name="bi",
        rtyp=RecordType.bi,
        states=("Closed", "Open"),
        severities=(Severity.NO_ALARM, Severity.MAJOR),
        cosv=Severity.MINOR,
    )
    record = Record("T:bi", point)
    seen = []
    for value in (0, 1, 1, 0, 0):
        record.process(Reading(value), 1000.0)
        seen.append((record.stat.name, record.sevr.name))
    assert seen == [
        ("NO_ALARM", "NO_ALARM"),
        ("STATE", "MAJOR"),
        ("STATE", "MAJOR"),
        ("COS", "MINOR"),
        ("NO_ALARM", "NO_ALARM"),
    ]


AO = Point(name="VSet", rtyp=RecordType.ao, egu="kV", drvl=0.0, drvh=60.0)


@pytest.mark.parametrize("value", [0.0, 60.0, "12.5", 7])
def test_a_put_within_the_limits_is_taken(value: float | str) -> None:
    assert Record("T:VSet", AO).check_put(value) == float(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (60.01, "60.01 kV is above the upper limit DRVH of 60 kV"),
        (-1.0, "-1 kV is below the lower limit DRVL of 0 kV"),
        (NAN, "NaN is not a value that can be set"),
        ("inf", "Infinity is not a value that can be set"),
        ("full", "'full' is not a number"),
    ],
)
def test_a_put_outside_the_limits_is_refused_with_the_reason_and_never_clamped(
    value: float | str, reason: str
) -> None:
    with pytest.raises(Refused, match="T:VSet") as refusal:
        Record("T:VSet", AO).check_put(value)
    assert reason in str(refusal.value)


def test_a_limit_on_one_side_works_alone() -> None:
    record = Record("T:VSet", replace(AO, drvl=None))
    assert record.check_put(-5.0) == -5.0
    with pytest.raises(Refused):
        record.check_put(61.0)


@pytest.mark.parametrize(("value", "index"), [("On", 1), (0, 0), ("1", 1), (1.0, 1)])
def test_states_are_put_by_word_or_number(value: float | str, index: int) -> None:
    point = Point(name="HV", rtyp=RecordType.bo, states=("Off", "On"))
    assert Record("T:HV", point).check_put(value) == index


@pytest.mark.parametrize("value", ["on", 2, -1, 0.5, NAN, ""])
def test_what_is_no_state_is_refused(value: float | str) -> None:
    point = Point(name="HV", rtyp=RecordType.bo, states=("Off", "On"))
    with pytest.raises(Refused, match=r"Off.*On"):
        Record("T:HV", point).check_put(value)


@pytest.mark.parametrize("text", ["x" * 40, "5 µA", "two\nlines", "\x1b[31m"])
def test_a_text_that_channel_access_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="ASCII"):
        Record("T:Name", Point(name="Name", rtyp=RecordType.stringout)).check_put(text)


def test_a_whole_number_is_wanted_for_a_longout() -> None:
    record = Record("T:n", Point(name="n", rtyp=RecordType.longout))
    assert record.check_put(3.0) == 3
    with pytest.raises(Refused, match="whole"):
        record.check_put(3.5)


# ---- blocks ----

_LIMIT = st.none() | st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0])
_READING = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1, -1.0, 1.0, 2.0, 0.25]),
    st.floats(-3, 3),
    st.just(Reading(None, Severity.INVALID, Status.COMM, message="the cable is out")),
    st.just(Reading(0.5, Severity.MINOR, Status.HIGH)),
)


@settings(max_examples=400, deadline=None)
@given(
    limits=st.tuples(_LIMIT, _LIMIT, _LIMIT, _LIMIT),
    severities=st.tuples(*[st.sampled_from(Severity)] * 4),
    hyst=st.sampled_from([0.0, 0.5, 5.0]),
    deadbands=st.tuples(*[st.sampled_from([-1.0, 0.0, 1.5])] * 2),
    readings=st.lists(_READING, max_size=20),
)
def test_a_block_is_processed_as_one_value_after_the_other(
    limits: tuple[float | None, ...],
    severities: tuple[Severity, ...],
    hyst: float,
    deadbands: tuple[float, ...],
    readings: list[float | Reading],
) -> None:
    lolo, low, high, hihi = limits
    llsv, lsv, hsv, hhsv = severities
    point = Point(
        name="x", rtyp=RecordType.ai, lolo=lolo, low=low, high=high, hihi=hihi, hyst=hyst, mdel=deadbands[0],
        adel=deadbands[1], llsv=llsv, lsv=lsv, hsv=hsv, hhsv=hhsv,
    )  # fmt: skip
    one, many = Record("X", point), Record("X", point)
    for moment, reading in enumerate(readings, 1000):
        missing: list[str] = []
        changes = list(process_block({"x": many}, {"x": reading, "y": 1.0}, float(moment), missing))
        mask = one.process(reading if isinstance(reading, Reading) else Reading(reading), float(moment))
        assert changes == ([(many, mask)] if mask else [])
        assert missing == ["y"]
        for slot in ("stat", "sevr", "amsg", "acks", "udf", "time", "lalm", "val", "mlst", "alst"):
            a, b = getattr(one, slot), getattr(many, slot)
            assert repr(a) == repr(b), slot  # NaN is like NaN here


def test_an_unchanged_state_is_not_sent_again_but_stays_fresh() -> None:
    severities = (Severity.NO_ALARM, Severity.MAJOR)
    record = Record("X", Point(name="x", rtyp=RecordType.bi, states=("Off", "On"), severities=severities))
    for moment, sent in ((1.0, True), (2.0, False), (3.0, False)):
        changes = list(process_block({"x": record}, {"x": 1}, moment, []))
        assert bool(changes) is sent
        assert (record.time, record.sevr) == (moment, Severity.MAJOR)


def test_alarms_are_to_be_acknowledged_up_to_the_highest() -> None:
    record = Record("X", Point(name="x", rtyp=RecordType.ai, high=1.0, hihi=2.0))
    acks = []
    for value in (0.0, 1.5, 2.5, 1.5, 0.0):
        record.process(Reading(value), record.time + 1)
        acks.append(int(record.acks))
    assert acks == [0, 1, 2, 2, 2]
    record.ackt = False
    record.process(Reading(1.5), record.time + 1)
    assert record.acks == Severity.MINOR


def test_a_limit_that_moves_is_felt_before_the_next_reading() -> None:
    record = Record("X", Point(name="x", rtyp=RecordType.ai))
    record.process(Reading(1.0), 1.0)
    record.configure(replace(record.point, hihi=0.5))
    assert record.check_alarms(2.0) == ALARM
    assert (record.stat, record.sevr) == (Status.HIHI, Severity.MAJOR)


def test_a_limit_that_moves_does_not_make_an_old_value_good() -> None:
    record = Record("X", Point(name="x", rtyp=RecordType.ai))
    record.process(Reading(1.0), 1.0)
    record.process(Reading(None, Severity.INVALID, Status.COMM, message="the cable is out"), 2.0)
    record.configure(replace(record.point, hihi=5.0))
    assert record.check_alarms(3.0) == 0
    assert (record.stat, record.sevr, record.amsg) == (Status.COMM, Severity.INVALID, "the cable is out")


# ---- columns ----


_NUMBER = st.sampled_from([math.nan, math.inf, 0.0, 1.0, -1.5]) | st.floats(-3, 3)


@settings(max_examples=300, deadline=None)
@given(
    points=st.lists(
        st.tuples(
            _LIMIT, _LIMIT, _LIMIT, _LIMIT, st.sampled_from([0.0, 0.5, 5.0]), *[st.sampled_from([-1.0, 0.0, 1.5])] * 2
        ),
        min_size=3,
        max_size=3,
    ),
    scans=st.lists(
        st.tuples(*[st.sampled_from([math.nan, math.inf, 0.0, 1.0, -1.5]) | st.floats(-3, 3)] * 3), max_size=12
    ),
    between=st.lists(st.sampled_from(["", "judge", "invalid", "leave", "limit"]), min_size=12, max_size=12),
)
def test_a_block_in_columns_is_processed_as_its_records_are(
    points: list[tuple[Any, ...]], scans: list[tuple[float, ...]], between: list[str]
) -> None:
    made = [
        Point(name="x", rtyp=RecordType.ai, lolo=lolo, low=low, high=high, hihi=hihi, hyst=hyst, mdel=mdel, adel=adel)
        for lolo, low, high, hihi, hyst, mdel, adel in points
    ]
    ones, rows = ([Record("X", point) for point in made] for _ in range(2))
    block = Block(rows)
    for moment, (values, event) in enumerate(zip(scans, between, strict=False), 1000):
        masks = block.process(np.array(values), float(moment))
        assert masks.tolist() == [one.process(Reading(v), float(moment)) for one, v in zip(ones, values, strict=True)]
        for record in (ones[1], rows[1]):
            if event == "invalid":
                record.process(Reading(None, Severity.INVALID, Status.COMM), moment + 0.5)
            elif event == "limit":
                record.configure(replace(record.point, hihi=0.5, mdel=0.25))
                record.check_alarms(moment + 0.5)
            elif event == "judge":
                record.check_alarms(moment + 0.5)
        if event == "leave":
            block.dissolve()
            block = Block(rows)
        for one, row in zip(ones, rows, strict=True):
            for slot in ("stat", "sevr", "amsg", "acks", "udf", "time", "lalm", "val", "mlst", "alst"):
                assert repr(getattr(one, slot)) == repr(getattr(row, slot)), slot
    assert [(int(a), int(b)) for a, b in zip(block.stat, block.sevr, strict=True)] == [
        (r.stat, r.sevr) for r in rows
    ] or not scans


def test_a_block_is_of_numbers_that_come_together_and_not_of_what_fails_together() -> None:
    names = [f"x{number}" for number in range(FEWEST)]
    records = {name: Record(name, Point(name=name, rtyp=RecordType.ai)) for name in names}
    blocks = Blocks()
    lost = dict.fromkeys(reversed(names), Reading(None, Severity.INVALID, Status.COMM))
    assert [blocks.find(records, lost) for _ in range(3)] == [None] * 3
    good = dict.fromkeys(names, 1.0)
    assert blocks.find(records, good) is None
    found = blocks.find(records, good)
    assert found is not None
    assert found[0].records == list(records.values())
    assert blocks.find(records, {**good, "x5": Reading(2.0)}) is None


def test_limits_do_not_hold_for_a_reading_that_says_so_and_hold_again_with_the_next() -> None:
    record = ai(low=10.0, lolo=5.0, hyst=1.0)
    quiet = Reading(4.0, limits=False)
    assert masks(record, 20.0)
    assert record.sevr is Severity.NO_ALARM
    record.process(quiet, 1002.0)
    assert (record.val, record.stat, record.sevr) == (4.0, Status.NO_ALARM, Severity.NO_ALARM)
    record.check_alarms(1003.0)  # a limit was changed
    assert record.sevr is Severity.NO_ALARM
    record.process(Reading(10.5), 1004.0)  # no limit was in force that HYST could hold
    assert record.sevr is Severity.NO_ALARM
    record.process(Reading(4.0), 1005.0)
    assert (record.stat, record.sevr) == (Status.LOLO, Severity.MAJOR)
    assert record.process(quiet, 1006.0) & ALARM
    assert record.sevr is Severity.NO_ALARM


def test_a_reading_without_limits_keeps_the_alarm_of_its_own() -> None:
    record = ai(hihi=1.0)
    record.process(Reading(2.0, Severity.MINOR, Status.HIGH, limits=False), 1000.0)
    assert (record.stat, record.sevr) == (Status.HIGH, Severity.MINOR)
    fresh = ai(hihi=1.0)
    fresh.process(Reading(None, limits=False), 1000.0)
    assert (fresh.stat, fresh.sevr) == (Status.UDF, Severity.INVALID)


def test_the_severity_of_a_state_does_not_hold_either() -> None:
    record = Record(
        "T:bi",
        Point(
            name="bi",
            rtyp=RecordType.bi,
            states=("No", "Yes"),
            severities=(Severity.NO_ALARM, Severity.MINOR),
            cosv=Severity.MAJOR,
        ),
    )
    record.process(Reading(0), 1000.0)
    record.process(Reading(1, limits=False), 1001.0)
    assert (record.val, record.sevr) == (1, Severity.NO_ALARM)
    ((_, mask),) = process_block({"bi": record}, {"bi": 1}, 1002.0, [])
    assert (mask, record.stat, record.sevr) == (ALARM, Status.STATE, Severity.MINOR)


def test_a_block_of_plain_numbers_is_quick_again_behind_a_reading_without_limits() -> None:
    record = ai(low=10.0)
    records = {"ai": record}
    for value in (20.0, Reading(3.0, limits=False), 20.0):
        list(process_block(records, {"ai": value}, 1000.0, []))
    assert record._above < 21.0 < record._below
    ((_, mask),) = process_block(records, {"ai": 9.0}, 1001.0, [])
    assert (mask & ALARM, record.stat) == (ALARM, Status.LOW)
