"""How the C library gives the memory of large arrays back."""

from __future__ import annotations

import ctypes

# mallopt(3), of glibc: the bytes from which on each block has pages of its own, which go back when it is freed.
_M_MMAP_THRESHOLD = -3
_LARGE = 128 * 1024


def give_back_large_blocks() -> None:
    """Keep the threshold where it is at the start.

    By itself glibc raises it to the largest block that was freed: from then on large arrays share the heap with
    objects that live on, and what is freed between these stays the process's. With a backlog of 200 arrays of
    100,000 doubles the heap of an archiver grew to twice of what it held.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, nor this behaviour
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
