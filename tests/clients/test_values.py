"""What clients of others get, put and are told; the same for each, in the way of its own users."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from tests.client import Client
from tests.clients.peer import Peer
from tests.small_ioc import until
from tests.system.conftest import Ioc

CHANNEL = "HV1:S02:C00"
# program -> how a user of it notices that a put was refused
NOTICED = {
    "pyepics": "alarm",
    "aioca": "raised",
    "cothread": "raised",
    "caproto_sync": "status",
    "caproto_threading": "status",
    "caproto_asyncio": "status",
    "ophyd": "alarm",
    "ophyd_async": "alarm",
}


@pytest.fixture(scope="module", params=NOTICED)
def peer(request: pytest.FixtureRequest, start: Callable[[str], Peer]) -> Peer:
    return start(request.param)


def test_an_input_has_its_unit(rack: Ioc, peer: Peer) -> None:
    told = peer.get(rack(f"{CHANNEL}:VMon"))
    assert isinstance(told["value"], float)
    assert (told["severity"], told["units"]) == (0, "V")


def test_a_setpoint_has_its_unit_and_limits_and_takes_a_put_with_completion(rack: Ioc, peer: Peer) -> None:
    for value in (20.0, 30.0):
        peer.put(rack(f"{CHANNEL}:V0Set"), value)
        told = peer.get(rack(f"{CHANNEL}:V0Set"))
        assert told["value"] == value
        assert (told["severity"], told["units"], told["lower"], told["upper"]) == (0, "V", 0, 2500)
        assert peer.get(rack(f"{CHANNEL}:V0Set_RBV"))["value"] == value


def test_an_enum_has_its_words_and_takes_one(rack: Ioc, peer: Peer) -> None:
    for word in ("On", "Off"):
        peer.put(rack(f"{CHANNEL}:Pw"), word)
        told = peer.get(rack(f"{CHANNEL}:Pw"))
        assert (told["value"], told["words"]) == (word, ["Off", "On"])


def test_a_refused_put_is_noticed_and_its_sentence_is_read_whole(rack: Ioc, peer: Peer, ca: Client) -> None:
    name = rack(f"{CHANNEL}:V0Set")
    peer.put(name, 10.0)
    assert peer.refused(name, 1e6) == NOTICED[peer.program]
    told = peer.get(name)
    assert (told["value"], told["severity"]) == (10.0, 1)
    sentence = peer.get(rack("HV1:Error.VAL$"))["value"]
    assert sentence == ca.long(rack("HV1:Error"))
    assert len(sentence) > 39
    peer.put(name, 11.0)
    assert peer.get(name)["severity"] == 0


def test_the_array_of_a_board_has_a_number_for_each_of_its_channels(rack: Ioc, peer: Peer) -> None:
    """NaN for those that are left out by the configuration."""
    told = peer.get(rack("HV1:S02:VMon:Array"))
    assert [math.isfinite(value) for value in told["value"]] == [True] * 4 + [False] * 24
    assert told["units"] == "V"


def test_monitors_see_updates(rack: Ioc, peer: Peer, ca: Client) -> None:
    names = {
        name: rack(name) for name in (f"{CHANNEL}:V0Set", f"{CHANNEL}:Pw", "HV1:Error.VAL$", "HV1:S02:VMon:Array")
    }
    ca.put(rack(f"{CHANNEL}:Pw"), "Off")
    peer.ask("monitor", *names.values())
    until(lambda: all(peer.newest(name) is not None for name in names.values()))
    asked = time.monotonic()
    value = 40.0 if float(ca.get(rack(f"{CHANNEL}:V0Set"))) != 40 else 41.0
    ca.put(rack(f"{CHANNEL}:V0Set"), value)
    until(lambda: peer.newest(rack(f"{CHANNEL}:V0Set"), asked) == value)
    ca.put(rack(f"{CHANNEL}:Pw"), "On")
    until(lambda: peer.newest(rack(f"{CHANNEL}:Pw"), asked) == "On")
    sentence = ca.refused(rack(f"{CHANNEL}:V0Set"), 1e6 + value)
    until(lambda: peer.newest(rack("HV1:Error.VAL$"), asked) == sentence)
    until(lambda: peer.newest(rack("HV1:S02:VMon:Array"), asked) is not None)
    ca.put(rack(f"{CHANNEL}:Pw"), "Off")
