"""A record whose unit changes: value, limits and what a site gave for them change in the same moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from drivers.base import Point, Reading, RecordType, Refused, Severity, Status, Value
from ioc.block import Block
from ioc.fields import FIELDS
from ioc.instrument import Instrument
from ioc.record import ALARM, LOG, PROPERTY, VALUE, Changes, Record
from ioc.site import Site
from ioc.units import Quantity
from tests.ioc.bench import Bench, Screen

FINE = ("NO_ALARM", "NO_ALARM", "")
UDF = ("UDF", "INVALID", "")


@dataclass
class Posted:
    """A record as a client sees it at the moment of a post."""

    mask: int
    val: Any
    egu: str
    hihi: float | None
    alarm: tuple[str, str, str]


class Watch(Screen):
    """A publisher that looks at the record with each post."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Posted] = []

    def post(self, changes: Changes) -> None:
        for record, mask in changes:
            if record.point.name == "X":
                self.seen.append(Posted(mask, record.val, record.point.egu, record.point.hihi, alarm(record)))
            super().post([(record, mask)])


def alarm(record: Record) -> tuple[str, str, str]:
    return record.stat.name, record.sevr.name, record.amsg


def point(egu: str, rtyp: RecordType = RecordType.ai, **fields: Any) -> Point:
    return Point(name="X", rtyp=rtyp, group="fast", egu=egu, **fields)


class Stand:
    """An instrument with one record, T:PS:X, without its port: the test is the driver."""

    def __init__(self, first: Point, fields: dict[str, object] | None = None, **stored: Any) -> None:
        parsed = {name: FIELDS[name].parse(value) for name, value in (fields or {}).items()}
        self.site = Site([("T:PS:X", parsed)])
        self.kept = {"T:PS:X": dict(stored)}
        self.site.restore(self.kept, lambda: None)
        self.watch = Watch()
        driver = Bench()
        driver.points = (first,)
        self.instrument = Instrument("PS", "T:", driver, self.site, self.watch)

    @property
    def record(self) -> Record:
        return self.instrument.records["X"]

    def become(self, new: Point) -> None:
        self.instrument.points((new,))

    def read(self, value: Value | Reading) -> None:
        self.instrument.readings({"X": value}, 1e9, 0.0)

    def complaints(self) -> list[str]:
        return self.instrument._configured.news(up=False)


NUMBERS: dict[str, object] = {"HIHI": 20, "HIGH": 15, "LOW": 2, "LOLO": 1, "HYST": 0.5, "MDEL": 0.1, "ADEL": 0.2}
RANGE: dict[str, object] = {"HOPR": 50, "LOPR": 0}


@pytest.mark.parametrize("unit", ["", " uA", " A"])
def test_all_numbers_of_a_site_are_converted_with_the_unit(unit: str) -> None:
    power = -6 if unit == " A" else 0
    fields: dict[str, object] = {
        name: f"{number}e{power}{unit}" if unit else number for name, number in {**NUMBERS, **RANGE}.items()
    }
    stand = Stand(point("uA"), fields)
    stand.read(10.0)
    for egu, factor in (("uA", 1), ("nA", 1000), ("mA", 0.001), ("uA", 1)):
        stand.become(point(egu))
        held = {name: FIELDS[name].get(stand.record.point) for name in fields}
        assert held == pytest.approx(
            {name: float(str(number)) * factor for name, number in {**NUMBERS, **RANGE}.items()}
        )
        assert (stand.record.val, stand.record.point.egu) == (pytest.approx(10 * factor), egu)
        stand.read(10.0 * factor)
        assert alarm(stand.record) == FINE
        assert stand.complaints() == []


@pytest.mark.parametrize("rtyp", [RecordType.ai, RecordType.ao, RecordType.longin, RecordType.longout])
def test_value_unit_and_limits_change_in_one_post(rtyp: RecordType) -> None:
    stand = Stand(point("mA", rtyp), {"HIHI": "20 mA", "MDEL": 0.01})
    stand.read(5 if rtyp in {RecordType.longin, RecordType.longout} else 5.0)
    stand.watch.seen.clear()
    stand.become(point("uA", rtyp))
    assert stand.watch.seen == [Posted(VALUE | LOG | ALARM | PROPERTY, 5000, "uA", 20000.0, UDF)]
    stand.read(5000)
    assert stand.watch.seen[1:] == [Posted(VALUE | LOG | ALARM, 5000, "uA", 20000.0, FINE)]


