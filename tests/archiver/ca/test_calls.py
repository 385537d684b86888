"""What waits between libca's threads and the one that polls: bounded, in order, and what is dropped is said."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from archiver.ca import calls as calls_module
from archiver.ca.calls import LOST, OVERHEAD, PIECE, CallQueue, Dropped, Overflow

NORMAL = 1
ROOM = 10


def data(number: int) -> bytes:
    return b"%016d" % number


def filled(updates: int, pv: int = 5) -> CallQueue:
    queue = CallQueue(limit=ROOM * (OVERHEAD + 16))
    queue.droppable |= {5, 6}
    for number in range(updates):
        queue.put(pv, NORMAL, data(number))
    return queue


def taken(queue: CallQueue, most: int = 1000) -> list[tuple[int, int, object]]:
    return [(call.handler, call.first, call.second) for call in queue.take(most)]


def test_what_came_is_taken_in_order_and_in_slices() -> None:
    queue = filled(ROOM)
    assert (len(queue), queue.size) == (ROOM, ROOM * (OVERHEAD + 16))
    found = taken(queue, 4) + taken(queue, 4) + taken(queue, 4)
    assert found == [(5, NORMAL, data(number)) for number in range(ROOM)]
    assert (len(queue), queue.size, queue.oldest, queue.lost) == (0, 0, None, 0)


def test_what_has_no_room_is_dropped_counted_and_said_before_the_next_update() -> None:
    queue = filled(ROOM + 4)
    assert (len(queue), queue.lost) == (ROOM, 3)
    taken(queue, 5)
    queue.put(6, NORMAL, data(70))
    queue.put(5, NORMAL, data(80))
    assert taken(queue)[5:] == [
        (6, NORMAL, data(70)),
        (5, LOST, Dropped(3, data(ROOM), data(ROOM + 3))),
        (5, NORMAL, data(80)),
    ]
    assert (queue.size, taken(queue)) == (0, [])


def test_what_was_dropped_is_said_though_nothing_follows() -> None:
    queue = filled(ROOM + 1)
    assert len(taken(queue)) == ROOM
    assert taken(queue) == [(5, LOST, Dropped(0, data(ROOM), data(ROOM)))]
    assert (taken(queue), queue.lost) == ([], 0)


def test_what_was_dropped_of_a_subscription_that_ends_is_returned() -> None:
    queue = filled(ROOM + 2)
    taken(queue)
    assert queue.end(5) == Dropped(1, data(ROOM), data(ROOM + 1))
    assert (queue.end(5), taken(queue)) == (None, [])


def test_connections_errors_and_answers_are_taken_always() -> None:
    queue = filled(ROOM)
    queue.put(7, NORMAL, data(1))
    queue.put(5, 192, b"")
    queue.put(8, 6, 1)
    assert [call[0] for call in taken(queue)][-3:] == [7, 5, 8]


def test_updates_of_several_threads_are_all_taken_or_counted() -> None:
    queue = CallQueue(limit=1000 * (OVERHEAD + 16))
    queue.droppable |= {0, 1, 2, 3}

    def put(pv: int) -> None:
        for number in range(20_000):
            queue.put(pv, NORMAL, data(number))

    threads = [threading.Thread(target=put, args=(pv,)) for pv in range(4)]
    for thread in threads:
        thread.start()
    found = defaultdict[int, list[int]](list)
    lost = 0
    while any(thread.is_alive() for thread in threads) or len(queue):
        for call in queue.take(100):
            update = call.second
            if isinstance(update, Dropped):
                lost += update.more
                update = update.last
            found[call.handler].append(int(update))
    for call in queue.take(100):
        lost += call.second.more
        found[call.handler].append(int(call.second.last))
    assert all(numbers == sorted(set(numbers)) and numbers[-1] == 19_999 for numbers in found.values())
    assert sum(map(len, found.values())) + lost == 80_000
    assert (lost, queue.size) == (queue.lost, 0)


@pytest.fixture
def overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Overflow]:
    monkeypatch.setattr(calls_module, "PIECE", 3 * (OVERHEAD + 16))
    with closing(Overflow(tmp_path, 1e9, 0)) as overflow:
        yield overflow


def test_what_has_no_room_in_memory_waits_on_disk_in_order(overflow: Overflow, tmp_path: Path) -> None:
    queue = CallQueue(limit=ROOM * (OVERHEAD + 16), overflow=overflow)
    queue.droppable |= {5}
    found = []
    for number in range(1000):
        queue.put(5, NORMAL, data(number))
        if number % 10 == 0:
            queue.put(7, 6, number)  # a connection keeps its place among the updates
        if number % 3 == 0:
            found += taken(queue, 2)
        assert queue.size < (ROOM + 4) * (OVERHEAD + 16)
    assert overflow.size > 10_000
    assert len(queue) == 1100 - len(found)
    oldest = queue.oldest
    assert oldest is not None
    while some := taken(queue, 7):
        found += some
    expected: list[tuple[int, int, object]] = []
    for number in range(1000):
        expected.append((5, NORMAL, data(number)))
        expected += [(7, 6, number)] * (number % 10 == 0)
    assert found == expected
    assert (queue.lost, queue.size, len(queue), queue.oldest, overflow.size) == (0, 0, 0, None, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limits", [(2000, 0), (1e9, 1e18)])
def test_when_the_disk_is_full_too_it_is_dropped_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[float, float]
) -> None:
    monkeypatch.setattr(calls_module, "PIECE", 3 * (OVERHEAD + 16))
    with closing(Overflow(tmp_path, *limits)) as overflow:
        queue = CallQueue(limit=ROOM * (OVERHEAD + 16), overflow=overflow)
        queue.droppable |= {5}
        for number in range(500):
            queue.put(5, NORMAL, data(number))
        found = []
        while some := queue.take(100):
            found += some
        dropped = found[-1].second
        assert isinstance(dropped, Dropped)
        assert dropped.last == data(499)
        assert len(found) - 1 + dropped.more + 1 == 500
        assert (queue.lost, queue.size) == (dropped.more, 0)


def test_few_large_updates_are_taken_at_once() -> None:
    """What was taken is in no figure, and nothing else is done until it is handled."""
    queue = CallQueue()
    queue.droppable.add(1)
    for _ in range(20):
        queue.put(1, NORMAL, bytes(PIECE // 4))
    assert [len(queue.take(500)) for _ in range(5)] == [4] * 5
    assert queue.size == 0
