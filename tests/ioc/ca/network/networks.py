"""Beacons in networks that come and go: a program for a network namespace of its own.

``unshare -Urn python -P -m tests.ioc.ca.network.networks SERVER``; SERVER: rackioc or softioc. Prints for each stage
the networks in which the server's beacons are heard. There is no default route, as in many a control network.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress

from epicscorelibs.ioc import start_ioc

from ioc.ca.server import Server

HEADER = struct.Struct(">HHHHII")
IS_UP, PORT = 13, 5065
# Seconds in which the beacons of a network are waited for; they come at least so often
HEARD, PERIOD = 2.0, 0.3
# Interface -> its network; the computer is the first in it
NETWORKS = {"one": "10.9.1", "two": "10.9.2"}


def main(kind: str) -> None:
    """Serve in one network, let another come, and take the first away."""
    os.environ.update(EPICS_CAS_BEACON_PERIOD=str(PERIOD), EPICS_CA_BEACON_PERIOD=str(PERIOD))
    ip("link", "set", "lo", "up")
    add("one")
    if kind == "softioc":
        add("two")  # base looks at its networks at the start
        start_ioc()
    else:
        threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    stages = [heard()]
    if kind != "softioc":
        add("two")
        stages.append(heard())
        ip("link", "set", "one", "down")
        stages.append(heard())
        ip("link", "set", "one", "up")
        stages.append(heard())
    sys.stdout.write(json.dumps(stages))
    sys.stdout.flush()
    os._exit(0)  # with servers that nothing ends


async def serve() -> None:
    """Serve nothing."""
    await Server().run()


def heard() -> list[str]:
    """Return the networks that bring a beacon from now on: one comes from the server's address there."""
    found: set[str] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", PORT))
        listener.settimeout(PERIOD)
        end = time.monotonic() + HEARD
        while time.monotonic() < end and len(found) < len(NETWORKS):
            with suppress(TimeoutError):
                data, (sender, _) = listener.recvfrom(1024)
                check(data)
                found |= {name for name, network in NETWORKS.items() if sender == f"{network}.1"}
    return sorted(found)


def check(beacon: bytes) -> None:
    """Fail unless it is a beacon that leaves the server's address to be that of the datagram."""
    command, size, version, port, _, address = HEADER.unpack(beacon)
    assert (command, size, version, address) == (IS_UP, 0, 13, 0)
    assert port


def add(name: str) -> None:
    """Let a network come."""
    ip("link", "add", name, "type", "veth", "peer", f"{name}-far")
    ip("link", "set", f"{name}-far", "up")
    ip("addr", "add", f"{NETWORKS[name]}.1/24", "brd", "+", "dev", name)
    ip("link", "set", name, "up")


def ip(*words: str) -> None:
    """Configure the network."""
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
