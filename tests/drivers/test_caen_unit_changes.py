"""Units of a crate that move while it is read: real caen-libs, the driver, its port and the records, no server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from drivers.base import Severity
from drivers.caen import Caen, Config
from ioc.fields import FIELDS
from ioc.instrument import Instrument
from ioc.record import Changes, Record
from ioc.site import Site
from sim.caen.fake import CrateFake
from sim.rack import Rack
from tests.drivers.test_caen import KEYS
from tests.ioc.bench import Screen

# Amperes of each unit, and what the load takes: 100 V through 100 MOhm
UNITS = {"uA": 1e-6, "nA": 1e-9}
LOAD = 1e-6


@dataclass(frozen=True)
class Shown:
    """A record at the moment of a post."""

    name: str
    val: Any
    egu: str
    hihi: float | None
    mdel: float
    sevr: str

    @property
    def amperes(self) -> float:
        return float(self.val) * UNITS[self.egu]


class Watch(Screen):
    """A publisher that writes down each record with each post."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Shown] = []

    def post(self, changes: Changes) -> None:
        for record, mask in changes:
            self.look(record)
            super().post([(record, mask)])

    def look(self, record: Record) -> None:
        point = record.point
        self.shown.append(Shown(point.name, record.val, point.egu, point.hihi, point.mdel, record.sevr.name))


@pytest.fixture
def rack() -> Iterator[Rack]:
    with Rack({"HV1": {"driver": "caen", **KEYS}}) as rack:
        fake = rack.fakes["HV1"]
        assert isinstance(fake, CrateFake)
        fake.latency = fake.patience = 0.0
        rack.command("HV1 front 4 0 V0Set 100")
        rack.command("HV1 front 4 0 RUp 500")
        rack.command("HV1 front 4 0 I0Set 5")
        fake.model.boards[4].channels[0].resistance = 1e8
        rack.command("HV1 front 4 0 Pw 1")
        yield rack


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


def settled(record: Record, egu: str) -> bool:
    """Return True if a record is read in a unit, and above its limit."""
    return record.point.egu == egu and record.sevr is Severity.MAJOR


@pytest.mark.parametrize(
    ("by_whom", "hihi", "mdel"),
    [("client", "0.5 uA", "2 nA"), ("front panel", 0.5, 0.002), ("front panel", "500 nA", "2e-6 mA")],
)
def test_current_unit_limits_and_deadbands_change_together_while_it_is_read(
    rack: Rack, by_whom: str, hihi: object, mdel: object
) -> None:
    fields = {"HIHI": FIELDS["HIHI"].parse(hihi), "MDEL": FIELDS["MDEL"].parse(mdel)}
    site, watch = Site([("T:HV1:S04:C*:I???*", fields)]), Watch()

    async def main() -> None:
        driver = Caen(Config(**{**KEYS, "channels": {4: (0,)}}))
        instrument = Instrument("HV1", "T:", driver, site, watch)
        instrument.start({"monitor": 0.05, "settings": 0.1})
        records = instrument.records
        try:
            await until(lambda: "S04:C00:IMon" in records and records["S04:C00:IMon"].val == 1.0)
            for word, egu in ((1, "nA"), (0, "uA"), (1, "nA"), (0, "uA")):
                if by_whom == "client":
                    await instrument.put(records["S04:C00:IMRange"], word)
                else:
                    rack.command(f"HV1 front 4 0 IMRange {word}")
                for name in ("IMon", "I0Set"):
                    await until(partial(settled, records[f"S04:C00:{name}"], egu))
        finally:
            await instrument.close()

    asyncio.run(main())
    currents = [each for each in watch.shown if each.name in {"S04:C00:IMon", "S04:C00:I0Set", "S04:C00:I0Set_RBV"}]
    assert {each.egu for each in currents} == {"uA", "nA"}
    for each in currents:
        assert each.hihi == pytest.approx(0.5e-6 / UNITS[each.egu])
        assert each.mdel == pytest.approx(2e-9 / UNITS[each.egu])
    measured = [each for each in currents if each.name == "S04:C00:IMon"]
    changed = next(index for index, each in enumerate(measured) if each.egu == "nA")
    for each in measured[changed:]:
        assert each.amperes == pytest.approx(LOAD, rel=0.02), each  # also where it is INVALID
