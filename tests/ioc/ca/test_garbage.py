"""Garbage collection does not hold up the clients."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

from ioc.ca import garbage
from tests.small_ioc import Raw, SmallIoc, until


def test_python_never_looks_at_all_objects_on_its_own_while_the_server_runs(small_ioc: SmallIoc) -> None:
    assert gc.get_threshold()[2] > 1 << 20


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
