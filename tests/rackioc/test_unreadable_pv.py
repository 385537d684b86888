"""A server that carries out puts and answers no read: in a file of its own, for no other may share its UDP port."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.rig.loopback import environment
from tests.rackioc.test_channel import run
from tests.small_ioc import until

SERVER = """
from caproto.server import PVGroup, pvproperty, run

class Unreadable(PVGroup):
    off = pvproperty(value=0, name="off")

    @off.getter
    async def off(self, instance):
        raise RuntimeError

    @off.putter
    async def off(self, instance, value):
        print("put", value, flush=True)

run(Unreadable(prefix="UNREADABLE:").pvdb)
"""


@pytest.mark.parametrize("terse", [[], ["-t"]])
def test_an_off_is_put_though_the_value_of_before_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, terse: list[str]
) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with server:
        try:
            until(lambda: run("info", "-w", "1", "UNREADABLE:off")[0] == 0, 30)
            code, lines, said = run("put", "UNREADABLE:off", "1", *terse)
        finally:
            server.kill()
        assert server.stdout is not None
        assert server.stdout.read() == "put 1\n"
    assert (code, lines) == (0, [])
    assert said.startswith("rackioc: UNREADABLE:off was not read: ")
