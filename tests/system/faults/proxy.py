"""A stretch of network between the archiver and a MariaDB server that can be broken at a chosen moment."""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

# The packet: length, number, COM_QUERY, and the statement
COMMIT = b"\x07\x00\x00\x00\x03COMMIT"

POLL = 0.05
CHUNK = 1 << 16


class Proxy:
    """Forwards each connection to its port until it is told to cut or to freeze."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(POLL)
        self._flowing = threading.Event()
        self._flowing.set()
        self._ended = threading.Event()
        self._cut: Callable[[socket.socket], None] | None = None
        self.cuts = 0
        self.rate = math.inf  # bytes/s to the server, at most
        self.lag = 0.0  # seconds that what the server says waits, at least
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut_after_commit(self) -> None:
        """The next commit of samples reaches the server and is done there, but the answer is lost."""

        def forward(server: socket.socket) -> None:
            server.sendall(COMMIT)
            assert server.recv(CHUNK)

        self._cut = forward

    def cut_before_commit(self) -> None:
        """The next commit of samples does not reach the server."""
        self._cut = lambda server: None

    def freeze(self) -> None:
        """Nothing is forwarded any more; the connections stay open."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self._ended.set()
        self._flowing.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=[client])
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._server_port))
            with closing(server):
                self._forward(client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Until one side ends, or a cut."""
        other = {client: server, server: client}
        samples = False
        while not self._ended.is_set():
            for readable in select.select(other, [], [], POLL)[0]:
                data = readable.recv(CHUNK)
                self._flowing.wait()
                if not data:
                    return
                samples |= b"INSERT INTO sample " in data
                if data == COMMIT:
                    if samples and (cut := self._take_cut()):
                        cut(server)
                        self.cuts += 1
                        return
                    samples = False
                if readable is server:
                    time.sleep(self.lag)
                other[readable].sendall(data)
                if readable is client:
                    time.sleep(len(data) / self.rate)

    def _take_cut(self) -> Callable[[socket.socket], None] | None:
        cut, self._cut = self._cut, None
        return cut


@contextmanager
def proxy_to(server_port: int) -> Iterator[Proxy]:
    with closing(Proxy(server_port)) as proxy:
        yield proxy
