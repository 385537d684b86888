"""What a document shows is compared with what a command writes: what may differ, and what may not."""

from __future__ import annotations

import pytest

from tests.documents.shown import same

PLOT = "[kV]  ─ A\n  ┌──┐\n1┤▀▀│\n0┤  │\n  └┬─┘\n  11-27 12:34:11"


@pytest.mark.parametrize(
    ("shown", "written"),
    [
        ("A   1250", "A 1250\n"),
        ("A 21.8", "A 21.9"),
        ("HV1 2e-07", "HV1 2.05e-07"),
        ("it is\nbroken", "it is broken"),
        ("2026-11-20 16:46:22.226+01  NaN", "2027-01-02 03:04:05.678+00 NaN"),
        ("2026-11-21T17:27:50|802|420.0", "2026-11-22T01:02:03|802|420.1"),
        ("rack.yaml: ...; 3 instruments", "rack.yaml: no faults; 3 instruments"),
        ("one\n...\nfour", "one\ntwo\nthree\nfour"),
        ("one\n...\nfour", "one\nfour"),
        ("...\nfour", "one\nfour"),
        ("...\nfour", "four"),
        ("one\n...", "one"),
        (PLOT, PLOT.replace("1┤▀▀│\n", "").replace("12:34:11", "12:35:00")),
    ],
)
def test_what_may_differ(shown: str, written: str) -> None:
    assert same(shown, written)


@pytest.mark.parametrize(
    ("shown", "written"),
    [
        ("A 1250", "A 1251"),
        ("A 1250", "A 12500"),
        ("A 21.8", "A 31.8"),
        ("HV1 2e-07", "HV1 3e-07"),
        ("HV1 2.0", "HV2 2.0"),
        ("one\n...\nfour", "one\ntwo"),
        ("one\n...\nfour", "onefour"),
        ("one", "one\ntwo"),
        ("one", ""),
        (PLOT, "[kV]  ─ A"),
    ],
)
def test_what_may_not(shown: str, written: str) -> None:
    assert not same(shown, written)


def test_numbers_may_be_any_where_a_page_says_so() -> None:
    assert same("62 rows in 4.6 s, 3,313 before", "7 rows in 0.1 s, 12 before", numbers_vary=True)
    assert not same("62 rows", "no rows", numbers_vary=True)
