"""The web server as a process: its socket, its limits, how it starts and stops."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import ssl
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from web.app import Served, application
from web.live.frames import FrameProtocol
from web.settings import WebSettings

# Sockets and requests at a time; more are answered with 503.
CONCURRENCY = 400
# Bytes of the first line and the headers of a request, at most.
HEADER_BYTES = 64 * 1024
# Milliseconds after which the kernel ends a connection whose far end takes nothing any more (tcp(7)).
STALLED_MS = 60_000
# Bytes of a message over a web socket: the names of a very large rack.
MESSAGE_BYTES = 2_000_000
# Seconds that a connection without a request stays open, and that requests may take to end when the server stops.
IDLE_S, STOP_S = 10, 3

# Seconds within which a request has to come whole, but for its body; and, before it, all that TLS says first.
REQUEST_S = 10.0
# Connections at a time, at most, with open files; fewer where fewer may be. Seconds between two that are told.
MOST, SELDOM_S = 2 * CONCURRENCY, 60.0
# Where a proxy may be, which uvicorn believes who it has asked for: it has one address for all of them.
PROXY = "127.0.0.1"

log = logging.getLogger(__name__)


class Protocol(H11Protocol):
    """A connection that is ended if its request does not come: uvicorn waits for one without end."""

    _waiting: asyncio.TimerHandle | None = None
    _is_web_socket = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the class above
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, or end that: a request is there."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the waiting."""
        super().connection_lost(exc)
        self._end_waiting()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Leave the connection to the protocol of web sockets, which is told when it is lost: this one is not."""
        super().handle_websocket_upgrade(event)
        self._is_web_socket = True

    def send_400_response(self, msg: str) -> None:
        """Say that a request is malformed; who was to answer it says no more: h11 would raise, with a traceback."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:  # it is answered, or half
            self.transport.close()

    def _end_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _watch(self) -> None:
        if self._answering() or self._is_web_socket:
            self._end_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(REQUEST_S, self._give_up)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _give_up(self) -> None:
        if not self._answering():
            self.transport.abort()


class Listener(socket.socket):
    """A listening socket that takes as many connections as there is room for, and closes the others.

    asyncio takes all, and logs thousands of tracebacks a second when no more files may be open. One address has three
    quarters of them at most, so that others are served meanwhile.
    """

    _told = -SELDOM_S

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._taken: WeakKeyDictionary[socket.socket, str] = WeakKeyDictionary()

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection. Raises BlockingIOError if there is none."""
        while True:
            taken, (host, *more) = super().accept()
            most = room()
            share = min(CONCURRENCY, most) * 3 // 4
            # the least that is free: so many files are open
            is_full = taken.fileno() >= most
            if not is_full and (host == PROXY or self._open(host) < share):
                self._taken[taken] = host
                return taken, (host, *more)
            taken.close()
            if time.monotonic() - self._told < SELDOM_S:
                continue
            self._told = time.monotonic()
            if is_full:
                log.warning("%s is refused: there is room for %d connections and files", host, most)
            else:
                log.warning("%s is refused: it has %d connections, and no one address has more", host, share)

    def _open(self, host: str) -> int:
        """Return how many connections of an address are open."""
        return sum(each.fileno() >= 0 for each, of in list(self._taken.items()) if of == host)


def room() -> int:
    """Return how many files, connections among them, there are at most before one more connection is refused."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if limit == resource.RLIM_INFINITY else min(MOST, limit * 3 // 4)


class Server(uvicorn.Server):
    """A server that waits for the beginning of TLS as long as for a request, and stops once."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        if self.config.ssl is not None:
            loop = asyncio.get_running_loop()
            loop.create_server = partial(loop.create_server, ssl_handshake_timeout=REQUEST_S)  # type: ignore[method-assign]
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; who asks once more does not end it in the middle of that, which leaves a traceback."""
        if not self.should_exit:
            super().handle_exit(sig, frame)


class _News(logging.Filter):
    """Leaves out lines with which anybody could fill the log; equal warnings are one a minute, with a count.

    uvicorn warns of what clients do alone. Its traceback of what is no UTF-8 is left out: who sends it is told.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}
        self._count: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written; it has how many there were since the last one."""
        message = record.getMessage()
        if record.levelno != logging.WARNING:
            return not message.startswith("Invalid UTF-8 sequence")
        self._count[message] += 1
        now = time.monotonic()
        if now - self._told.get(message, -SELDOM_S) < SELDOM_S:
            return False
        self._told[message] = now
        count = self._count.pop(message)
        if count > 1:
            record.msg, record.args = "%s (%d times since this was last written)", (message, count)
        return True


_NEWS = _News()


def main(served: Served) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP; return the exit code. Raises OSError if the port cannot be used."""
    gc.set_threshold(100_000, 50, 50)  # rows are many, and no cycles: looking for these takes a fourth of the time
    server = Server(configuration(served))

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn catches the first two while it serves, and passes them on when it has stopped
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, stop)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with listen(served.settings) as listener:
        log.info("listening at %s", served.settings.url)
        server.run([listener])
    return 0


def configuration(served: Served) -> uvicorn.Config:
    """Return the configuration of uvicorn. Raises LoginsError; OSError without certificate or key."""
    _check_certificate(served.settings)
    logging.getLogger("uvicorn.error").addFilter(_NEWS)
    return uvicorn.Config(
        application(served),
        http=Protocol,
        ws=FrameProtocol,
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ssl_certfile=served.settings.certificate,
        ssl_keyfile=served.settings.key,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONCURRENCY,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=STOP_S,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )


def _check_certificate(settings: WebSettings) -> None:
    """Raise OSError with the file that cannot be read, which ssl does not name, or a sentence."""
    if settings.certificate is None or settings.key is None:
        return
    for path in (settings.certificate, settings.key):
        with Path(path).open("rb"):
            pass
    try:
        # nobody can be asked for a password in the middle of a log, and a service has no terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.certificate, settings.key, _no_password)
    except ssl.SSLError as error:
        raise OSError(f"{settings.certificate} and {settings.key} are no certificate and its key: {error}") from error


def _no_password() -> str:
    raise OSError("the key of the web server's certificate has a password: it must be one without (openssl pkey)")


def listen(settings: WebSettings) -> socket.socket:
    """Return the listening socket. Raises OSError with a sentence."""
    try:
        family = socket.getaddrinfo(settings.address, settings.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((settings.address, settings.port), family=family, backlog=128)
    except OSError as error:
        raise OSError(
            f"the web server cannot listen on {settings.address} port {settings.port}: {error.strerror or error}"
        ) from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)  # of all that it accepts
    return Listener(listener.detach())
