"""Commands about the archive: write it, read it, look after it."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from archiver import status as archiver_status
from archiver.history.command import HistoryOptions, show_history
from archiver.times import format_time
from rackioc import supervisor
from rackioc.cli.command import ConfigPath, archive_of, command, start_log
from rackioc.config.load import load

DATABASE = "sqlite:///rack.sqlite"

app = typer.Typer()
db_app = typer.Typer(no_args_is_help=True, help="The database of a configuration's archive.")


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

    loaded = load(config)
    settings = archive_of(loaded)
    start_log()
    if parent:
        supervisor.end_with(parent)
    raise typer.Exit(service.main(settings, config, pv_list=loaded.pv_list, prefix=loaded.prefix))


@command(app, "status")
def status(
    config: ConfigPath,
    glob: Annotated[str | None, typer.Argument(metavar="[GLOB]", help="With --pvs: of these alone.")] = None,
    pvs: Annotated[bool, typer.Option("--pvs", help="Rows, rate, last row, refused samples of each PV.")] = False,
    form: Annotated[Report, typer.Option("--format", help="How to print.")] = Report.table,
) -> None:
    """Print the state of a configuration's archiver; exit code 1 if it is not running, or if something is wrong.

    Run it where the archiver was started: the path of its status file is relative to that directory.
    """
    if glob is not None and not pvs:
        raise typer.BadParameter("a glob of PVs needs --pvs", param_hint="GLOB")
    archive = archive_of(load(config))
    if pvs:
        problems = archiver_status.show_pvs(archive.figures_file(config), glob or "*", form.value, sys.stdout)
    else:
        problems = archiver_status.show_status(archive.status_file(config), form.value, sys.stdout)
    for sentence in problems:
        typer.echo(sentence, err=True)
    raise typer.Exit(1 if problems else 0)


@command(app, "spool")
def spool(
    config: ConfigPath,
    again: Annotated[bool, typer.Option("--again", help="Bring in again what was set aside.")] = False,
) -> None:
    """List what the archiver has set aside of its spool because it could not be read, or bring it in again.

    Run it where the archiver was started. What was listed is no trouble of `rackioc status` any more.
    """
    from archiver.recording import aside

    path = archive_of(load(config)).spool_file(config)
    if again:
        typer.echo(f"{aside.bring_in(path)} samples were brought in again; the archiver stores them when it runs")
        return
    found = aside.look(path)
    for each in found:
        when = "" if each.since is None else f", since {format_time(int(each.since * 1e9))}"
        samples = "" if each.samples is None else f", {each.samples} samples"
        typer.echo(f"{each.name}{when}{samples}: {each.reason}")
    if not found:
        typer.echo("nothing is set aside")


@command(db_app, "init")
def db_init(config: ConfigPath) -> None:
    """Create the archive's tables, as the archiver does when it starts; tables that exist stay as they are."""
    from archiver.loggers.tables import make_tables
    from archiver.storage import manage

    archive = archive_of(load(config))
    manage.init(archive.database)
    make_tables(archive)
    _show(manage.status(archive.database))


@command(db_app, "migrate")
def db_migrate(config: ConfigPath) -> None:
    """Migrate the tables of an older rackioc, as the archiver does when it starts."""
    from archiver.storage import manage

    database = archive_of(load(config)).database
    manage.migrate(database)
    _show(manage.status(database))


@command(db_app, "status")
def db_status(config: ConfigPath) -> None:
    """Print what the database holds and whether its tables are up to date; nothing is changed."""
    from archiver.storage import manage

    _show(manage.status(archive_of(load(config)).database))


def _show(rows: list[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        typer.echo(f"{label:<{width}}  {value}")


@command(app, "history")
def history(
    pvs: Annotated[list[str], typer.Argument(metavar="PV...", help="Names or globs.")],
    since: Annotated[str | None, typer.Option(help="1h, 30m, 2d ago, or a time: '2026-11-20 14:00' (UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="As --since; left out: now.")] = None,
    at: Annotated[str | None, typer.Option(help="The value in force at that time (as --since, or now).")] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Count, range, mean over time, alarm, loss.")] = False,
    bin_: Annotated[str | None, typer.Option("--bin", help="Count, range, mean of each 60s, 5m, 1h, ...")] = None,
    fill: Annotated[bool, typer.Option("--fill", help="With --bin: bins without rows, too.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw a picture.")] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw in the terminal.")] = False,
    form: Annotated[HistoryForm | None, typer.Option("--format", help="How to print; left out: table.")] = None,
    database: Annotated[str, typer.Option(envvar="RACKIOC_DATABASE", help="URL of the archive.")] = DATABASE,
    config: Annotated[Path | None, typer.Option(help="Take the database from this configuration.")] = None,
) -> None:
    """Print or plot the archived values of PVs, led by the value in force when the window begins."""
    if config is not None:
        settings = load(config).archive
        database = settings.database if settings else database
    options = HistoryOptions(
        pvs=pvs, database=database, since=since, until=until, form=form and form.value,
        at=at, stat=stat, bin=bin_, fill=fill, plot=plot, terminal=terminal,
    )  # fmt: skip
    show_history(options, sys.stdout, sys.stderr)
