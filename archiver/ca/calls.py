"""The calls that libca's threads leave for the thread that polls: a queue in memory, and behind it on disk."""

from __future__ import annotations

import pickle
import shutil
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

# Bytes that may wait in memory, and what a call takes beside its value.
LIMIT = 64_000_000
OVERHEAD = 250
# Bytes of a piece that is written to disk and read from it at once.
PIECE = 4_000_000
# Seconds after which a disk that was full is tried again.
FULL_PERIOD = 1.0
# Bytes of an update in which its time stamp is (see dbr.py).
HEAD = 16
# Seconds without a call that are remembered.
SILENCE = 1.0

# In the place of an ECA status: updates were dropped, the second argument is ``Dropped``.
LOST = -1


class Call(NamedTuple):
    """The number of a handler, its two arguments, and when libca called (seconds since 1970)."""

    handler: int
    first: int
    second: Any
    time: float

    @property
    def size(self) -> int:
        """Return the bytes in memory, about."""
        return OVERHEAD + (len(self.second) if isinstance(self.second, bytes) else 0)


class Dropped(NamedTuple):
    """Updates of a subscription for which there was no room; the last of them is kept, as the value in force.

    more     how many there were before the last one
    first    the head of the first one, with its time stamp
    last     the last one
    """

    more: int
    first: bytes
    last: bytes


class _Piece(NamedTuple):
    """Calls in the file: where, how many, and when the first one came."""

    offset: int
    length: int
    calls: int
    time: float


class Overflow:
    """A file without a name, for what has no room in memory; it is gone when the process ends.

    ``limit``: its largest size; ``floor``: the disk space that is to stay free.
    """

    def __init__(self, folder: Path, limit: float, floor: float) -> None:
        self._folder = folder
        self._limit = limit
        self._floor = floor
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - open as long as the queue is used
        self._full_until = 0.0
        self.size = 0

    def write(self, calls: list[Call]) -> _Piece | None:
        """Append calls; None if the disk has no room for them, which is asked once a second."""
        if time.monotonic() < self._full_until:
            return None
        try:
            full = self.size > self._limit or shutil.disk_usage(self._folder).free < self._floor
            data = b"" if full else pickle.dumps([tuple(call) for call in calls], protocol=5)
            self._file.seek(self.size)
            full = full or self._file.write(data) < len(data)
        except OSError:
            full = True
        if full:
            self._full_until = time.monotonic() + FULL_PERIOD
            return None
        piece = _Piece(self.size, len(data), len(calls), calls[0].time)
        self.size += len(data)
        return piece

    def read(self, piece: _Piece) -> list[Call]:
        """Return the calls of a piece."""
        self._file.seek(piece.offset)
        return [Call(*each) for each in pickle.loads(self._file.read(piece.length))]

    def clear(self) -> None:
        """Free the disk space: all pieces were read."""
        self._file.truncate(0)
        self.size = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CallQueue:
    """A queue that libca's threads fill and one thread empties: its head in memory, what came later on disk.

    When the disk is full, too, updates of subscriptions (``droppable`` holds their numbers) are dropped, the newest
    first, and their handlers are called with LOST before the next one. Whatever else comes is always taken.

    lost    updates that were dropped
    size    bytes in memory, about
    """

    def __init__(self, limit: int = LIMIT, overflow: Overflow | None = None) -> None:
        self._limit = limit
        self._overflow = overflow
        self._head: deque[Call] = deque()
        self._pieces: deque[_Piece] = deque()
        self._tail: list[Call] = []
        self._tail_size = 0
        self._on_disk = 0
        self._dropped: dict[int, Dropped] = {}
        self._came = time.time()
        self._silence = (0.0, 0.0)
        self._lock = threading.Lock()
        self.droppable: set[int] = set()
        self.size = 0
        self.lost = 0

    def __len__(self) -> int:
        """Return the number of calls that wait."""
        return len(self._head) + self._on_disk + len(self._tail)

    @property
    def oldest(self) -> float | None:
        """Return when the oldest call came (seconds since 1970), None if there is none."""
        with self._lock:
            for place in (self._head, self._pieces, self._tail):
                if place:
                    return place[0].time
            return None

    def put(self, number: int, first: int, second: Any) -> None:
        """Append a call, in any case unless it is of a subscription."""
        call = Call(number, first, second, time.time())
        with self._lock:
            if call.time - self._came > SILENCE:
                self._silence = (self._came, call.time)
            self._came = call.time
            droppable = number in self.droppable and bool(second)
            if droppable and self.size + call.size > self._limit and not self._spill():
                self._drop(number, second)
                return
            if droppable and number in self._dropped:
                self._append(Call(number, LOST, self._dropped.pop(number), call.time))
            self._append(call)

    def silence(self, now: float) -> tuple[float, float]:
        """Return from when until when nothing came, the last time for SILENCE or longer (seconds since 1970)."""
        with self._lock:
            return (self._came, now) if now - self._came > SILENCE else self._silence

    def take(self, most: int) -> list[Call]:
        """Remove and return the oldest calls; when no others are left, what was dropped of each subscription.

        They are not counted any more: at most PIECE bytes, and the call that exceeds these.
        """
        with self._lock:
            calls: list[Call] = []
            taken = 0
            while len(calls) < most and taken < PIECE and (self._head or self._refill()):
                call = self._head.popleft()
                calls.append(call)
                taken += call.size
            self.size -= taken
            if not calls and self._dropped:
                now = time.time()
                calls = [Call(number, LOST, dropped, now) for number, dropped in self._dropped.items()]
                self._dropped.clear()
            return calls

    def end(self, number: int) -> Dropped | None:
        """Return what was dropped of a subscription that has ended and its handler was not called for."""
        with self._lock:
            self.droppable.discard(number)
            return self._dropped.pop(number, None)

    def _append(self, call: Call) -> None:
        """Append behind what came before: once something is on disk all goes there."""
        self.size += call.size
        if self._pieces or self._tail or self.size > self._limit - PIECE:
            self._tail.append(call)
            self._tail_size += call.size
            if self._tail_size >= PIECE:
                self._spill()
        else:
            self._head.append(call)

    def _spill(self) -> bool:
        """Write the tail to disk; False if that cannot be done."""
        piece = self._overflow.write(self._tail) if self._overflow and self._tail else None
        if piece is None:
            return False
        self._pieces.append(piece)
        self._on_disk += piece.calls
        self.size -= self._tail_size
        self._tail, self._tail_size = [], 0
        return True

    def _refill(self) -> bool:
        """Make the next piece the head, or the tail if no piece is left; False if nothing is."""
        if self._overflow and self._pieces:
            piece = self._pieces.popleft()
            self._head.extend(self._overflow.read(piece))
            self._on_disk -= piece.calls
            self.size += sum(call.size for call in self._head)
            if not self._pieces:
                self._overflow.clear()
        else:
            self._head.extend(self._tail)
            self._tail, self._tail_size = [], 0
        return bool(self._head)

    def _drop(self, number: int, data: bytes) -> None:
        before = self._dropped.get(number)
        if before is None:
            self._dropped[number] = Dropped(0, data[:HEAD], data)
        else:
            self.lost += 1
            self._dropped[number] = Dropped(before.more + 1, before.first, data)
