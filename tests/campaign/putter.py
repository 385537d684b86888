"""A client of its own process: libca (by aioca) and its own circuit. Lines of JSON ask for puts and tell of them.

in:   {"number": 7, "name": "T:GEN:HV", "value": 0, "wait": true}
out:  {"number": 7, "asked": monotonic s, "done": monotonic s, "ok": true, "error": ""}, or {"lost": "name"}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import aioca

# Seconds for a channel to connect, and for the callback of a put
CONNECT, CALLBACK = 5.0, 25.0


def _tell(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


async def _put(number: int, name: str, value: float, wait: bool) -> None:
    asked = time.monotonic()
    _tell(number=number, asked=asked)
    outcome: Any = await aioca.caput(name, value, wait=wait, timeout=CALLBACK if wait else CONNECT, throw=False)
    error = "" if outcome else f"{outcome}".splitlines()[-1]
    done = time.monotonic() if wait or not outcome else None
    _tell(number=number, asked=asked, done=done, ok=bool(outcome) if done else None, error=error)


async def main(heartbeat: str) -> None:
    """Put what is asked for on standard input, until that ends."""

    def beat(value: Any) -> None:
        if not value.ok:
            _tell(lost=heartbeat)

    aioca.camonitor(heartbeat, beat, notify_disconnect=True)
    loop = asyncio.get_running_loop()
    tasks = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        tasks.add(asyncio.create_task(_put(**json.loads(line))))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
