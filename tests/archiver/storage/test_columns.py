from __future__ import annotations

import math

import pytest

from archiver.sample import Value
from archiver.storage.columns import Columns, of_stored, stored_of, to_columns

TWO = bytes.fromhex("00000002 4004000000000000 3ff0000000000000")


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        (1.5, Columns(float_val=1.5)),
        (-3, Columns(num_val=-3)),
        ("x", Columns(str_val="x")),
        ("", Columns(str_val="")),
        (math.inf, Columns(str_val="Infinity")),
        (-math.inf, Columns(str_val="-Infinity")),
        ((2.5, 1.0), Columns(float_val=2.5, datatype="d", array_val=TWO)),
        ((), Columns(float_val=0.0, datatype="d", array_val=bytes(4))),
    ],
)
def test_a_value_has_columns_and_comes_back(value: Value, columns: Columns) -> None:
    assert to_columns(value) == columns
    back = of_stored(stored_of(*columns))
    assert back == value
    assert type(back) is type(value)


def test_nan_is_text_and_comes_back_as_a_number() -> None:
    assert to_columns(math.nan) == Columns(str_val="NaN")
    back = of_stored(stored_of(*to_columns(math.nan)))
    assert isinstance(back, float)
    assert math.isnan(back)


def test_an_array_that_begins_with_nan_has_a_number_that_every_database_holds() -> None:
    columns = to_columns((math.nan, math.inf))
    assert columns.float_val == 0.0
    back = of_stored(stored_of(*columns))
    assert isinstance(back, tuple)
    assert math.isnan(back[0])
    assert back[1] == math.inf
