"""Commands that serve a configuration, or list what it would serve."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from archiver.storage.store import StoreError
from archiver.storage.url import DatabaseUrl
from archiver.units import counted
from rackioc import estimate, supervisor
from rackioc.cli.command import ConfigPath, Form, FormOption, SimulatedOption, command, end_at_a_signal, start_log
from rackioc.config import sitefile
from rackioc.config.config import Config, ConfigError
from rackioc.config.load import load, load_instruments

app = typer.Typer()

ForceOption = Annotated[bool, typer.Option("--force", help="Serve even if another server has the same names.")]


@command(app, "run")
def run(config: ConfigPath, force: ForceOption = False) -> None:
    """Serve a configuration; its archive (`archive:`) and web server (`web:`) in processes of their own."""
    end_at_a_signal()
    serve(load(config), force=force)


@command(app, "ioc")
def ioc(config: ConfigPath, force: ForceOption = False) -> None:
    """Serve a configuration without its archiver and its web server (for a service manager that runs all)."""
    end_at_a_signal()
    serve(load(config), alone=True, force=force)


@command(app, "check")
def check(config: ConfigPath) -> None:
    """Check a configuration without touching an instrument; print every fault with its line.

    Of an archive it prints how many rows and bytes a day it may grow by.
    Of an archive on a server it prints what the user may not do there (exit code 1).
    """
    loaded = load(config, directories=True)
    if os.access(loaded.site_file, os.R_OK):  # another user's may be none of ours to read
        _, faults = sitefile.load(loaded.site_file)
        if faults:
            raise ConfigError(loaded.site_file, faults)
    typer.echo(f"{config}: no faults; {counted(len(loaded.instruments), 'instrument')}")
    for line in estimate.lines(loaded):
        typer.echo(line)
    missing = _missing_grants(loaded.archive.database) if loaded.archive else []
    for sentence in missing:
        typer.echo(sentence)
    raise typer.Exit(1 if missing else 0)


def _missing_grants(database: str) -> list[str]:
    url = DatabaseUrl.parse(database)
    if url.backend == "sqlite":
        return []
    from archiver.storage.mysql.tables.grants import missing_grants

    try:
        return missing_grants(url)
    except StoreError as error:
        typer.echo(f"archive: {error}; until the database answers, samples wait in the spool", err=True)
        return []


@command(app, "pvs")
def pvs(config: ConfigPath, form: FormOption = Form.table, simulated: SimulatedOption = False) -> None:
    """List the PVs of a configuration. Crates are connected to and asked what they have; nothing is written."""
    from rackioc import listing

    found, silent = listing.rack(load_instruments(config, simulated=simulated), simulated=simulated)
    listing.write(listing.rows(found), form.value, sys.stdout)
    for sentence in silent:
        typer.echo(sentence, err=True)
    raise typer.Exit(1 if silent else 0)


@command(app, "convert")
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="config.yml, or SE521_dbsettings.py (never run).")],
) -> None:
    """Print a configuration made from that of the CAEN HV logger or of the SE521 data logger.

    `rackioc convert config.yml > rack.yaml`: their old tables go on growing.
    """
    from rackioc.config import convert as conversion

    typer.echo(conversion.convert(file), nl=False)


def serve(config: Config, *, alone: bool = False, banner: str = "", force: bool = False) -> None:
    """Serve until a signal comes; ``banner``, of a simulation, is shown when clients can connect."""
    from rackioc.serve import serve as serve_ioc

    start_log()

    async def beside(addresses: list[str]) -> None:
        if banner:
            typer.echo(banner)
        wanted = {supervisor.ARCHIVER: config.archive, supervisor.WEB_SERVER: config.web}
        children = [] if alone else [child for child, settings in wanted.items() if settings is not None]
        # A group ends when all of it has: the archiver stores its last samples before the IOC closes its circuits
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(supervisor.supervise(child, config.path, addresses))
            await asyncio.Event().wait()

    asyncio.run(serve_ioc(config, beside, force=force, simulated=bool(banner)))
