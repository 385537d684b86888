"""The server goes and comes back: every subscription of every client is back soon, and nobody asks for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.client import Client
from tests.clients.conftest import settled
from tests.clients.peer import Peer, missing
from tests.system.conftest import Ioc, Racks

pytestmark = [pytest.mark.slow, pytest.mark.quiet, pytest.mark.timeout(180)]

# All are back by themselves but caproto's synchronous client, whose program has to call it again after a restart
PROGRAMS = (
    *("pyepics", "aioca", "cothread", "caproto_sync", "caproto_threading", "caproto_asyncio"),
    *("ophyd", "ophyd_async", "pydm"),
)
# Gives up a server that says nothing for longer than EPICS_CA_CONN_TMO and never asks for it again; a softIoc, too
GIVES_UP = "caproto_asyncio"
SETPOINT = "HV1:S02:C00:V0Set"
NAMES = (SETPOINT, f"{SETPOINT}_RBV", "HV1:S02:C00:Pw", "HV1:S02:VMon:Array", "HV1:Error.VAL$")
BACK = 10.0  # seconds from the return of the server to the last subscription of the last client
LONG = 40.0  # seconds: longer than EPICS_CA_CONN_TMO and its echo, after which clients take a server for gone


@pytest.fixture(scope="module")
def crowd(rack: Ioc, start: Callable[[str], Peer], ca: Client) -> list[Peer]:
    """All clients, with the same subscriptions."""
    peers = [start(program) for program in PROGRAMS if not missing(program)]
    for peer in peers:
        peer.ask("monitor", *map(rack, NAMES), timeout=60)
    all_see_news(rack, ca, peers, time.monotonic(), 30)
    return peers


@pytest.mark.parametrize(("number", "away"), [(signal.SIGTERM, 0), (signal.SIGKILL, 0), (signal.SIGKILL, LONG)])
def test_all_subscriptions_are_back_after_a_restart(
    racks: Racks, crowd: list[Peer], ca: Client, number: int, away: float
) -> None:
    before = racks.running[-1]
    before.stop(number)
    time.sleep(away)
    rack = racks.launch(before.folder, before.prefix)
    all_see_news(rack, ca, crowd, time.monotonic(), BACK)


def test_all_subscriptions_are_back_after_a_stop(racks: Racks, crowd: list[Peer], ca: Client) -> None:
    rack = racks.running[-1]
    rack.process.send_signal(signal.SIGSTOP)
    time.sleep(LONG)
    rack.process.send_signal(signal.SIGCONT)
    all_see_news(rack, ca, [peer for peer in crowd if peer.program != GIVES_UP], time.monotonic(), BACK)


def all_see_news(rack: Ioc, ca: Client, peers: list[Peer], since: float, seconds: float) -> None:
    """Change what the subscriptions are for, and wait until each brought it."""
    settled(rack, ca)
    value = 20.0 if float(ca.get(rack(SETPOINT))) != 20 else 30.0
    sentence = ca.refused(rack(SETPOINT), 1e6 + since)
    ca.put(rack(SETPOINT), value)
    word = "Off" if ca.text(rack("HV1:S02:C00:Pw")) == "On" else "On"
    ca.put(rack("HV1:S02:C00:Pw"), word)
    expected = dict(zip(NAMES, (value, value, word, None, sentence), strict=True))
    wanted = [(peer, name) for peer in peers for name in NAMES]
    while missing := [(peer, name) for peer, name in wanted if not sees(peer, rack(name), expected[name], since)]:
        assert time.monotonic() < since + seconds, missing
        time.sleep(0.05)


def sees(peer: Peer, name: str, expected: object, since: float) -> bool:
    """Return whether an update since then brought the value (None: any)."""
    newest = peer.newest(name, since)
    return newest is not None if expected is None else newest in {expected, f"{expected} V"}
