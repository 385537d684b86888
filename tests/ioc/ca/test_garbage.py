"""Garbage collection does not hold up the clients."""

from __future__ import annotations

import gc
from collections import deque
from types import SimpleNamespace

import pytest

from ioc.ca import garbage
from tests.small_ioc import Raw, SmallIoc, until


def test_python_never_looks_at_all_objects_on_its_own_while_the_server_runs(small_ioc: SmallIoc) -> None:
    assert gc.get_threshold()[2] > 1 << 20


def test_python_looks_at_a_little_at_a_time_though_as_much_is_freed_as_is_created(small_ioc: SmallIoc) -> None:
    looked_at: list[int] = []

    def note(phase: str, figures: dict[str, int]) -> None:
        if phase == "start" and figures["generation"] < 2:
            looked_at.append(sum(len(gc.get_objects(each)) for each in range(figures["generation"] + 1)))

    gc.callbacks.append(note)
    try:
        under_way = deque(_put() for _ in range(5_000))
        for _ in range(10_000):
            under_way.append(_put())
            under_way.popleft()
        under_way += [_put() for _ in range(100)]
    finally:
        gc.callbacks.remove(note)
    assert max(looked_at) < 5_000


def _put() -> list[SimpleNamespace]:
    """Return as many objects as a put has."""
    return [SimpleNamespace() for _ in range(24)]


def test_cycles_are_found_while_that_is_soon_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    collector = SimpleNamespace(
        get_objects=gc.get_objects, collect=lambda: done.append("collect"), freeze=lambda: done.append("freeze")
    )
    monkeypatch.setattr(garbage, "gc", collector)
    monkeypatch.setattr(garbage, "MOST", 1 << 30)
    garbage.look()
    monkeypatch.setattr(garbage, "MOST", -1)
    garbage.look()
    assert done == ["collect", "freeze"]


def test_a_client_that_has_left_leaves_no_cycle(small_ioc: SmallIoc) -> None:
    with Raw(small_ioc) as raw:
        raw.subscribe(raw.create("ai"))
        raw.update()
        client = raw.client
    until(lambda: not hasattr(client, "receiver"))
    assert not small_ioc.records["ai"].monitors