def test_who_watches_a_field_gets_its_new_number() -> None:
    stand = Stand(point("uA"), {"HIHI": "20 uA", "DESC": "current"})
    stand.read(5.0)
    stand.watch.posts.clear()
    stand.become(point("nA"))
    assert [name for name, mask, *_ in stand.watch.posts if "." in name and mask == VALUE | LOG] == [
        "X.EGU",
        "X.HIHI",
    ]


def test_an_alarm_is_kept_with_its_hysteresis_over_a_change() -> None:
    stand = Stand(point("uA"), {"HIHI": "20 uA", "HYST": "5 uA"})
    stand.read(21.0)
    stand.read(16.0)
    assert alarm(stand.record) == ("HIHI", "MAJOR", "")
    stand.become(point("mA"))
    assert (alarm(stand.record), stand.record.lalm) == (UDF, 0.02)
    stand.read(0.016)
    assert alarm(stand.record) == ("HIHI", "MAJOR", "")
    stand.read(0.014)
    assert alarm(stand.record) == FINE


def test_the_same_number_in_another_unit_is_a_change_whatever_the_deadband() -> None:
    stand = Stand(point("uA"), {"MDEL": "1 mA", "ADEL": "1 mA"})
    stand.read(5.0)
    stand.become(point("mA"))
    stand.watch.seen.clear()
    stand.read(5.0)
    assert [each.mask for each in stand.watch.seen] == [VALUE | LOG | ALARM]


def test_a_value_is_not_known_in_the_new_unit_until_it_is_read() -> None:
    """The last reading may have come after the change, and before anybody knew of it."""
    stand = Stand(point("uA"), {"HIHI": "20 uA"})
    stand.read(5.0)
    for egu, value in (("mA", 0.005), ("nA", 5000.0)):
        stand.become(point(egu))
        assert (stand.record.val, alarm(stand.record)) == (value, UDF)
        stand.read(Reading(None, Severity.INVALID, Status.UDF))
        assert (stand.record.val, alarm(stand.record)) == (value, UDF)
    stand.read(25000.0)
    assert alarm(stand.record) == ("HIHI", "MAJOR", "")


@pytest.mark.parametrize(("egu", "shown"), [("A", "A"), ("", "no unit"), ("parsec", "parsec")])
def test_a_value_and_limits_that_cannot_be_converted_are_told_and_not_used(egu: str, shown: str) -> None:
    stand = Stand(point("V"), {"HIHI": 20, "HIGH": "10 V", "MDEL": 0, "HOPR": 50})
    stand.read(5.0)
    stand.watch.seen.clear()
    stand.become(point(egu, hihi=99.0, hopr=7.0))
    (post,) = stand.watch.seen
    assert (post.mask, post.egu, post.hihi, post.alarm) == (VALUE | LOG | ALARM | PROPERTY, egu, 99.0, UDF)
    assert math.isnan(post.val)
    stand.read(5.0)
    assert alarm(stand.record) == ("SOFT", "MAJOR", f"limits are in V, value in {shown}")
    stand.read(6.0)  # by the fast way of a reading, too
    assert (stand.record.val, alarm(stand.record)[0]) == (6.0, "SOFT")
    block = Block([stand.record])
    for value in (7.0, 8.0):
        block.process(np.array([value]), 2e9)
        assert (stand.record.val, alarm(stand.record)[0]) == (value, "SOFT")
    block.dissolve()
    assert stand.record.point.hopr == 7.0
    assert stand.complaints() == [
        f"not applied: HIHI 20 V, HIGH 10 V, HOPR 50 V, for the value is in {shown}; "
        f"give numbers in {shown} to: T:PS:X"
    ]
    assert stand.complaints() == []
    stand.become(point("kV"))
    stand.read(0.005)
    assert (alarm(stand.record), stand.record.point.hihi) == (FINE, 0.02)


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"HIHI": "20 uA"}, "MAJOR"),
        ({"HIGH": "20 uA"}, "MINOR"),
        ({"HIHI": "20 uA", "HHSV": "NO_ALARM"}, "NO_ALARM"),
        ({"LOW": "20 uA", "LSV": "INVALID"}, "INVALID"),
        ({"DRVH": "20 uA"}, "MINOR"),
        ({"HYST": "20 uA", "MDEL": "20 uA", "HOPR": "20 uA"}, "NO_ALARM"),
        ({"HYST": "0 uA", "MDEL": "-1 uA"}, "NO_ALARM"),
    ],
)
def test_the_alarm_is_as_severe_as_the_limits_that_cannot_be_judged(fields: dict[str, object], severity: str) -> None:
    stand = Stand(point("V", RecordType.ao), fields)
    stand.read(5.0)
    assert stand.record.sevr.name == severity
    complained = fields != {"HYST": "0 uA", "MDEL": "-1 uA"}
    assert len(stand.complaints()) == complained


