"""Values of a crate as records and on the wire, without a crate."""

from __future__ import annotations

import math
import struct
from typing import Any, get_args

import pytest
from caen_libs import _caenhvwrappertypes as types

from drivers.base import Example, Reading, Refused, Severity, Status
from drivers.caen import Caen, Config
from drivers.caen.bits import BITS, severity_of
from drivers.caen.board.batch import ReadBatch
from drivers.caen.config import Link, System
from drivers.caen.formats import Choice, Integer, Number, Switch, Text, Word, clean, parameter_format, shortest, unit
from drivers.caen.retry import Allowance


def numeric(**fields: Any) -> Number:
    given = {"minval": None, "maxval": None, "unit": types.ParamUnit.NONE, "exp": 0, "decimal": 0} | fields
    form = parameter_format(types.ParamProp(types.ParamType.NUMERIC, types.ParamMode.RDWR, **given))
    assert isinstance(form, Number)
    return form


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def test_the_configuration_knows_the_systems_and_links_of_caen_libs() -> None:
    assert list(get_args(System)) == [system.name for system in types.SystemType]
    assert list(get_args(Link)) == [link.name for link in types.LinkType]


def test_the_configuration_never_shows_the_password() -> None:
    assert "hunter2" not in repr(Config(system="SY1527", link="TCPIP", host="h", username="u", password="hunter2"))


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"host": ""}, "host"),
        ({"password": "pässword"}, "password"),
        ({"channels": {-1: "ALL"}}, "channels.-1"),
        ({"channels": {4: ()}}, "channels.4"),
        ({"channels": {4: (1, -2)}}, "channels.4"),
        ({"channels": {4: (1, 1)}}, "channels.4"),
    ],
)
def test_wrong_keys_are_named(keys: dict[str, Any], path: str) -> None:
    faults = list(Config(**{"system": "SY1527", "link": "TCPIP", "host": "h"} | keys).faults())
    assert [".".join(key) for key, _ in faults] == [path]
    assert "pässword" not in str(faults)


@pytest.mark.parametrize(
    ("channels", "first"),
    [(None, "S02:C00"), ({}, "S02:C00"), ({4: "ALL", 2: (1,)}, "S04:C00"), ({8: (1, 2)}, "S08:C01")],
)
def test_the_example_is_the_first_configured_channel(channels: Any, first: str) -> None:
    config = Config(system="SY4527", link="TCPIP", host="crate", channels=channels)
    assert Caen(config).example == Example(f"{first}:VMon", f"{first}:V0Set 500")


def test_a_right_configuration_has_no_faults() -> None:
    config = Config(system="SY1527", link="TCPIP", host="h", channels={4: "ALL", 8: (3, 1)})
    assert list(config.faults()) == []
    assert config.selected(4, 3) == (0, 1, 2)
    assert config.selected(8, 3) == (1,)
    assert not config.serves(5)


@pytest.mark.parametrize(
    ("name", "exponent", "text"),
    [
        ("AMPERE", -6, "uA"),
        ("AMPERE", -9, "nA"),
        ("AMPERE", -3, "mA"),
        ("VOLT", 0, "V"),
        ("VOLT", 3, "kV"),
        ("VPS", 0, "V/s"),
        ("CELSIUS", 0, "C"),
        ("NONE", 0, ""),
        ("NONE", -3, "1e-3"),
        ("VOLT", -2, "1e-2 V"),
        ("COUNT", -20, "1e-20 count"),
    ],
)
def test_units_are_the_prefix_of_the_exponent_and_the_unit(name: str, exponent: int, text: str) -> None:
    assert unit(name, exponent) == text


def test_every_unit_of_caen_libs_has_a_text_that_fits_epics() -> None:
    for each in types.ParamUnit:
        for exponent in range(-18, 19):
            text = unit(each.name, exponent)
            assert text.isascii()
            assert len(text) <= 15


@pytest.mark.parametrize("value", [1234.56, 0.1, 3000.0, 1e-6, -400.25, 16777216.0, 0.0, 3.4e38])
def test_a_float32_is_shown_as_the_decimal_number_that_it_was(value: float) -> None:
    assert shortest(float32(value)) == value


def test_a_number_that_is_none_is_invalid() -> None:
    reading = Number().reading(math.nan)
    assert isinstance(reading, Reading)
    assert isinstance(reading.value, float)
    assert math.isnan(reading.value)
    assert reading.severity is Severity.INVALID


def test_limits_that_are_not_told_are_none() -> None:
    assert numeric(minval=None, maxval=None).limits() == {"drvl": None, "drvh": None, "moving": True}
    assert numeric(minval=0.0, maxval=float32(1000.1)).limits() == {"drvl": 0.0, "drvh": 1000.1, "moving": True}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, "5", "On"])
