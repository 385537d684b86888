"""A serial port under a stable name: a pty behind a symlink, which can be pulled out and put back."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import tempfile
import threading
import time
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress

# The lock by which one PtyPort knows another: that of an open file, which ends with it, and none of the locks by
# which clients have a serial line for themselves (flock). struct flock: kind, whence, start, length, process.
_KIND = struct.Struct("h")
_WHOLE = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class PtyPort:
    """The far end of a serial line, from plug to unplug.

    One thread reads, waits and writes; ``close`` may be called from another: the first then comes to its end.
    ``terminator`` ends each line that the instrument reads.
    """

    def __init__(self, path: str, terminator: bytes = b"\r") -> None:
        _refuse_what_is_there(path)
        self.path = path
        self._terminator = terminator
        self._master, self._slave = pty.openpty()  # the slave stays open, so that a client may come and go
        tty.setraw(self._slave)
        fcntl.fcntl(self._slave, fcntl.F_OFD_SETLK, _WHOLE)
        os.set_blocking(self._master, False)
        self._wake, self._waker = os.pipe()
        self._pending = b""
        self._noise: Callable[[], bytes] | None = None
        self._noise_interval = 0.0
        self._noise_at = 0.0
        self.closed = False
        self._closing = threading.Lock()  # the files must not be closed, and reused, while close wakes who serves
        _link(os.ttyname(self._slave), path)

    def read_line(self) -> bytes | None:
        """Wait for a whole line and return it without its terminator; None once the port is closed."""
        while self._terminator not in self._pending:
            if not self._more(None):
                return None
        line, _, self._pending = self._pending.partition(self._terminator)
        return line

    def read_bytes(self, count: int, silence: float | None = None) -> bytes | None:
        """Wait for so many bytes of a binary protocol and return them; None once the port is closed.

        ``silence``: seconds after which no byte more belongs to those that came; fewer are returned then, or none.
        """
        while len(self._pending) < count:
            before = len(self._pending)
            if not self._more(silence):
                return None
            if silence is not None and len(self._pending) == before:
                break
        data, self._pending = self._pending[:count], self._pending[count:]
        return data

    def _more(self, seconds: float | None) -> bool:
        """Wait for bytes, or until something else is to be done; return False once the port is closed."""
        ready = self._select([self._master], seconds)
        if self._master in ready and not self.closed:
            self._pending += os.read(self._master, 4096)
        return not self.closed

    def wait(self, seconds: float) -> None:
        """Sleep, or less when the port is closed meanwhile."""
        end = time.monotonic() + seconds
        while not self.closed and (left := end - time.monotonic()) > 0:
            self._select([], left)

    def _select(self, fds: Sequence[int], seconds: float | None) -> Sequence[int]:
        """Return what can be read of ``fds``, at the latest after some seconds; send noise when that is due."""
        now = time.monotonic()
        if self._noise is not None:
            if now >= self._noise_at:
                self.write(self._noise())
                self._noise_at = now + self._noise_interval
            until_noise = self._noise_at - now
            seconds = until_noise if seconds is None else min(seconds, until_noise)
        ready, _, _ = select.select([*fds, self._wake], [], [], seconds)
        if self._wake in ready and not self.closed:
            os.read(self._wake, 1)  # only the noise has changed
        return ready

    def make_noise(self, noise: Callable[[], bytes] | None, interval: float) -> None:
        """Send bytes that nobody asked for at an interval in seconds, from now on; None: no more."""
        self._noise, self._noise_interval, self._noise_at = noise, interval, 0.0
        os.write(self._waker, b"x")

    def write(self, data: bytes) -> None:
        """Send bytes; what nobody reads is lost, as on a real line."""
        with suppress(BlockingIOError):
            os.write(self._master, data)

    def close(self) -> None:
        """Remove the line: clients read end of file, and the name vanishes."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        with self._closing:
            self.closed = True
            os.write(self._waker, b"x")

    def release(self) -> None:
        """Close the files; called by the thread that serves the port, once it is done."""
        with self._closing:
            for fd in (self._master, self._slave, self._wake, self._waker):
                os.close(fd)


def _refuse_what_is_there(path: str) -> None:
    """Raise RuntimeError unless the path is free or a symlink to a pty, left behind by a run that was killed."""
    if "://" in path:
        raise RuntimeError(f"{path} is a URL; a simulated port needs a path, such as /tmp/rack/generator")
    if os.path.lexists(path) and not (os.path.islink(path) and os.readlink(path).startswith("/dev/pts/")):
        raise RuntimeError(f"{path} exists and is not a simulated port; choose another port for the simulation")
    if os.path.lexists(path) and _lives(path):
        raise RuntimeError(f"{path} is the line of a simulation that runs: stop that one first")


def _lives(path: str) -> bool:
    """Return True if somebody has the pty behind a symlink as the far end of a line."""
    try:
        line = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:  # it is gone, or somebody else's
        return False
    try:
        found = fcntl.fcntl(line, fcntl.F_OFD_GETLK, _WHOLE)
    finally:
        os.close(line)
    return found[: _KIND.size] != _KIND.pack(fcntl.F_UNLCK)


def _link(target: str, path: str) -> None:
    """Put the symlink in place in one step, so that no client sees half of it."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        link = os.path.join(scratch, "link")
        os.symlink(target, link)
        os.replace(link, path)