def test_a_worse_alarm_of_the_reading_wins_over_limits_that_cannot_be_judged() -> None:
    stand = Stand(point("V"), {"HIGH": "20 uA"})
    stand.read(Reading(5.0, Severity.MAJOR, Status.STATE, message="trip"))
    assert alarm(stand.record) == ("STATE", "MAJOR", "trip")
    stand.read(5.0)
    assert alarm(stand.record) == ("SOFT", "MINOR", "limits are in uA, value in V")


def test_a_put_is_refused_while_its_limit_is_not_known() -> None:
    stand = Stand(point("V", RecordType.ao, drvl=0.0, drvh=100.0), {"DRVH": "50 mV"})
    stand.read(0.01)
    with pytest.raises(Refused, match="above the upper limit DRVH"):
        stand.record.check_put(0.06)
    stand.become(point("uA", RecordType.ao, drvl=0.0, drvh=100.0))
    stand.read(1.0)
    with pytest.raises(Refused, match="the limit DRVH is 50 mV, the value is in uA"):
        stand.record.check_put(0.01)
    assert stand.record.check_put(0) == 0.0  # 0 is 0 in any unit
    stand.become(point("kV", RecordType.ao, drvl=0.0, drvh=100.0))
    assert stand.record.point.drvh == 5e-5
    assert stand.record.check_put(2e-5) == 2e-5


def test_of_the_limits_of_instrument_and_site_the_tighter_one_holds_in_any_unit() -> None:
    for drvh, expected in ((100.0, 60.0), (50.0, 50.0)):
        stand = Stand(point("kV", RecordType.ao, drvh=drvh), {"DRVH": "60000 V"})
        assert stand.record.point.drvh == expected


def test_a_number_without_a_unit_is_for_that_of_the_first_value() -> None:
    """A unit that was assumed of a channel, and corrected before anything was read, is not what the site meant."""
    stand = Stand(point("uA"), {"HIHI": 20})
    stand.read(Reading(None, Severity.INVALID, Status.UDF))
    stand.become(point("mA"))
    assert stand.record.point.hihi == 20.0
    stand.read(5.0)
    stand.become(point("A"))
    assert stand.record.point.hihi == 0.02
    stand.become(point("V"))
    stand.become(point("uA"))
    assert stand.record.point.hihi == 20000.0


def test_a_field_put_at_run_time_is_for_the_unit_of_that_moment() -> None:
    stand = Stand(point("uA"), {"HIHI": 30})
    stand.read(5.0)
    stand.instrument.set_field(stand.record, "HIHI", 20.0)
    stand.instrument.set_field(stand.record, "HHSV", "MINOR")
    assert stand.kept["T:PS:X"] == {"HIHI": Quantity(20.0, "uA"), "HHSV": Severity.MINOR}
    stand.become(point("nA"))
    assert stand.record.point.hihi == 20000.0
    stand.read(5000.0)
    stand.instrument.set_field(stand.record, "HIHI", 4000.0)
    assert alarm(stand.record) == ("HIHI", "MINOR", "")
    stand.become(point("uA"))
    assert stand.record.point.hihi == 4.0
    stand.instrument.set_field(stand.record, "HIHI", math.nan)
    stand.become(point("nA"))
    assert stand.record.point.hihi is None


