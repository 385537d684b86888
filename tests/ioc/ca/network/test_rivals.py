"""Another server with our names is noticed before the first port is opened."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest

from ioc.ca.network import rivals
from tests.small_ioc import SmallIoc


def port() -> int:
    return int(os.environ["EPICS_CA_SERVER_PORT"])


def test_a_living_server_of_a_name_is_found_and_refused(small_ioc: SmallIoc) -> None:
    name = small_ioc.prefix + "ao"
    assert rivals.find([small_ioc.prefix + "other", name], port()) == {name: ("127.0.0.1", small_ioc.server.port)}
    with pytest.raises(OSError, match=rf"{name} is served already, by 127.0.0.1:\d+; stop that server, go"):
        asyncio.run(rivals.refuse([name], port(), "go"))


def test_a_name_that_nobody_serves_is_free(small_ioc: SmallIoc) -> None:
    asyncio.run(rivals.refuse([f"{small_ioc.prefix}free{number}" for number in range(100)], port(), "go"))


def test_a_name_server_that_speaks_for_the_dead_is_no_rival() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as teller, socket.socket() as unused:
        teller.bind(("127.0.0.1", 0))
        unused.bind(("127.0.0.1", 0))  # bound, not listening: a connection is refused

        def tell() -> None:
            from ioc.ca.network.search import answer, answers

            datagram, asker = teller.recvfrom(65536)
            teller.sendto(answer(answers(datagram, lambda name: True, unused.getsockname()[1])), asker)

        threading.Thread(target=tell, daemon=True).start()
        asyncio.run(rivals.refuse(["GONE:PV"], teller.getsockname()[1], "go"))
