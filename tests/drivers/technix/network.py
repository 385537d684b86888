"""A generator behind a network that goes away: a program for a network namespace of its own, where lo may be down.

``unshare -Urn python -P -m tests.drivers.technix.network SCHEME DIRECTORY MOST``; prints what the generator heard.
The terminal server serves ``one`` connection at a time, or ``many``.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from drivers.base import DeviceError
from drivers.technix.line import Line
from drivers.technix.watchdog import Watchdog
from sim.technix.fake import TechnixFake
from sim.technix.generator import Generator
from tests.drivers.technix.test_urls import ServerPort, TerminalServer

# Seconds for which the network is away, and after its return: the system repeats a packet after 0.2, 0.6, 1.4, 3.0
# and 6.2 s
AWAY, AFTER = 3.3, 4.0


class Server(TerminalServer):
    """A terminal server that serves several connections at a time: nothing tells it that one is over."""

    def _serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            self._connection = connection
            port = ServerPort(self._path, 9600, timeout=0.01)
            threading.Thread(target=self._bridge, args=(connection, port), daemon=True).start()


def main(scheme: str, directory: str, most: str) -> None:
    """Lose a command in the network, open the line anew when it is back, and wait for the command."""
    network("up")
    fake = TechnixFake(str(Path(directory) / "port"), Generator())
    fake.plug()
    kind = TerminalServer if most == "one" else Server
    server = kind(fake.port, rfc2217=scheme == "rfc2217")
    line = Line(server.url, Watchdog())
    line.open()
    line.ask("E")
    network("down")
    with suppress(DeviceError):
        line.ask("d1,2457")
    time.sleep(AWAY)
    line.close()
    network("up")
    open_again(line)
    line.ask("d1,819")
    time.sleep(AFTER)
    sys.stdout.write(json.dumps([event.value for event in fake.events.since(0)[1] if event.what == "heard"]))
    sys.stdout.flush()
    os._exit(0)  # with connections and threads that nothing ends


def open_again(line: Line) -> None:
    """Open the line until it answers, as after a loss."""
    for _ in range(5):
        with suppress(DeviceError):
            line.open()
            line.ask("E")
            return
        line.close()
        time.sleep(1.0)


def network(state: str) -> None:
    """Take the network up or down."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
