"""DBR types to and from bytes; caproto's own structures read what is written here."""

from __future__ import annotations

import ctypes
import math
import struct
import time
from typing import Any

import caproto as ca
import pytest

from ioc.ca import dbr
from ioc.ca.dbr import CHAR, DOUBLE, ENUM, FLOAT, LONG, SHORT, STRING, Properties

LIMITS = (100.0, -100.0, 90.0, 80.0, -80.0, math.nan, 60.0, 0.0)
VALUES: dict[int, Any] = {STRING: "12", SHORT: 12, FLOAT: 12.0, ENUM: 12, CHAR: 12, LONG: 12, DOUBLE: 12.0}


class Gauge:
    """A value of 12 in MAJOR alarm."""

    def __init__(self, native: int) -> None:
        self.native = native

    def text(self, value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)

    def alarm(self) -> tuple[int, int, int, int]:
        return 3, 2, 1, 2

    def stamp(self) -> float:
        return dbr.EPICS_EPOCH + 1000.25

    def properties(self) -> Properties:
        return Properties("kV", 2, LIMITS, tuple(f"state {number}" for number in range(13)))

    def record_type(self) -> str:
        return "ai"


def read(number: int, payload: bytes) -> tuple[Any, bytes]:
    """The payload's head as caproto's structure, and what follows it."""
    kind = ca.DBR_TYPES[ca.ChannelType(number)]
    size = ctypes.sizeof(kind)
    return kind.from_buffer_copy(payload), payload[size:]


@pytest.mark.parametrize("native", VALUES)
@pytest.mark.parametrize("number", [*range(28), *range(29, 35)])  # caproto takes CTRL_STRING for TIME_STRING
def test_each_type_is_written_as_caproto_reads_it(number: int, native: int) -> None:
    payload = dbr.encode(number, (VALUES[native],), Gauge(native))
    dress, base = divmod(number, 7)
    head, body = read(number, payload) if dress else (None, payload)
    if base == STRING:
        assert body.partition(b"\0")[0] == b"12"
    else:
        assert struct.unpack_from(f">{dbr._FORMAT[base]}", body)[0] == 12
    if head is not None:
        assert (head.status, head.severity) == (3, 2)
    if dress == dbr.TIME:
        assert head is not None
        assert (head.secondsSinceEpoch, head.nanoSeconds) == (1000, 250_000_000)
    assert len(payload) % 8 == 0


@pytest.mark.parametrize("base", [SHORT, FLOAT, CHAR, LONG, DOUBLE])
@pytest.mark.parametrize("dress", [dbr.GR, dbr.CTRL])
def test_display_information_is_where_caproto_looks_for_it(dress: int, base: int) -> None:
    head, _ = read(7 * dress + base, dbr.encode(7 * dress + base, (VALUES[base],), Gauge(base)))
    assert head.units == b"kV"
    shown = [head.upper_disp_limit, head.upper_alarm_limit, head.upper_warning_limit, head.lower_warning_limit]
    if base == CHAR:
        shown = [int.from_bytes(each, signed=True) for each in shown]
    if base in {FLOAT, DOUBLE}:
        assert (head.precision, *shown) == (2, 100, 90, 80, -80)
        assert math.isnan(head.lower_alarm_limit)
    else:
        assert shown == [100, 90, 80, -80]
        assert int(head.lower_alarm_limit if base != CHAR else head.lower_alarm_limit[0]) == 0
    if dress == dbr.CTRL:
        assert head.upper_ctrl_limit in {60, b"<"}


def test_the_words_of_an_enum_are_where_caproto_looks_for_them() -> None:
    head, body = read(7 * dbr.CTRL + ENUM, dbr.encode(7 * dbr.CTRL + ENUM, (2,), Gauge(ENUM)))
    assert (head.no_str, head.strs[12].value) == (13, b"state 12")
    assert struct.unpack_from(">H", body) == (2,)


def test_an_acknowledgement_and_a_record_type_can_be_read() -> None:
    gauge = Gauge(DOUBLE)
    assert dbr.encode(dbr.STSACK_STRING, (12.0,), gauge)[:10] == struct.pack(">HHHH", 3, 2, 1, 2) + b"12"
    assert dbr.encode(dbr.CLASS_NAME, (12.0,), gauge).rstrip(b"\0") == b"ai"


@pytest.mark.parametrize(
    ("value", "base", "result"),
    [
        (-1.9, LONG, -1),
        (3e9, LONG, -(2**31)),
        (math.nan, LONG, -(2**31)),
        (70000.0, SHORT, 4464),
        (-1.0, ENUM, 65535),
        (1e300, FLOAT, 3.4028234663852886e38),
        (1e-300, FLOAT, 1.1754943508222875e-38),
    ],
)
def test_numbers_are_cut_as_c_does(value: float, base: int, result: float) -> None:
    assert dbr.convert(value, DOUBLE, base) == result


@pytest.mark.parametrize(
    ("value", "precision", "text"),
    [
        (1.005, 2, "1.01" if (1.005 - 1) * 1000 >= 5 else "1.00"),
        (9.999, 2, "10.00"),
        (-2.5, 0, "-3"),
        (0.0, 3, "0.000"),
        (12345678.5, 5, "12345678.500"),
        (1e17, 2, " 1.00e+17"),
        (math.nan, 2, "nan"),
        (1.5, 10, "1.5000000000e+00"),
    ],
)
def test_a_number_becomes_text_as_in_epics(value: float, precision: int, text: str) -> None:
    assert dbr.text_of(value, precision).strip() == text.strip()


def test_a_text_that_is_no_number_is_not_made_one() -> None:
    with pytest.raises(dbr.NotConvertible):
        dbr.encode(DOUBLE, ("kV",), Gauge(STRING))
    assert len(dbr.blank(DOUBLE, 3)) == 24


@pytest.mark.parametrize(
    ("number", "payload", "values"),
    [
        (STRING, b"On\0" + bytes(5), ("On",)),
        (DOUBLE, struct.pack(">2d", 1.5, 2.5), (1.5, 2.5)),
        (CHAR, b"hi\0" + bytes(5), (104, 105, 0)),
    ],
)
def test_a_put_is_read_from_bytes(number: int, payload: bytes, values: tuple[Any, ...]) -> None:
    assert dbr.decode(number, len(values), payload) == values


@pytest.mark.parametrize("number", [STRING, DOUBLE])
def test_a_put_that_is_cut_short_is_told(number: int) -> None:
    with pytest.raises(ValueError, match="announced"):
        dbr.decode(number, 3, bytes(8))


@pytest.mark.parametrize("number", range(39))
def test_what_takes_the_place_of_a_value_is_all_zeros(number: int) -> None:
    assert not any(dbr.blank(number, 2))


def test_a_time_before_1990_is_never() -> None:
    assert dbr.stamp(0.0) == (0, 0)


@pytest.mark.alone
def test_a_text_of_a_million_characters_does_not_keep_others_waiting() -> None:
    began = time.perf_counter()
    payload = dbr.encode(CHAR, (120,) * 1_000_000, Gauge(CHAR))
    assert time.perf_counter() - began < 0.1  # one character at a time takes ten times as long
    assert payload == b"x" * 1_000_000


def test_a_character_beyond_eight_bits_is_cut() -> None:
    assert dbr.encode(CHAR, (0x141, -1), Gauge(CHAR)) == b"A\xff" + bytes(6)
