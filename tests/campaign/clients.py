"""The clients of a campaign: some that put, each in a process of its own, and one that watches every PV."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.campaign.recording import Put, Update

ROOT = Path(__file__).parents[2]


class Putters:
    """Clients that put; what they asked for and what they were told is in ``puts``."""

    def __init__(self, count: int, prefix: str, log: Path, lost: Callable[[str], None]) -> None:
        self.puts: list[Put] = []
        self._prefix = prefix
        self._lost = lost
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        command = [sys.executable, "-P", "-m", "tests.campaign.putter", f"{prefix}IOC:HEARTBEAT"]
        with log.open("ab") as out:  # libca writes there what the callbacks are told, too
            self._processes = [
                subprocess.Popen(command, cwd=ROOT, env=_environment(), stdin=-1, stdout=-1, stderr=out, text=True)
                for _ in range(count)
            ]
        self._threads = [threading.Thread(target=self._listen, args=(index,), daemon=True) for index in range(count)]
        for thread in self._threads:
            thread.start()

    def put(self, client: int, name: str, value: float, *, wait: bool) -> Put:
        """Let a client put; returns at once."""
        with self._changed:
            put = Put(next(self._numbers), client, name, value, wait, time.monotonic())
            self.puts.append(put)
        line = {"number": put.number, "name": self._prefix + name, "value": value, "wait": wait}
        stream = self._processes[client].stdin
        assert stream is not None
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        return put

    def wait(self, puts: Sequence[Put], seconds: float) -> None:
        """Wait until puts were answered, or for so long."""
        with self._changed:
            self._changed.wait_for(lambda: all(put.done is not None for put in puts), seconds)

    def close(self) -> None:
        """End the clients."""
        for process in self._processes:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(5)

    def _listen(self, index: int) -> None:
        stream = self._processes[index].stdout
        assert stream is not None
        for line in stream:
            with suppress(ValueError), self._changed:
                self._told(index, json.loads(line))
                self._changed.notify_all()

    def _told(self, index: int, words: dict[str, Any]) -> None:
        if "lost" in words:
            self._lost(f"client {index} lost its circuit")
            return
        put = self.puts[words["number"]]
        put.asked = words["asked"]
        if words.get("done") is not None:
            put.done, put.ok, put.error = words["done"], words["ok"], words["error"]


class Watcher:
    """A client that has a monitor on every PV: what each brought is in ``updates``."""

    def __init__(self, prefix: str, lost: Callable[[str], None]) -> None:
        import aioca

        self.updates: dict[str, list[Update]] = {}
        self._ca = aioca
        self._prefix = prefix
        self._lost = lost
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="watcher").start()

    def do(self, coroutine: Any, timeout: float = 20.0) -> Any:
        """Run a coroutine in the event loop of this client."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def watch_all(self) -> None:
        """Subscribe to the PVs that are new in the IOC's list."""
        text = self.do(self._ca.caget(f"{self._prefix}IOC:PVList.VAL$", datatype=self._ca.DBR_CHAR_STR, throw=False))
        if isinstance(text, self._ca.CANothing):
            return
        names = [name.removeprefix(self._prefix) for name in str(text).split("\n")]
        self.do(self._subscribe([name for name in names if name and name not in self.updates]))

    async def _subscribe(self, names: Sequence[str]) -> None:
        for name in names:
            self.updates[name] = []
            options = {"format": self._ca.FORMAT_TIME, "all_updates": True, "notify_disconnect": True}
            self._ca.camonitor(self._prefix + name, self._take(name), **options)

    def _take(self, name: str) -> Callable[[Any], None]:
        updates = self.updates[name]

        def take(value: Any) -> None:
            if not value.ok:
                self._lost(f"the client that watches lost {name}")
                return
            plain = value if isinstance(value, str) else value.tolist() if hasattr(value, "tolist") else value
            updates.append(Update(time.monotonic(), _scalar(plain), value.severity, value.status, value.timestamp))

        return take


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    return int(value) if isinstance(value, int) else float(value) if isinstance(value, float) else tuple(value)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
