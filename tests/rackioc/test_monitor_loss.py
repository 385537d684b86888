"""A server that a monitor loses: in a file of its own, for no other server may share its UDP port."""

from __future__ import annotations

import select
import signal
import subprocess

from tests.rackioc.test_channel import COMMAND
from tests.small_ioc import SmallIoc


def test_the_loss_of_a_monitored_pv_is_told() -> None:
    ioc = SmallIoc()
    ioc.post("ai", 1.25)
    name = f"{ioc.prefix}ai"
    with subprocess.Popen([*COMMAND, "monitor", name], stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(" 1.25\n")
        ioc.close()
        told = process.stdout.readline() if select.select([process.stdout], [], [], 20)[0] else ""
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert told == f"{name:<30} *** Disconnected\n"
