"""What must not cost a row: a MariaDB server that stops, hangs, is killed, or takes the archiver's rights away."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bench.rig.mariadb import USER, Server
from tests.system.counters import PVS, Rig, Table, check_complete, check_consecutive
from tests.system.proxy import Proxy, proxy_to

DATABASE = "archive"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def url(own_server: Server) -> str:
    return own_server.create(DATABASE)


@pytest.fixture
def table(own_server: Server) -> Table:
    return Table(own_server, DATABASE)


@pytest.fixture
def proxy(own_server: Server) -> Iterator[Proxy]:
    with proxy_to(own_server.port) as proxy:
        yield proxy


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_a_server_that_is_away_and_then_killed(
    rig: Rig, own_server: Server, url: str, table: Table, seconds: float
) -> None:
    rig.start(url)
    rig.wait_stored()
    own_server.stop()
    time.sleep(seconds)
    rig.wait(lambda: rig.spooled >= PVS * (seconds - 4))
    assert rig.health.database == "away"
    own_server.start()
    rig.wait(lambda: rig.health.database == "ok")
    own_server.kill9()
    rig.wait(lambda: rig.health.database == "away")
    own_server.start()
    rig.wait_stored()
    check_complete(table, rig.stop())


@pytest.mark.slow
def test_live_samples_do_not_wait_for_the_spool(
    rig: Rig, own_server: Server, url: str, table: Table, proxy: Proxy
) -> None:
    rig.start(through(proxy, own_server, url))
    rig.wait_stored()
    own_server.stop()
    rig.wait(lambda: rig.spooled > 8 * PVS)
    proxy.rate = 400e3  # twice of what comes in, about
    own_server.start()
    rig.wait(lambda: table.newest() > time.time() - 3 and rig.spooled > 4 * PVS)
    rig.wait_stored()
    check_complete(table, rig.stop())


def test_a_connection_that_is_cut_at_a_commit(
    rig: Rig, own_server: Server, url: str, table: Table, proxy: Proxy
) -> None:
    """After it, before it, and both again: what was committed is sent twice, what was not is sent once more."""
    rig.start(through(proxy, own_server, url))
    rig.wait_stored()
    for number, cut in enumerate([proxy.cut_after_commit, proxy.cut_before_commit] * 2, 1):
        cut()
        rig.wait(lambda number=number: proxy.cuts == number)
    rig.wait_stored()
    check_complete(table, rig.stop())
    assert "samples wait in" in rig.log


@pytest.mark.slow
def test_a_server_that_does_not_answer(rig: Rig, own_server: Server, url: str, table: Table, proxy: Proxy) -> None:
    rig.start(through(proxy, own_server, url))
    rig.wait_stored()
    before = rig.memory
    proxy.freeze()
    frozen = time.monotonic()
    rig.wait(lambda: rig.spooled)
    assert time.monotonic() - frozen < 5
    queues = []
    while time.monotonic() < frozen + 6:
        queues.append(rig.health.queue)
        time.sleep(0.2)
    assert rig.health.database == "slow"
    assert max(queues) <= 3 * PVS
    assert rig.memory - before < 30e6
    assert rig.spooled > 3 * PVS
    proxy.thaw()
    rig.wait_stored()
    check_complete(table, rig.stop())


@pytest.mark.slow
def test_an_archiver_that_starts_while_the_server_does_not_answer(
    rig: Rig, own_server: Server, url: str, table: Table, proxy: Proxy
) -> None:
    proxy.freeze()
    began = time.monotonic()
    rig.start(through(proxy, own_server, url))
    assert time.monotonic() - began < 15
    rig.wait(lambda: rig.spooled)
    proxy.thaw()
    rig.wait_stored()
    check_complete(table, rig.stop())


@pytest.mark.slow
def test_rights_that_are_taken_away_and_given_back(rig: Rig, own_server: Server, url: str, table: Table) -> None:
    rig.start(url)
    rig.wait_stored()
    own_server.execute(f"REVOKE INSERT ON {DATABASE}.* FROM {USER}", *disconnections(own_server))
    rig.wait(lambda: rig.spooled > 3 * PVS)
    assert "INSERT command denied" in rig.health.last_error
    own_server.execute(f"GRANT INSERT ON {DATABASE}.* TO {USER}")
    rig.wait_stored()
    check_complete(table, rig.stop())
    assert rig.log.count("INSERT command denied") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 2])
def test_an_archiver_that_is_killed_while_the_server_is_away(
    rig: Rig, own_server: Server, url: str, table: Table, kills: int
) -> None:
    rig.start(url)
    rig.wait_stored()
    own_server.stop()
    killed = []
    for _ in range(kills):
        spooled = rig.spooled
        rig.wait(lambda spooled=spooled: rig.spooled > spooled + 2 * PVS)
        killed.append(rig.kill9())
        time.sleep(1.5)  # so that no number is seen by both
        rig.start(url)
    rig.wait(lambda: rig.health.stored == 0 and rig.health.spool_rows)
    own_server.start()
    rig.wait_stored()
    rig.stop()
    pvs = table.runs()
    assert [len(runs) for runs in pvs] == [kills + 1] * PVS
    for number, when in enumerate(killed):
        newest = max(runs[number].times[-1] for runs in pvs)
        for runs in pvs:
            former, latter = runs[number : number + 2]
            check_consecutive(former)
            check_consecutive(latter)
            assert former.numbers[-1] < latter.numbers[0]
            assert when - 3 < former.times[-1] < former.ended < newest + 0.1 < latter.times[0]


def through(proxy: Proxy, server: Server, url: str) -> str:
    return url.replace(f":{server.port}/", f":{proxy.port}/")


def disconnections(server: Server) -> list[str]:
    """A right on a database is looked up when a connection is made."""
    found = server.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'")
    return [f"KILL {number}" for (number,) in found]
