"""What makes things safe is put unasked and however late, what is dangerous neither: by what the IOC tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.base import RecordType
from tests.small_ioc import SmallIoc
from tests.web.live.conftest import SAFE_LIST, tell_safe
from tests.web.live.truth.switches import LETS_OUT, SAFE, SWITCHES, WHOLE_CRATE, Person, person


@pytest.fixture(scope="module")
def switches() -> Iterator[SmallIoc]:
    ioc = SmallIoc([*SWITCHES, SAFE_LIST])
    for point in SWITCHES:
        ioc.read(point.name, "" if point.rtyp is RecordType.stringout else 0)
    tell_safe(ioc, *SAFE)
    yield ioc
    ioc.close()


@pytest.fixture(scope="module")
def anna(switches: SmallIoc, logins_file: Path) -> Iterator[Person]:
    with person(switches, logins_file) as anna:
        yield anna


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ("GEN:HV", 0), ("GEN:HV", "Off"), ("GEN:HV", "0"), ("GEN:HV", 0.0), ("GEN:HV", "0.0"), ("GEN:HV", False),
        ("GEN:HV.VAL", "Off"), ("GEN:Inhibit", 1), ("GEN:Inhibit", "On"), ("GEN:Mode", "Local"),
        ("HV1:S02:C00:Pw", "Off"), ("HV1:S02:C01:Pw", "Off"), ("HV1:S02:C01:Pw", 1), ("HV1:S02:C02:Pw", "Off it"),
        ("HV1:S02:C04:Pw", "0"), ("HV1:S02:C04:Pw", 1), ("HV1:Cmd:Kill", 1),
    ],
)  # fmt: skip
def test_what_makes_things_safe_is_never_asked_about_nor_too_late(
    switches: SmallIoc, anna: Person, point: str, value: object
) -> None:
    before = len(switches.puts)
    assert anna.asked(switches.prefix + point, value) == ""
    assert anna.asked(switches.prefix + point, value, at=anna.ago) == ""
    assert len(switches.puts) == before + 2


@pytest.mark.parametrize(
    ("point", "value", "why"),
    [
        ("GEN:HV", 1, LETS_OUT), ("GEN:HV", "On", LETS_OUT), ("GEN:HV", 1.0, LETS_OUT), ("GEN:HV", "1", LETS_OUT),
        ("GEN:HV", True, LETS_OUT), ("GEN:HV", "\N{SUPERSCRIPT TWO}", LETS_OUT), ("GEN:HV.VAL", 1, LETS_OUT),
        ("GEN:Inhibit", 0, LETS_OUT), ("GEN:Inhibit", "Off", LETS_OUT), ("GEN:Mode", "Remote", LETS_OUT),
        ("HV1:S02:C00:Pw", 1, LETS_OUT), ("HV1:S02:C01:Pw", 0, LETS_OUT), ("HV1:S02:C01:Pw", "On", LETS_OUT),
        ("HV1:S02:C02:Pw", "Kill", LETS_OUT), ("HV1:S02:C03:Pw", 0, LETS_OUT), ("HV1:S02:C03:Pw", "!", LETS_OUT),
        ("HV1:S02:C04:Pw", 0, LETS_OUT), ("HV1:S02:C04:Pw", "1", LETS_OUT),
        ("HV1:Cmd:ClearAlarm", 1, WHOLE_CRATE), ("HV1:Sys:IPAddr", "1.2.3.4", WHOLE_CRATE),
    ],
)  # fmt: skip
def test_what_is_dangerous_is_asked_about_and_not_put_late(
    switches: SmallIoc, anna: Person, point: str, value: object, why: str
) -> None:
    before = list(switches.puts)
    assert anna.asked(switches.prefix + point, value) == why
    assert "s after it was asked for" in anna.refused(switches.prefix + point, value, at=anna.ago)
    assert switches.puts == before


@pytest.mark.parametrize(
    ("point", "value"),
    [("GEN:VSet", 5), ("HV1:S02:C00:V0Set", 500), ("HV1:Cmd:ClearAlarm", 0), ("TC1:Retry", 1)],
)
def test_anything_else_is_put_unless_it_is_late(switches: SmallIoc, anna: Person, point: str, value: object) -> None:
    assert anna.asked(switches.prefix + point, value) == ""
    before = list(switches.puts)
    assert "s after it was asked for" in anna.refused(switches.prefix + point, value, at=anna.ago)
    assert switches.puts == before
