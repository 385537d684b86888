"""Python's garbage collection, kept from holding up the clients.

Reference counts free nearly all; what is left are cycles. To look for them among all objects takes 20 ms in a small
IOC, and 200 ms once a client has 100,000 channels, and Python would do so whenever much was created. So it looks
among what is new alone, and now and then at the rest if that is soon done; if not, what there is then is left out.

What is new is a little at a time: Python looks once NEW more objects were created than freed, so in a flood of puts,
where an old one ends for each that begins, a hundred thousand would gather and hold everybody up for 60 ms.
"""

from __future__ import annotations

import asyncio
import gc

# Seconds between two looks, and objects among which looking takes some 5 ms
PERIOD = 60.0
MOST = 20_000
# Fewer than a put creates: each put has Python look
NEW = 20
# Never, of the collections of the middle generation after which Python looks at all objects
_NEVER = 1 << 30


async def keep() -> None:
    """Look for cycles when that holds nobody up; until cancelled."""
    thresholds = gc.get_threshold()
    gc.set_threshold(NEW, thresholds[1], _NEVER)
    gc.freeze()  # what was imported and configured stays
    try:
        while True:
            await asyncio.sleep(PERIOD)
            look()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def look() -> None:
    """Look for cycles, or leave out what there is from now on if it is too much."""
    if len(gc.get_objects(generation=2)) > MOST:
        gc.freeze()
    else:
        gc.collect()
