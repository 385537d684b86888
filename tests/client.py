"""A Channel Access client for tests, on the real libca (by aioca)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest


class Client:
    """A Channel Access client on libca with a thread and an event loop of its own."""

    def __init__(self) -> None:
        import aioca

        self._ca = aioca
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="client").start()

    def _do(self, coroutine: Any, timeout: float = 20.0) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def get(self, name: str, **options: Any) -> Any:
        """The value with its alarm and time stamp."""
        options.setdefault("format", self._ca.FORMAT_TIME)
        value = self._do(self._ca.caget(name, timeout=15, throw=False, **options))
        if isinstance(value, self._ca.CANothing):
            raise value
        return value

    def text(self, name: str) -> str:
        """The value as a text: a state's word."""
        return str(self.get(name, datatype=str))

    def long(self, name: str) -> str:
        """A text of any length."""
        return str(self.get(name + ".VAL$", datatype=self._ca.DBR_CHAR_STR))

    def put(self, name: str, value: object, **options: Any) -> None:
        """Put with completion; CANothing when it failed."""
        outcome = self._do(self._ca.caput(name, value, wait=True, timeout=10, throw=False, **options))
        if not outcome:  # not raised over there: concurrent.futures overlooks exceptions that are false
            raise outcome

    def put_and_get(self, name: str, value: object) -> Any:
        """Put without completion and get at once, as ``caput`` does."""

        async def act() -> Any:
            await self._ca.caput(name, value, wait=False)
            return await self._ca.caget(name)

        return self._do(act())

    def refused(self, name: str, value: object) -> str:
        """Put what must fail; returns what the instrument's Error record says then."""
        with pytest.raises(self._ca.CANothing):
            self.put(name, value)
        prefix, instrument = name.split(":")[:2]
        return self.long(f"{prefix}:{instrument}:Error")

    def severity(self, name: str) -> str:
        """The alarm as ``SEVERITY STATUS`` numbers in words."""
        value = self.get(name)
        return ("NO_ALARM", "MINOR", "MAJOR", "INVALID")[value.severity]

    def status(self, name: str) -> str:
        """The alarm status in words."""
        from drivers.base import Status

        return Status(self.get(name).status).name

    def wait(self, name: str, condition: Callable[[Any], bool], timeout: float = 10.0) -> Any:
        """Get until the value satisfies the condition; returns it."""
        deadline = time.monotonic() + timeout
        while True:
            value = self.get(name)
            if condition(value):
                return value
            assert time.monotonic() < deadline, f"{name} is {value!r}, severity {value.severity}"
            time.sleep(0.05)

    def monitor(self, name: str, **options: Any) -> list[Any]:
        """Subscribe; the list grows with the updates."""
        updates: list[Any] = []

        async def subscribe() -> None:
            options.setdefault("format", self._ca.FORMAT_TIME)
            self._ca.camonitor(name, updates.append, all_updates=True, **options)

        self._do(subscribe())
        deadline = time.monotonic() + 5
        while not updates and time.monotonic() < deadline:
            time.sleep(0.02)
        return updates
