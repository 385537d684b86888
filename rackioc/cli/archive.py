"""Commands about the archive: write it, read it, look after it."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from archiver import status as archiver_status
from archiver.health import running
from archiver.history.command import HistoryOptions, show_history
from archiver.times import format_time
from archiver.units import counted
from ioc.ca.network import environment
from rackioc import streams, supervisor
from rackioc.cli import runtime
from rackioc.cli.command import ConfigPath, command, start_log
from rackioc.cli.database import DATABASE, database_of
from rackioc.config.config import pv_list
from rackioc.config.load import load_archive, load_prefix

app = typer.Typer()


class HistoryForm(StrEnum):
    """Formats of the history; text: a tab between columns."""

    table = "table"
    csv = "csv"
    json = "json"
    text = "text"


class Report(StrEnum):
    """Formats of a report."""

    table = "table"
    json = "json"


@command(app, "archive")
def archive(config: ConfigPath, parent: Annotated[int, typer.Option(hidden=True)] = 0) -> None:
    """Keep the history of a configuration without serving it; a Channel Access client like any other."""
    from archiver import service

    settings, prefix = load_archive(config), load_prefix(config)
    start_log()
    environment.check()
    streams.keep()
    if parent:
        supervisor.end_with(parent)
    raise typer.Exit(service.main(settings, config, pv_list=pv_list(prefix), prefix=prefix))


@command(app, "status")
def status(
    config: ConfigPath,
    glob: Annotated[str | None, typer.Argument(metavar="[GLOB]", help="With --pvs: of these alone.")] = None,
    pvs: Annotated[bool, typer.Option("--pvs", help="Rows, rate, last row, refused samples of each PV.")] = False,
    form: Annotated[Report, typer.Option("--format", help="How to print.")] = Report.table,
) -> None:
    """Print the state of a configuration's archiver; exit code 1 if it is not running, or if something is wrong."""
    if glob is not None and not pvs:
        raise typer.BadParameter("a glob of PVs needs --pvs", param_hint="GLOB")
    archive = load_archive(config, "spool")
    if pvs:
        problems = archiver_status.show_pvs(archive.figures_file(config), glob or "*", form.value, sys.stdout)
    else:
        problems = archiver_status.show_status(archive.status_file(config), form.value, sys.stdout)
        if (simulation := _simulation(config)) and not running(archive.status_file(config)):
            problems.append(f"a simulation of it runs; its state: rackioc status {quote(str(simulation))}")
    for sentence in problems:
        typer.echo(sentence, err=True)
    raise typer.Exit(1 if problems else 0)


def _simulation(config: Path) -> Path | None:
    """Return the configuration of this user's simulation of a configuration, if its archiver runs."""
    try:
        folder = runtime.simulation_of(config)
    except OSError:
        return None
    if folder is None or not (copy := folder / config.name).is_file():
        return None
    return copy if running(load_archive(copy, "spool").status_file(copy)) else None


@command(app, "spool")
def spool(
    config: ConfigPath,
    again: Annotated[bool, typer.Option("--again", help="Bring in again what was set aside.")] = False,
) -> None:
    """List what the archiver has set aside of its spool because it could not be read, or bring it in again.

    What was listed is no trouble of `rackioc status` any more.
    """
    from archiver.recording import aside

    path = load_archive(config, "spool").spool_file(config)
    if again:
        typer.echo(f"{counted(aside.bring_in(path), 'sample')} brought in again, to be stored when the archiver runs")
        return
    found = aside.look(path)
    for each in found:
        when = "" if each.since is None else f", since {format_time(int(each.since * 1e9))}"
        samples = "" if each.samples is None else f", with {counted(each.samples, 'sample')}"
        typer.echo(f"{each.name}{when}{samples}: {each.reason}")
    if not found:
        typer.echo("nothing is set aside")


@command(app, "history")
def history(
    pvs: Annotated[list[str], typer.Argument(metavar="PV...", help="Names or globs.")],
    since: Annotated[str | None, typer.Option(help="1h, 30m, 2d ago, or a time: '2026-11-20 14:00'.")] = None,
    until: Annotated[str | None, typer.Option(help="As --since; left out: now.")] = None,
    at: Annotated[str | None, typer.Option(help="The value in force at that time (as --since, or now).")] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Count, range, mean over time, alarm, loss.")] = False,
    bin_: Annotated[str | None, typer.Option("--bin", help="Count, range, mean of each 60s, 5m, 1h, ...")] = None,
    fill: Annotated[bool, typer.Option("--fill", help="With --bin: bins without rows, too.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw a picture.")] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw in the terminal.")] = False,
    form: Annotated[HistoryForm | None, typer.Option("--format", help="How to print; left out: table.")] = None,
    utc: Annotated[
        bool, typer.Option("--utc", help="Given times, and those on a terminal, are UTC, not local.")
    ] = False,
    database: Annotated[str, typer.Option(envvar="RACKIOC_DATABASE", help="URL of the archive.")] = DATABASE,
    config: Annotated[Path | None, typer.Option(help="Take the database from this configuration.")] = None,
) -> None:
    """Print or plot the archived values of PVs, led by the value in force when the window begins."""
    options = HistoryOptions(
        pvs=pvs, database=database, since=since, until=until, form=form and form.value,
        at=at, stat=stat, bin=bin_, fill=fill, plot=plot, terminal=terminal, utc=utc,
    )  # fmt: skip
    options.check()
    show_history(replace(options, database=database_of(database, config)), sys.stdout, sys.stderr)
