"""The control channel: commands for the fake instruments of a running process, over a Unix socket.

INSTRUMENT COMMAND [args]   ->   ok [text]   or   error sentence
list                             the instruments
help, INSTRUMENT help            the commands, one a line
"""

from __future__ import annotations

import os
import socket
import socketserver
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sim.fake import CommandError, Fake


def send(path: str, line: str) -> str:
    """Send one line to the control channel and return the text after ``ok``, which may have several lines.

    Raises CommandError after ``error``.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        with connection.makefile("rw", encoding="utf-8") as stream:
            stream.write(line + "\n")
            stream.flush()
            connection.shutdown(socket.SHUT_WR)  # no further line follows: the answer ends where the stream does
            verdict, _, text = stream.read().rstrip("\n").partition(" ")
    if verdict != "ok":
        raise CommandError(text or "the control channel closed without an answer")
    return text


class Commander:
    """The commands of several fake instruments, by their names."""

    def __init__(self, fakes: Mapping[str, Fake[Any]]) -> None:
        self.fakes = fakes

    def run(self, line: str) -> str:
        """Carry out a line and return the text of its answer. Raises CommandError."""
        name, _, rest = line.strip().partition(" ")
        if name in ("", "help"):
            return "INSTRUMENT COMMAND [args]; INSTRUMENT help shows the commands, list shows the instruments"
        if name == "list":
            return " ".join(f"{name}:{fake.driver}" for name, fake in self.fakes.items())
        if name not in self.fakes:
            raise CommandError(f"{name} is not a simulated instrument; there are: {', '.join(self.fakes)}")
        return self.fakes[name].run(rest)

    def answer(self, line: str) -> str:
        """Carry out a line and return the line that is sent back."""
        try:
            return f"ok {self.run(line)}".rstrip()
        except CommandError as error:
            return f"error {error}"


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(self.server.commander.answer(line.decode()).encode() + b"\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    commander: Commander


class Control:
    """The control channel of some fake instruments, served until closed."""

    def __init__(self, fakes: Mapping[str, Fake[Any]], path: str) -> None:
        self.path = path
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        _make_free(path)
        try:
            self._server = _Server(path, _Handler)
        except OSError as error:
            raise RuntimeError(f"{path} cannot be the control channel: {error.strerror or error}") from error
        self._server.commander = Commander(fakes)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and remove the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with suppress(FileNotFoundError):
            os.unlink(self.path)


def _make_free(path: str) -> None:
    """Remove a socket that was left behind by a process that was killed; nothing else that is there.

    Raises RuntimeError for all else: the path may be a file of the user's, or the socket of a program that runs.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # there is none, or the socket cannot be made either, which says why
        return
    if not stat.S_ISSOCK(mode):
        raise RuntimeError(f"{path} exists and is not a control channel; give another --control-path")
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except ConnectionRefusedError:  # nobody listens
            os.unlink(path)
        except OSError as error:  # that of another kind of program, or of another user
            raise RuntimeError(f"{path} cannot be the control channel: {error.strerror or error}") from error
        else:
            raise RuntimeError(
                f"another simulation uses {path}: stop it first, or give this one another --control-path"
            )