def test_a_limit_put_anew_ends_the_alarm_of_one_that_cannot_be_judged() -> None:
    stand = Stand(point("V"), {"HIHI": "20 uA"})
    stand.read(5.0)
    assert alarm(stand.record)[0] == "SOFT"
    stand.instrument.set_field(stand.record, "DESC", "another")
    assert alarm(stand.record)[0] == "SOFT"
    stand.instrument.set_field(stand.record, "HIHI", 20.0)
    assert alarm(stand.record) == FINE


def test_a_number_of_an_old_site_file_is_for_the_unit_of_the_first_value() -> None:
    stand = Stand(point("uA"), HIHI=20.0)
    stand.read(5.0)
    stand.become(point("nA"))
    assert stand.record.point.hihi == 20000.0


def test_the_sites_name_of_a_unit_holds_for_the_unit_for_which_it_was_given() -> None:
    stand = Stand(point("uA"), {"EGU": "micro A", "HIHI": 20})
    stand.read(5.0)
    assert (stand.record.point.egu, stand.record.point.hihi) == ("micro A", 20.0)
    stand.become(point("nA"))
    assert (stand.record.point.egu, stand.record.point.hihi) == ("nA", 20000.0)
    assert stand.complaints() == [
        "EGU micro A is not shown, for the value is in nA; correct it under records for: T:PS:X"
    ]


def test_a_name_that_contradicts_the_unit_is_not_shown() -> None:
    stand = Stand(point("V"), {"EGU": "kV", "HIHI": "2 kV"})
    assert (stand.record.point.egu, stand.record.point.hihi) == ("V", 2000.0)
    assert len(stand.complaints()) == 1


def test_an_array_is_converted_with_its_unit() -> None:
    stand = Stand(point("uA", RecordType.waveform, nelm=3), {"HOPR": 20})
    stand.instrument.readings({"X": (1.0, math.nan, 3.0)}, 1e9, 0.0)
    stand.become(point("nA", RecordType.waveform, nelm=3))
    assert stand.record.val[::2] == (1000.0, 3000.0)
    assert stand.record.point.hopr == 20000.0


def test_a_whole_number_that_has_none_in_the_new_unit_is_undefined_until_it_is_read() -> None:
    stand = Stand(point("V", RecordType.longin))
    stand.read(1500)
    stand.become(point("kV", RecordType.longin))
    assert alarm(stand.record) == UDF
    stand.read(2)
    assert (stand.record.val, alarm(stand.record)) == (2, FINE)


def test_a_setting_follows_its_readback_also_when_the_number_stays() -> None:
    setting = replace(point("uA", RecordType.ao), follows="X_RBV", group="")
    readback = replace(point("uA"), name="X_RBV")
    stand = Stand(setting)
    stand.instrument.points((setting, readback))
    stand.instrument.readings({"X_RBV": 5.0}, 1e9, 0.0)
    stand.instrument.points((replace(setting, egu="nA"), replace(readback, egu="nA")))
    assert stand.record.val == 5000.0
    stand.instrument.readings({"X_RBV": 5.0}, 1e9, 0.0)
    assert stand.record.val == 5.0


@pytest.mark.parametrize("rtyp", [RecordType.stringin, RecordType.bi, RecordType.mbbo, RecordType.lsi])
def test_what_has_no_unit_stays_as_it_is(rtyp: RecordType) -> None:
    stand = Stand(point("uA", rtyp, states=("a", "b") if rtyp.states else ()))
    value = 1 if rtyp.states else "5"
    stand.read(value)
    stand.become(replace(stand.record.point, egu="V"))
    assert (stand.record.val, alarm(stand.record)) == (value, FINE)
