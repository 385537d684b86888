"""Scans and puts of a driver without a port: each step is done when the pause before it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator

from drivers.base import Array, Reading, Readings, Step, Value, Wait


def blocks(steps: Iterator[Step]) -> Iterator[Readings]:
    """Yield what is read, and wait where a port would do other things."""
    for step in steps:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
        else:
            yield step


def merged(steps: Iterator[Step]) -> dict[str, Value | Array | Reading]:
    """Return all that is read."""
    return {name: value for block in blocks(steps) for name, value in block.items()}
