"""The progress of a long command on stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

# Seconds from one line to the next: on a terminal the line is written over.
TERMINAL_S, FILE_S = 0.2, 10.0
# Seconds before there is a line at all.
PATIENCE_S = 1.0


class Progress:
    """A line with how much is done, how fast, and how long the rest will take; also for a log file."""

    def __init__(self, err: TextIO) -> None:
        self._err = err
        self._begin = time.monotonic()
        self._first: int | None = None
        self._due = self._begin + PATIENCE_S
        self._shown = False

    def report(self, done: int, total: int) -> None:
        """Show how much is done, and of how much."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._begin = done, now
            return
        if now < self._due:
            return
        self._due = now + (TERMINAL_S if self._err.isatty() else FILE_S)
        rate = (done - self._first) / max(now - self._begin, 1e-3)
        left = f", {(total - done) / rate:,.0f} s left" if rate > 0 else ""
        line = f"{done:,} of {total:,} ({done / max(total, 1):.0%}), {rate:,.0f} /s{left}"
        self._err.write(f"\r{line}\x1b[K" if self._err.isatty() else f"{line}\n")
        self._err.flush()
        self._shown = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown and self._err.isatty():
            self._err.write("\r\x1b[K")
