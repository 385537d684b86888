"""The standard streams: a closed one leaves its number to no other file; output that takes nothing says so."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Output(io.FileIO):
    """Standard output, whose errors name it. One is enough: what comes after it is dropped, also at the end."""

    def __init__(self, *, is_closed: bool) -> None:
        super().__init__(1, "w", closefd=False)
        self._closed_before = is_closed
        self._failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes. Raises OSError, once."""
        if self._failed:
            return memoryview(data).nbytes
        try:
            if self._closed_before:
                raise OSError(errno.EBADF, "it is closed")
            return super().write(data)
        except OSError as error:
            self._failed = True
            error.filename = "standard output"
            raise


def hold() -> None:
    """Put the null device in the place of closed streams, and see to it that failed output is told.

    Else the next file that is opened, such as a serial line or the spool, would have the number 1 or 2, and get what
    libraries in C print.
    """
    was_closed = [_is_closed(number) for number in range(3)]
    for _ in range(sum(was_closed)):
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # under the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    old = sys.stdout
    raw = io.BufferedWriter(_Output(is_closed=was_closed[1]))
    if old is None:
        sys.stdout = io.TextIOWrapper(raw, encoding="utf-8")
    elif isinstance(old, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(
            raw, old.encoding, old.errors, line_buffering=old.line_buffering, write_through=old.write_through
        )


def keep() -> None:
    """Leave the streams to no program that a library starts; for a process that starts none itself.

    libca starts a caRepeater where one is found, which stays: that of an older EPICS base keeps what it was started
    with, and who reads our output through a pipe would never see its end.
    """
    for number in range(3):
        os.set_inheritable(number, False)


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False
