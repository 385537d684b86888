"""The program of cothread."""

from __future__ import annotations

import sys
import threading
from typing import Any

import cothread
from cothread import catools as ca

from tests.clients.programs import augmented, lines


class Cothread:
    """Functions that wait in a cooperative thread."""

    def get(self, name: str) -> dict[str, Any]:
        return augmented.told(ca.caget(name, format=ca.FORMAT_CTRL))

    def put(self, name: str, value: Any) -> None:
        ca.caput(name, value, wait=True, timeout=10)

    def monitor(self, *names: str) -> None:
        augmented.monitor(ca, names)


def listen(client: Cothread) -> None:
    """Read in a thread of the system: the cooperative ones stand still while one of them waits for a line."""
    for line in sys.stdin:
        cothread.Callback(cothread.Spawn, lines.answer, client, line)
    cothread.Callback(cothread.Quit)


if __name__ == "__main__":
    threading.Thread(target=listen, args=(Cothread(),)).start()
    cothread.WaitForQuit()
