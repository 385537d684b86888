"""What is configured and not there: told by name, once, when the instrument has been asked all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from drivers.base import Point, RecordType
from ioc.configured import Configured
from ioc.fields import FIELDS
from ioc.site import Site
from tests.ioc.bench import Bench, Rig, Run


class Explorer(Bench):
    """A bench that is asked what it has, and lacks some of what is configured."""

    def __init__(self) -> None:
        super().__init__()
        self.asking = True
        self.lacks: tuple[str, ...] = ()

    @property
    def exploring(self) -> bool:
        return self.asking

    @property
    def unserved(self) -> Iterator[str]:
        yield from self.lacks


def site(**patterns: dict[str, Any]) -> Site:
    """Return a site of "T:PS:<keyword>" -> fields; a _ stands for *."""
    return Site(
        [
            (f"T:PS:{name.replace('_', '*')}", {field: FIELDS[field].parse(value) for field, value in fields.items()})
            for name, fields in patterns.items()
        ]
    )


def news(configured: Configured, up: bool = True) -> list[str]:
    """Look twice, as it must be seen twice that nothing is left to be asked."""
    return [*configured.news(up), *configured.news(up)]


LACKING = [
    ({"Mon": {"HIHI": 5}}, []),
    ({"M_": {"HIHI": 5}}, []),
    ({"Monn": {"HIHI": 5}}, ["matches no PV: T:PS:Monn, which is configured under records"]),
    ({"C_:IMon": {"HIHI": 5}}, ["matches no PV: T:PS:C*:IMon, which is configured under records"]),
    ({"Safe": {"HIHI": 5}}, ["HIHI acts on no PV of T:PS:Safe: a record of type bo has no such field"]),
    ({"S_e": {"MDEL": 5}}, ["MDEL acts on no PV of T:PS:S*e: a record of type bo has no such field"]),
    ({"Mon": {"ZSV": "MINOR"}}, ["ZSV acts on no PV of T:PS:Mon: a record of type ai has no such field"]),
    ({"Mon": {"DRVH": 5}}, ["DRVH acts on no PV of T:PS:Mon: a record of type ai has no such field"]),
    ({"_": {"HIHI": 5, "ZSV": "MINOR", "DRVH": 5}}, []),
]


@pytest.mark.parametrize(("patterns", "sentences"), LACKING, ids=[str(row[0]) for row in LACKING])
def test_what_acts_on_nothing_is_told_when_all_is_known(patterns: dict[str, Any], sentences: list[str]) -> None:
    driver, found = Explorer(), site(**patterns)
    configured = Configured("T:PS:", driver, found)
    for point in driver.points:
        found.apply(f"T:PS:{point.name}", point)
    assert news(configured) == []
    driver.asking = False
    assert news(configured, up=False) == []
    assert configured.news(up=True) == []  # may be a connection that is being lost
    assert configured.news(up=True) == sentences
    configured.changed()
    assert news(configured) == []


def test_a_pattern_that_a_later_board_matches_is_fine() -> None:
    driver, found = Explorer(), site(**{"New:_": {"HIHI": 5}})
    driver.asking = False
    configured = Configured("T:PS:", driver, found)
    assert len(news(configured)) == 1
    found.apply("T:PS:New:IMon", Point(name="New:IMon", rtyp=RecordType.ai))
    configured.changed()
    assert news(configured) == []


def test_a_pattern_of_several_instruments_is_left_to_the_last_of_them() -> None:
    found = Site([("T:*:IMon", {"HIHI": 5.0}), ("T:B:VMon", {"HIHI": 5.0}), ("T:C:VMon", {"HIHI": 5.0})])
    one, other = Explorer(), Explorer()
    one.asking = False
    first, second = Configured("T:A:", one, found), Configured("T:B:", other, found)
    assert news(first) == []
    other.asking = False
    assert news(second) == [
        "matches no PV: T:*:IMon, which is configured under records",
        "matches no PV: T:B:VMon, which is configured under records",
    ]


def test_what_a_driver_lacks_is_told_once_for_each() -> None:
    driver = Explorer()
    driver.asking = False
    configured = Configured("T:PS:", driver, Site())
    assert news(configured) == []
    driver.lacks = ("no board in slot 3",)
    configured.changed()
    assert news(configured) == ["no board in slot 3"]
    driver.lacks = ("no board in slot 3", "no board in slot 4")
    configured.changed()
    assert news(configured) == ["no board in slot 4"]


def test_a_driver_that_fails_to_say_it_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver = Explorer()
    driver.asking = False
    monkeypatch.setattr(driver, "lacks", None)
    assert len(news(Configured("T:PS:", driver, site(Monn={"HIHI": 5})))) == 1
    assert "internal error in the list of what is not served of T:PS:" in caplog.text


def test_of_many_records_some_are_named() -> None:
    found = Site([("T:PS:*", {"HIHI": FIELDS["HIHI"].parse("20 uA")})])
    configured = Configured("T:PS:", Explorer(), found)
    for number in range(48):
        name = f"C{number:02}"
        configured.note(f"T:PS:{name}", found.apply(f"T:PS:{name}", Point(name=name, rtyp=RecordType.ai, egu="V")))
    (sentence,) = news(configured, up=False)
    assert sentence.endswith("give numbers in V to: T:PS:C00, T:PS:C01, T:PS:C02 and 45 more")


def test_what_stands_is_told_until_it_no_longer_holds() -> None:
    driver = Explorer()
    driver.asking = False
    driver.lacks = ("no board in slot 3",)
    found = site(Monn={"HIHI": 5}, Mon={"HIHI": "20 uA"})
    configured = Configured("T:PS:", driver, found)
    applied = {unit: Point(name="Mon", rtyp=RecordType.ai, egu=unit) for unit in ("V", "uA")}
    configured.note("T:PS:Mon", found.apply("T:PS:Mon", applied["V"]))
    told = news(configured)
    assert len(told) == 3
    assert configured.standing() == told
    driver.lacks = ()
    configured.note("T:PS:Mon", found.apply("T:PS:Mon", applied["uA"]))
    configured.changed()
    assert news(configured) == []
    assert configured.standing() == ["matches no PV: T:PS:Monn, which is configured under records"]


def test_it_is_told_in_the_log_and_in_error(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    driver = Explorer()
    driver.lacks = ("relative_alarms.voltage_v acts on no channel",)

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: "HIHI 20 uA" in str(rig.record("Error").val))
        assert "Monn" not in str(rig.record("Error").val)
        before = rig.record("ErrorCount").val
        driver.asking = False
        await rig.until(lambda: "Monn" in str(rig.record("Error").val))
        assert rig.record("Error").val == (
            "matches no PV: T:PS:Monn, which is configured under records; "
            "relative_alarms.voltage_v acts on no channel; "
            "not applied: HIHI 20 uA, for the value is in V; give numbers in V to: T:PS:Mon"
        )
        assert rig.record("ErrorCount").val == before + 1

    run(scenario, driver=driver, site=site(Monn={"HIHI": 5}, Mon={"HIHI": "20 uA"}))
    assert caplog.text.count("PS: matches no PV: T:PS:Monn") == 1
    assert caplog.text.count("PS: relative_alarms.voltage_v acts on no channel") == 1
    assert caplog.text.count("not applied: HIHI 20 uA") == 1