def test_what_is_no_float32_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        numeric().raw(value)


def test_a_limit_itself_is_taken_and_one_digit_more_is_refused() -> None:
    form = numeric(maxval=float32(0.7), unit=types.ParamUnit.VOLT, decimal=1)
    assert form.raw(0.7) == 0.7
    with pytest.raises(Refused, match=r"0\.8 V is outside the limits of 0 to 0\.7 V"):
        form.raw(0.8)


def test_numbers_agree_within_float32_and_at_last_within_a_digit() -> None:
    form = numeric(decimal=1)
    assert form.agrees(1234.5, float32(1234.5))
    assert form.agrees(1234.56, 1234.6)
    assert not form.agrees(1234.56, 1234.5)
    assert form.agrees(1234.56, 1234.5, patient=False)
    assert not form.agrees(1234.5, 1234.3, patient=False)


def test_states_are_the_words_of_the_crate_and_off_comes_first() -> None:
    prop = types.ParamProp(types.ParamType.ONOFF, types.ParamMode.RDWR, onstate="Ramp", offstate="Kill")
    form = parameter_format(prop)
    assert form == Switch(("Kill", "Ramp"))
    prop.onstate, prop.offstate = "x" * 40, ""
    assert parameter_format(prop) == Switch(("0", "x" * 25))


def test_an_enum_counts_from_its_lowest_value() -> None:
    prop = types.ParamProp(types.ParamType.ENUM, types.ParamMode.RDWR, minval=2, maxval=3, enum=("a", "b"))
    form = parameter_format(prop)
    assert form == Choice(("a", "b"), 2)
    assert form.reading(3) == 1
    assert form.raw(0) == 2
    assert form.reading(4) == Reading(None, Severity.INVALID, Status.READ)
    with pytest.raises(Refused):
        form.raw(2)


@pytest.mark.parametrize(
    ("limits", "shown"),
    [((0, 19), (0, 19)), ((-3, 30), (-3, 30)), ((5, 1e30), (5, 2**31 - 1)), ((3, 2), None), ((None, None), None)],
)
def test_an_enum_of_more_words_than_a_record_has_is_a_number_within_its_limits(
    limits: tuple[float | None, float | None], shown: tuple[int, int] | None
) -> None:
    low, high = limits
    prop = types.ParamProp(types.ParamType.ENUM, types.ParamMode.RDWR, minval=low, maxval=high, enum=None)
    form = parameter_format(prop)
    assert form == Integer(*(shown or (-(2**31), 2**31 - 1)))
    if shown == (0, 19):
        assert form.raw(19) == 19
        with pytest.raises(Refused):
            form.raw(20)


def test_a_word_keeps_its_32_bits_in_the_signed_number_that_ca_has() -> None:
    form = Word()
    assert form.reading(-1) == Reading(-1)
    assert form.reading(0x80000001) == Reading(0x80000001 - 2**32)
    assert form.agrees(-1, 0xFFFFFFFF)
    assert form.raw(2**32 - 1) == form.raw(-1) == -1
    for value in (2**32, -(2**31) - 1, 0.5):
        with pytest.raises(Refused):
            form.raw(value)


def test_a_word_has_the_severity_of_its_worst_bit() -> None:
    def alarm(word: int) -> tuple[Severity, str]:
        reading = form.reading(word)
        assert isinstance(reading, Reading)
        assert reading.status is (Status.STATE if reading.severity else Status.NO_ALARM)
        return reading.severity, reading.message

    form = Word(((0, "ON"), (1, "UP"), (2, "DOWN"), (4, "OVV"), (5, "UNV"), (7, "HV_MAX"), (9, "I_TRIPPED")))
    assert alarm(0b1) == alarm(0b11) == alarm(0) == (Severity.NO_ALARM, "")
    assert alarm(0b10001) == (Severity.MINOR, "overvoltage")
    assert alarm(0b1000010001) == (Severity.MAJOR, "internal trip")
    assert alarm(0b10010001) == (Severity.MINOR, "overvoltage, at hardware maximum V")


@pytest.mark.parametrize("word", [0b010101, 0b110011, 0b100011, 0b010111, 0b100100])
def test_voltage_bits_mean_nothing_while_a_channel_ramps(word: int) -> None:
    form = Word(((0, "ON"), (1, "UP"), (2, "DOWN"), (4, "OVV"), (5, "UNV"), (9, "I_TRIPPED")))
    assert form.reading(word) == Reading(word)
    assert form.reading(word | 0x200) == Reading(word | 0x200, Severity.MAJOR, Status.STATE, message="internal trip")


