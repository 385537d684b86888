"""The whole IOC: server, instruments, and their life from start to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from drivers.base import Driver
from ioc import status
from ioc.ca.network import rivals
from ioc.ca.server import Server
from ioc.instrument import Instrument
from rackioc import archive_status
from rackioc.config import sitefile
from rackioc.config.config import Config, ConfigError
from rackioc.config.sitefile import SiteFile

log = logging.getLogger("rackioc")

# What else to do where another server has the names
_OTHER_PREFIX = "give this one another prefix, or start it with --force"
_OTHER_PORT = "or give this one, and its clients, another port: export EPICS_CA_SERVER_PORT=5066"


async def serve(
    config: Config,
    beside: Callable[[list[str]], Coroutine[Any, Any, None]] | None = None,
    *,
    force: bool = False,
    simulated: bool = False,
) -> None:
    """Serve a configuration until SIGINT, SIGTERM or SIGHUP.

    Raises OSError if another server has its names, unless ``force``; ``simulated``: what to do then is another thing.

    Nothing is written to an instrument at start; at stop only what makes it safe, if that was put, or follows a put
    that was not carried out to its end. ``beside(addresses)`` runs while clients can connect (``addresses``: see
    ``Server.addresses``) and is cancelled, and waited for, before they are cut off and the instruments close.
    """
    stop = _signals()
    server = Server()
    site_file = _restore(config)
    instruments = [
        (Instrument(name, config.prefix, driver, config.site, server), periods)
        for name, driver, periods in _all(config, server, site_file, stop)
    ]
    if not force:
        await rivals.refuse(server.names, server.search_port, _OTHER_PORT if simulated else _OTHER_PREFIX)
    serving = asyncio.create_task(server.run())
    tasks = [serving, asyncio.create_task(stop.wait())]
    try:
        port = await _bound(server, serving)
        if port != server.search_port:
            log.warning(
                "TCP port %d is in use, by %s; serving on port %d instead, which clients find by their searches",
                server.search_port,
                await asyncio.to_thread(rivals.holder, server.search_port),
                port,
            )
        for instrument, periods in instruments:
            instrument.start(periods)
            server.standstill.first.append(instrument.look)
        log.info("serving %d records on TCP port %d", len(server.names), port)
        if beside is not None:
            tasks.append(asyncio.create_task(beside(server.addresses)))
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        # While clients are served an Off is carried out, and what they are shown is true
        await asyncio.gather(*(instrument.stop() for instrument, _ in instruments))
        await _cancel(tasks[1:])
        await _cancel([serving])
        await asyncio.gather(*(instrument.close() for instrument, _ in instruments))
        site_file.close()
        log.info("stopped")


def _all(
    config: Config, server: Server, site_file: SiteFile, stop: asyncio.Event
) -> Iterator[tuple[str, Driver, Mapping[str, float]]]:
    """Return the instruments as configured, and those of rackioc itself."""
    for each in config.instruments:
        yield each.name, each.driver, each.periods
    yield status.NAME, status.IocStatus(server, lambda: site_file.trouble, config.kinds), {}
    if config.archive is not None:
        path = config.archive.status_file(config.path)
        yield archive_status.NAME, archive_status.ArchiveStatus(path, stop.is_set), {}


def _restore(config: Config) -> SiteFile:
    """Apply what clients set at run time before the restart."""
    kept, faults = sitefile.load(config.site_file)
    if faults:
        raise ConfigError(config.site_file, faults)
    site_file = SiteFile(config.site_file, kept)
    config.site.restore(kept, site_file.changed)
    site_file.start()
    return site_file


def _signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # what nohup has it ignore is ignored
        if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
            loop.add_signal_handler(number, stop.set)
    return stop


async def _bound(server: Server, serving: asyncio.Task[Any]) -> int:
    while (port := server.port) is None:
        if serving.done():
            serving.result()
        await asyncio.sleep(0.01)
    return port


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
