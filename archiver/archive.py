"""The archiver as a service: which PVs it follows, when it commits, how it starts and stops."""

import asyncio
import logging
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

from archiver.client import Client
from archiver.database import open_store
from archiver.sample import Gap, gap_marker, is_gap
from archiver.store import Store, StoreError
from archiver.writer import Writer

COMMIT_PERIOD = 1.0

log = logging.getLogger(__name__)


def main(database: str, patterns: list[str], pv_list: str) -> int:
    """Archive until SIGINT or SIGTERM; returns the exit code: 0 stopped, 1 the database could not be used."""
    try:
        asyncio.run(_until_signal(database, patterns, pv_list))
    except StoreError as error:
        log.error("%s", error)
        return 1
    return 0


async def run(database: str, patterns: Sequence[str], pv_list: str, stop: asyncio.Event) -> None:
    """Archive until `stop` is set.

    `patterns` are names of PVs, of any IOC, and globs over the names that the PV `pv_list` holds, one on each line;
    a name that appears there later is followed from then on.
    """
    store = open_store(database)
    try:
        _close_previous_run(store)
        await _archive(store, patterns, pv_list, stop)
    finally:
        store.close()


async def _archive(store: Store, patterns: Sequence[str], pv_list: str, stop: asyncio.Event) -> None:
    writer = Writer(store)
    client = Client(writer, store.newest())
    globs = [pattern for pattern in patterns if _is_glob(pattern)]
    client.follow(pattern for pattern in patterns if not _is_glob(pattern))
    if globs:
        client.watch_list(pv_list, lambda names: client.follow(matching(globs, names)))
    while not stop.is_set():
        await _wait(stop, COMMIT_PERIOD)
        await writer.flush()
        client.check()
    await client.close()
    await writer.close()


def matching(globs: Sequence[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]


def _is_glob(pattern: str) -> bool:
    return any(wildcard in pattern for wildcard in "*?[")


def _close_previous_run(store: Store) -> None:
    """End what a killed run left open, where the whole archive ends: until then at least that run was alive.

    An IOC whose clock is ahead must not put the end of the others' rows into the future.
    """
    newest = store.newest()
    end_ns = min(max((sample.time_ns for sample in newest), default=0), time.time_ns())
    left_open = [
        gap_marker(sample.pv, max(end_ns, sample.time_ns) + 1, Gap.ARCHIVE_OFF)
        for sample in newest
        if not is_gap(sample)
    ]
    if left_open:
        log.warning("the previous run was not stopped but killed: %d PVs marked %s", len(left_open), Gap.ARCHIVE_OFF)
        store.add(left_open)


async def _until_signal(database: str, patterns: list[str], pv_list: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(database, patterns, pv_list, stop)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