def test_undervoltage_means_nothing_while_a_channel_is_off_but_overvoltage_does() -> None:
    form = Word(((0, "ON"), (4, "OVV"), (5, "UNV")))
    assert form.reading(0b100000) == Reading(0b100000)
    assert form.reading(0b110000) == Reading(0b110000, Severity.MINOR, Status.STATE, message="overvoltage")
    assert Word(((5, "UNV"),)).reading(0b100000).severity is Severity.MINOR  # type: ignore[union-attr]  # of a board


def test_a_bit_without_a_name_is_minor_and_named_by_its_number() -> None:
    form = Word(((0, "ON"), (9, "I_TRIPPED")))
    assert form.reading(0x20001) == Reading(
        0x20001, Severity.MINOR, Status.STATE, message="bit 0x20000 has no name here"
    )
    assert form.reading(0x20201).severity is Severity.MAJOR  # type: ignore[union-attr]
    assert Word().reading(0x20001) == Reading(0x20001)  # of a word without names nothing is known


def test_a_bit_that_nobody_knows_is_major() -> None:
    assert severity_of("NEW_FAULT") is Severity.MAJOR
    assert all(len(text) <= 25 for _, text in BITS.values())


def test_an_integer_that_would_wrap_is_refused() -> None:
    form = Integer(0, 65535)
    assert form.raw(65535.0) == 65535
    for value in (65536, -1, 1.5):
        with pytest.raises(Refused):
            form.raw(value)


@pytest.mark.parametrize("value", ["caf\xe9", "a\nb", "x" * 12])
def test_text_that_the_crate_cannot_keep_is_refused(value: str) -> None:
    with pytest.raises(Refused):
        Text(11).raw(value)


def test_long_text_is_cut_to_what_epics_shows() -> None:
    assert Text().reading("x" * 1000) == "x" * 39


def test_names_are_cleaned_for_epics() -> None:
    assert clean("I Mon.H") == "I_Mon_H"


class Clock:
    """A clock that stands unless it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("drivers.caen.retry.monotonic", clock)
    return clock


def following(batch: ReadBatch) -> tuple[str, ...]:
    part = batch.to_search() or batch.due()
    return part.next_labels() if part else ()


def search(batch: ReadBatch, bad: set[str], silent: bool = False) -> int:
    """Read as a section does until nothing is due; return the number of calls."""
    calls = 0
    labels = batch.good or following(batch)
    while labels:
        calls += 1
        if bad & set(labels):
            batch.failed(labels, Status.READ, (), silent)
        else:
            batch.answered(labels)
        labels = following(batch)
    return calls


@pytest.mark.parametrize("size", [1, 2, 3, 48, 64])
def test_bad_channels_are_found_by_halving(clock: Clock, size: int) -> None:
    names = tuple(map(str, range(size)))
    for bad in ({"0"}, {names[-1]}, {"0", names[-1]}, set(names)):
        batch = ReadBatch("monitor", 4, names)
        calls = search(batch, bad)
        assert batch.good == tuple(name for name in names if name not in bad)
        assert calls <= min(2 * size, len(bad) * (2 * math.ceil(math.log2(size)) + 1)) + 1


def test_a_bad_channel_is_tried_again_ever_more_rarely(clock: Clock) -> None:
    batch = ReadBatch("monitor", 4, ("a", "b", "c"))
    search(batch, {"b"})
    tried = []
    for second in range(1, 100):
        clock.now += 1
        assert batch.good == ("a", "c")
        if part := batch.due():
            assert part.labels == ("b",)
            tried.append(second)
            batch.failed(("b",), Status.READ, (), silent=False)
    assert tried == [1, 3, 7, 15, 30, 59, 91]
    batch.answered(("b",))
    assert batch.good == ("a", "b", "c")


def test_a_silent_board_is_not_searched_and_comes_back_with_any_channel(clock: Clock) -> None:
    names = tuple(map(str, range(48)))
    batch = ReadBatch("monitor", 4, names)
    assert search(batch, set(names), silent=True) == 1
    asked = []
    for _ in range(60):
        clock.now += 1
        if part := batch.due():
            asked.append(len(part.next_labels()))
            batch.failed(part.next_labels(), Status.READ, (), silent=True)
    assert asked == [1, 48, 1, 48, 1, 48]
    clock.now += 32
    bad = {"7"}
    for _ in range(20):
        clock.now += 32
        search(batch, bad)
    assert batch.good == tuple(name for name in names if name != "7")


def test_what_failed_before_gets_a_quarter_of_the_time(clock: Clock) -> None:
    allowance = Allowance()
    spent = 0.0
    for _ in range(1000):
        clock.now += 0.1
        allowance.begin()
        if allowance.free:
            allowance.spend(1.0)
            spent += 1.0
            clock.now += 1.0
    assert spent / (clock.now - 1000) == pytest.approx(0.25, abs=0.03)
