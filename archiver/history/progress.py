"""The progress bar of a long query."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol, TextIO, TypeVar

from rich.console import Console
from rich.progress import Progress

from archiver.history.query import Window

# After which the bar is shown, and from one of its updates to the next.
PATIENCE_S = 1.0
PERIOD_S = 0.2


class _Timed(Protocol):
    """What has a time (ns)."""

    @property
    def time_ns(self) -> int: ...


T = TypeVar("T", bound=_Timed)


def with_progress(items: Iterator[T], window: Window, err: TextIO | None) -> Iterator[T]:
    """Yield the items; if it takes longer than PATIENCE_S, show on ``err`` how much of the window has been read.

    ``err`` is a terminal, or None.
    """
    if err is None:
        yield from items
        return
    begin_ns, end_ns = window.since_ns, window.until_ns
    due = time.monotonic() + PATIENCE_S
    with ExitStack() as stack:
        bar = None
        for item in items:
            begin_ns = item.time_ns if begin_ns is None else begin_ns
            if time.monotonic() > due:
                bar = bar or stack.enter_context(_bar(err))
                _show(bar, (item.time_ns - begin_ns) / max(1, end_ns - begin_ns))
                due = time.monotonic() + PERIOD_S
            yield item


def _bar(err: TextIO) -> Progress:
    """Return a bar that is removed when it is done and does not redirect what is printed meanwhile."""
    return Progress(console=Console(file=err), transient=True, redirect_stdout=False, redirect_stderr=False)


def _show(bar: Progress, fraction: float) -> None:
    if not bar.task_ids:
        bar.add_task("reading", total=1.0)
    bar.update(bar.task_ids[0], completed=min(1.0, max(0.0, fraction)))
