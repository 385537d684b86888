"""Clients that are slow, many, or gone: the server's memory is bounded, and others are answered meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from archiver.sample import Sample
from archiver.storage.database import open_store
from bench.rig.loopback import free_port
from tests.small_ioc import until
from tests.web.served import BEGIN, SECOND, Served, iso
from web import server
from web.retrieval import answers
from web.settings import WebSettings

ROWS = 200_000
ALL = urlencode({"pv": "T:MANY", "from": iso(BEGIN), "to": iso(BEGIN + ROWS * SECOND)})
MB = 1_000_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("web")
    database = f"sqlite:///{folder}/rack.sqlite"
    with closing(open_store(database)) as store:
        for begin in range(0, ROWS, 20_000):
            rows = range(begin, begin + 20_000)
            store.add([Sample("T:MANY", BEGIN + i * SECOND, i / 7, 0, "NO_ALARM") for i in rows])
    served = Served(folder, database)
    yield served
    served.close()


def stalled(served: Served) -> socket.socket:
    """A client that asks for 17 MB and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", served.port))
    client.sendall(f"GET /retrieval/data/getData.json?{ALL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def test_clients_that_do_not_read_take_no_memory_and_hold_up_nobody(served: Served) -> None:
    assert (
        served.get("/data/getData.json", pv="T:MANY", from_=iso(BEGIN), to=iso(BEGIN + 1000 * SECOND)).status == 200
    )
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(stalled(served)) for _ in range(12)]
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"
        assert served.memory < 350 * MB
        began = time.monotonic()
        assert (
            served.get("/data/getData.raw", pv="T:MANY", from_=iso(BEGIN), to=iso(BEGIN + 9 * SECOND)).status == 200
        )
        assert time.monotonic() - began < 30  # also on a computer that does much else
    until(lambda: served.get("/data/getData.raw", pv="T:MANY").status == 200, 10)


def test_many_sockets_that_say_nothing_hold_up_nobody(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
        assert served.get("/bpl/getMatchingPVs", pv="*").json() == ["T:MANY"]


def test_one_address_that_has_all_connections_that_it_may_leaves_room_for_others(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(server.CONCURRENCY + 20):
            stack.enter_context(socket.create_connection(("127.0.0.1", served.port), source_address=("127.0.0.2", 0)))
        assert served.get("/bpl/getMatchingPVs", pv="*").json() == ["T:MANY"]
    assert served.log.read_text().count("127.0.0.2 is refused: it has 300 connections") == 1
    with socket.create_connection(("127.0.0.1", served.port), 10, source_address=("127.0.0.2", 0)) as client:
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_goes_away_ends_its_reading(served: Served) -> None:
    for _ in range(answers.OPEN + 10):
        with stalled(served) as client:
            client.recv(1)
    assert served.get("/data/getData.raw", pv="T:MANY").status == 200


def test_an_answer_has_all_samples_however_long(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request("GET", f"/retrieval/data/getData.csv?{ALL}")
    lines = connection.getresponse().read().splitlines()
    connection.close()
    assert len(lines) == ROWS
    assert lines[-1] == f"{BEGIN // SECOND + ROWS - 1},{(ROWS - 1) / 7!r},0,0,0".encode()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("path", "status"), [("/retrieval/data/getDataAtTime", 413), ("/api/login", 413), ("/nowhere", 404)]
)
def test_who_sends_far_too_much_is_answered_before_the_connection_ends(
    served: Served, path: str, status: int, chunked: bool
) -> None:
    size, piece = 32 * MB, b" " * 64_000
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    with socket.create_connection(("127.0.0.1", served.port), 20) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{length}"
        client.sendall(f"{head}\r\n\r\n".encode())
        for _ in range(size // len(piece)):
            client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            client.sendall(b"0\r\n\r\n")
        with client.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 %d " % status)
    assert served.memory < 350 * MB


def test_the_kernel_ends_a_connection_that_takes_nothing() -> None:
    with server.listen(WebSettings(port=free_port())) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == server.STALLED_MS


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", b"GET /retrieval/ping HTTP/1.1\r\nHost: x\r\n"])
def test_a_request_that_does_not_come_is_not_waited_for(served: Served, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=server.REQUEST_S + 10) as client:
        client.sendall(sent)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert client.recv(100) == b""
        assert time.monotonic() - began > server.REQUEST_S / 2


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True])
def test_more_sockets_than_there_may_be_files_fill_no_log_and_hold_up_others_for_seconds(
    tmp_path: Path, secure: bool
) -> None:
    port = free_port()
    keys = {"certificate": "cert.pem", "key": "key.pem"} if secure else {}
    config = {"prefix": "T:", "instruments": {"TC1": {"driver": "se521"}}, "web": {"port": port, **keys}}
    (tmp_path / "rack.yaml").write_text(json.dumps(config))
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    trusting = ssl._create_unverified_context()
    url = f"http{'s' if secure else ''}://127.0.0.1:{port}/ping"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2, context=trusting if secure else None) as answer:
                return bool(answer.read() == b"Pong\n")
        except OSError:
            return False

    limited = ("prlimit", "--nofile=200", sys.executable, "-P", "-m", "rackioc", "web", "rack.yaml")
    log = tmp_path / "log"
    with log.open("wb") as out, subprocess.Popen(limited, cwd=tmp_path, stderr=out) as process:
        try:
            until(answers, 20)
            with contextlib.ExitStack() as stack:
                for _ in range(300):
                    stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                until(lambda: not answers(), 5)
                until(answers, server.REQUEST_S + 10)
        finally:
            process.terminate()
            assert process.wait(20) == 0
    assert "Traceback" not in log.read_text()
    assert log.read_text().count("is refused: there is room for 150 connections and files") == 1
