"""Units: what can be converted, and what a number with a unit looks like."""

from __future__ import annotations

import math

import pytest

from drivers.caen.formats import unit
from ioc import units
from ioc.units import Quantity


@pytest.mark.parametrize(
    ("number", "source", "target", "expected"),
    [
        (20.0, "uA", "mA", 0.02),
        (20.0, "uA", "A", 2e-5),
        (0.02, "mA", "uA", 20.0),
        (0.3, "kV", "V", 300.0),
        (1.1, "V", "kV", 0.0011),
        (5.0, "uA", "uA", 5.0),
        (5.0, "parsec", "parsec", 5.0),
        (5.0, "", "", 5.0),
        (7.0, "1e-5 A", "mA", 0.07),
        (7.0, "mA", "1e-5 A", 700.0),
        (2.0, "kV/s", "V/s", 2000.0),
        (1.0, "mPa", "Pa", 0.001),
        (1.0, "mbar", "bar", 0.001),
        (math.inf, "uA", "mA", math.inf),
        (5.0, "V", "A", None),
        (5.0, "uA", "", None),
        (5.0, "", "uA", None),
        (5.0, "C", "K", None),
        (5.0, "parsec", "mparsec", None),
        (5.0, "Pa", "A", None),
        (5.0, "m", "k", None),
        (5.0, "1e-5 parsec", "parsec", None),
    ],
)
def test_a_number_is_converted_between_prefixes_of_one_base_unit(
    number: float, source: str, target: str, expected: float | None
) -> None:
    assert units.convert(number, source, target) == expected


def test_every_unit_of_a_crate_is_known() -> None:
    names = ["AMPERE", "VOLT", "WATT", "CELSIUS", "HERTZ", "BAR", "VPS", "SECOND", "RPM", "COUNT", "BIT", "APS"]
    for name in names:
        for exponent in range(-15, 13):
            assert units.exponent(unit(name, exponent), unit(name, 0)) == exponent, unit(name, exponent)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20 uA", Quantity(20.0, "uA")),
        ("20uA", Quantity(20.0, "uA")),
        (" -1.5e3  kV/s ", Quantity(-1500.0, "kV/s")),
        (".5 V", Quantity(0.5, "V")),
        ("5 %", Quantity(5.0, "%")),
        ("7 1e-5 A", Quantity(7.0, "1e-5 A")),
        ("20", None),
        ("1e3", None),
        ("uA", None),
        ("five uA", None),
        ("1e999 uA", None),
        ("nan uA", None),
        ("1_000", None),
        ("1:30", None),
    ],
)
def test_a_number_with_a_unit_is_read(text: str, expected: Quantity | None) -> None:
    assert units.quantity(text) == expected


@pytest.mark.parametrize(
    ("unit", "name", "expected"),
    [
        ("V", "kV", True),
        ("V", "KV", True),
        ("kV", "KV", False),
        ("mA", "ma", False),
        ("A", "ma", True),
        ("C", "degC", False),
        ("C", "F", True),
        ("C", "DegF", True),
        ("kV", "Volts", True),
        ("V", "Volts", False),
        ("mbar", "Torr", True),
        ("V", "parsec", False),
        ("", "F", False),
    ],
)
def test_a_word_for_another_unit_contradicts_that_of_the_numbers(unit: str, name: str, expected: bool) -> None:
    assert units.contradict(unit, name) is expected


@pytest.mark.parametrize("number", [20.0, 0.1, 1 / 3, -2e-7, 1e22])
def test_what_is_written_is_read_again(number: float) -> None:
    assert units.quantity(str(Quantity(number, "uA"))) == Quantity(number, "uA")
