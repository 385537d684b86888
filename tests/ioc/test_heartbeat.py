"""The count of the IOC, by which clients learn that it does not hang: no deadband keeps it from them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import aioca
import pytest

from ioc.ca.server import Server
from ioc.fields import FIELDS
from ioc.instrument import Instrument
from ioc.site import Site
from ioc.status import IocStatus
from tests.client import Client
from tests.ioc.test_fields import Stand
from tests.small_ioc import until


class Rack(Stand):
    """An IOC about itself, at a site that wants few updates."""

    async def _start(self) -> None:
        self.server = Server()
        status = IocStatus(SimpleNamespace(names=[], safe=[], load=(0, 0, 0)))
        site = Site([("*", {"MDEL": FIELDS["MDEL"].parse(10)})])
        self.instrument = Instrument("PS", self.prefix, status, site, self.server)
        self._serving = asyncio.create_task(self.server.run())
        while self.server.port is None:
            await asyncio.sleep(0.01)
        self.instrument.start()


@pytest.fixture
def rack() -> Iterator[Rack]:
    rack = Rack()
    yield rack
    rack.close()


def test_each_count_is_told_whatever_a_site_or_a_client_says_of_its_deadband(rack: Rack, ca: Client) -> None:
    heart, other = rack.pv("HEARTBEAT"), rack.pv("FD_CNT")
    ca.wait(heart, lambda value: value > 0)
    assert (ca.get(f"{heart}.MDEL"), ca.get(f"{other}.MDEL")) == (-1, 10)
    with pytest.raises(aioca.CANothing):
        ca.put(f"{heart}.MDEL", 100)
    assert "each reading is told" in ca.get(rack.pv("Error.VAL$"), datatype=aioca.DBR_CHAR_STR)
    told = ca.monitor(heart)
    until(lambda: len(told) >= 4, 10)
    assert all(after - before == 1 for before, after in pairwise(told))
