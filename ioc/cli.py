"""The command ``rackioc``: the one place that puts the rooms together (IOC, archiver, simulated instruments)."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

import sim
from archiver import status as archiver_status
from archiver.answer import Question, answer
from archiver.query import HistoryError
from archiver.settings import Archive
from archiver.store import StoreError
from archiver.url import DatabaseUrl
from ioc import banner, listing, supervisor
from ioc.config import Config, ConfigError, load
from ioc.convert import convert as converted
from ioc.ioc import serve
from sim import control, technix
from sim.caen import Crate
from sim.caen_boards import demo_crate, large_crate
from sim.fake import CommandError
from sim.rack import Rack

EXIT_CONFIG = 2
DATABASE = "sqlite:///rack.sqlite"
CONTROL = Path(tempfile.gettempdir()) / "rackioc-demo" / "control"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback of a pretty printer shows local variables: passwords
    rich_markup_mode="markdown",
    help="""Serve a rack of slow-control instruments as EPICS process variables, and keep their history.

    First steps: `rackioc sim demo` serves simulated instruments; `rackioc check rack.yaml` checks a configuration;
    `rackioc run rack.yaml` serves the real ones.""",
)
sim_app = typer.Typer(no_args_is_help=True)
app.add_typer(sim_app, name="sim")
db_app = typer.Typer(no_args_is_help=True, help="The database of a configuration's archive.")
app.add_typer(db_app, name="db")


class HistoryForm(StrEnum):
    """Formats of the history; text: a tab between columns."""

    table = "table"
    csv = "csv"
    json = "json"
    text = "text"


class Form(StrEnum):
    """Formats of a listing."""

    table = "table"
    csv = "csv"
    json = "json"


class Report(StrEnum):
    """Formats of a report."""

    table = "table"
    json = "json"


ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file (YAML).")]
FormOption = Annotated[Form, typer.Option("--format", help="How to print.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Serve even if another server has the same names.")]
LargeOption = Annotated[bool, typer.Option("--large", help="With a full crate: 16 boards of 48 channels.")]
ControlOption = Annotated[Path, typer.Option(help="Unix socket on which faults are asked for.")]


def _command(target: typer.Typer, name: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command whose known errors become one clear sentence and the right exit code."""

    def register(action: Callable[..., Any]) -> Callable[..., Any]:
        target.command(name, **options)(_guarded(action))
        return action

    return register


def _guarded(action: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(action)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            action(*args, **kwargs)
        except ConfigError as error:
            typer.echo(error, err=True)
            raise typer.Exit(EXIT_CONFIG) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more, as with head
            raise typer.Exit(1) from None
        except (OSError, HistoryError, StoreError, CommandError) as error:
            typer.echo(f"rackioc: {error}", err=True)
            raise typer.Exit(1) from None

    return guarded


@_command(app, "run")
def run(config: ConfigPath, force: ForceOption = False) -> None:
    """Serve a configuration; with `archive:` in it, keep the history in a second process."""
    _serve(load(config), with_archiver=True, force=force)


@_command(app, "ioc")
def ioc(config: ConfigPath, force: ForceOption = False) -> None:
    """Serve a configuration without its archiver (for a service manager that runs both)."""
    _serve(load(config), with_archiver=False, force=force)


@_command(app, "archive")
def archive(config: ConfigPath, parent: Annotated[int, typer.Option(hidden=True)] = 0) -> None:
    """Keep the history of a configuration without serving it; a Channel Access client like any other."""
    loaded = load(config)
    settings = _archive_of(loaded)
    _log()
    if parent:
        supervisor.end_with(parent)
    from archiver import archive as service  # noqa: PLC0415 - loads libca, which the IOC's process has no use for

    raise typer.Exit(service.main(settings, config, pv_list=loaded.pv_list, prefix=loaded.prefix))


def _archive_of(config: Config) -> Archive:
    if config.archive is None:
        typer.echo(f"{config.path}: archive: is missing; it says what to keep (pvs) and where (database)", err=True)
        raise typer.Exit(EXIT_CONFIG)
    return config.archive


@_command(app, "status")
def status(
    config: ConfigPath, form: Annotated[Report, typer.Option("--format", help="How to print.")] = Report.table
) -> None:
    """Tell how the archiver of a configuration does; exit code 1 if it does not run, or if something is wrong.

    Run it where the archiver was started: its status file is found from there.
    """
    troubles = archiver_status.command(_archive_of(load(config)).status_file(config), form.value, sys.stdout)
    for sentence in troubles:
        typer.echo(sentence, err=True)
    raise typer.Exit(1 if troubles else 0)


@_command(db_app, "init")
def db_init(config: ConfigPath) -> None:
    """Make the database's tables, as the archiver does when it starts; what is there already stays."""
    from archiver import database, manage  # noqa: PLC0415 - what only these commands need

    archive = _archive_of(load(config))
    manage.init(archive.database)
    database.make_seed_tables(archive)
    _show(manage.status(archive.database))


@_command(db_app, "migrate")
def db_migrate(config: ConfigPath) -> None:
    """Bring the tables of an older rackioc up to date, as the archiver does when it starts."""
    from archiver import manage  # noqa: PLC0415

    database = _archive_of(load(config)).database
    manage.migrate(database)
    _show(manage.status(database))


@_command(db_app, "status")
def db_status(config: ConfigPath) -> None:
    """Tell what the database holds and whether its tables are up to date; nothing is changed."""
    from archiver import manage  # noqa: PLC0415

    _show(manage.status(_archive_of(load(config)).database))


def _show(rows: list[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        typer.echo(f"{label:<{width}}  {value}")


@_command(app, "check")
def check(config: ConfigPath) -> None:
    """Check a configuration without touching an instrument; print every fault with its line.

    Of an archive on a server it tells what the user may not do there (exit code 1).
    """
    loaded = load(config)
    typer.echo(f"{config}: good; {len(loaded.instruments)} instruments")
    missing = _missing_grants(loaded.archive.database) if loaded.archive else []
    for sentence in missing:
        typer.echo(sentence)
    raise typer.Exit(1 if missing else 0)


def _missing_grants(database: str) -> list[str]:
    url = DatabaseUrl.parse(database)
    if url.backend == "sqlite":
        return []
    from archiver.grants import missing_grants  # noqa: PLC0415 - an archive in a file needs no PyMySQL

    try:
        return missing_grants(url)
    except StoreError as error:
        typer.echo(f"archive: {error}; samples would wait in the spool", err=True)
        return []


@_command(app, "convert")
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="config.yml, or SE521_dbsettings.py (never run).")],
) -> None:
    """Print a configuration made from that of the CAEN HV logger or of the SE521 data logger.

    `rackioc convert config.yml > rack.yaml`: their old tables go on growing.
    """
    typer.echo(converted(file), nl=False)


@_command(app, "pvs")
def pvs(config: ConfigPath, form: FormOption = Form.table) -> None:
    """List the PVs of a configuration. Crates are connected to and asked what they have; nothing is written."""
    rows, silent = listing.rows(load(config))
    listing.write(rows, form.value, sys.stdout)
    for sentence in silent:
        typer.echo(sentence, err=True)
    raise typer.Exit(1 if silent else 0)


@_command(app, "history")
def history(
    pvs: Annotated[list[str], typer.Argument(metavar="PV...", help="Names or globs.")],
    since: Annotated[str | None, typer.Option(help="1h, 30m, 2d ago, or a time: '2026-11-20 14:00' (UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="As --since; left out: now.")] = None,
    at: Annotated[str | None, typer.Option(help="The value in force at that time (as --since, or now).")] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Count, range, mean, std, time in alarm of each PV.")] = False,
    bin_: Annotated[str | None, typer.Option("--bin", help="Count, range, mean of each 60s, 5m, 1h, ...")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw a picture.")] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw in the terminal.")] = False,
    form: Annotated[HistoryForm | None, typer.Option("--format", help="How to print; left out: table.")] = None,
    database: Annotated[str, typer.Option(envvar="RACKIOC_DATABASE", help="URL of the archive.")] = DATABASE,
    config: Annotated[Path | None, typer.Option(help="Take the database from this configuration.")] = None,
) -> None:
    """Print or plot what the archive holds of some PVs; the value in force when the time begins leads."""
    if config is not None:
        settings = load(config).archive
        database = settings.database if settings else database
    question = Question(
        pvs=pvs, database=database, since=since, until=until, form=form and form.value,
        at=at, stat=stat, bin=bin_, plot=plot, terminal=terminal,
    )  # fmt: skip
    answer(question, sys.stdout, sys.stderr)


@sim_app.callback(invoke_without_command=True)
@_guarded
def sim_rack(context: typer.Context, large: LargeOption = False) -> None:
    """Simulated instruments on the real wire, with faults on request."""
    if large and context.invoked_subcommand is not None:
        raise typer.BadParameter(f"--large stands alone or behind 'demo', not before '{context.invoked_subcommand}'")
    if large:
        _demo(large, CONTROL)


@_command(sim_app, "demo")
def sim_demo(large: LargeOption = False, control_path: ControlOption = CONTROL) -> None:
    """Serve the demo rack: a crate with three boards, a thermocouple logger, a generator, and the archiver."""
    _demo(large, control_path)


def _demo(large: bool, control_path: Path) -> None:
    name, crate = ("large.yaml", large_crate) if large else ("demo.yaml", demo_crate)
    _simulate(Path(str(files(sim) / name)), control_path, crate)


@_command(sim_app, "run")
def sim_run(config: ConfigPath, control_path: ControlOption = CONTROL) -> None:
    """Serve a configuration with a simulated instrument in the place of each real one."""
    _simulate(config, control_path)


@_command(sim_app, "technix")
def sim_technix(
    port: Annotated[Path, typer.Argument(metavar="LINK", help="Where the serial line appears.")],
    control_path: ControlOption = CONTROL,
) -> None:
    """Put one simulated generator on a serial line, for any program that speaks its protocol. Stop with Ctrl+C."""
    typer.echo(f"GEN listens at {port}; faults: rackioc sim fault GEN help --control-path {control_path}")
    technix.serve(str(port), str(control_path), technix.Generator())


@_command(sim_app, "fault")
def sim_fault(
    words: Annotated[list[str], typer.Argument(metavar="INSTRUMENT COMMAND...", help="Such as: GEN interlock open")],
    control_path: ControlOption = CONTROL,
) -> None:
    """Ask a simulated instrument for a fault; `rackioc sim fault GEN help` tells which there are."""
    try:
        typer.echo(control.send(str(control_path), " ".join(words)))
    except (FileNotFoundError, ConnectionRefusedError):
        raise CommandError(f"no simulation listens at {control_path}; 'rackioc sim demo' starts one") from None


def _simulate(path: Path, control_path: Path, crate: Callable[[str], Crate] = demo_crate) -> None:
    loaded = load(path)
    rack = Rack(loaded.raw, control_path=str(control_path), crate=crate)
    try:
        rack.plug()
    except RuntimeError as error:
        raise CommandError(str(error)) from error
    try:
        _serve(loaded, with_archiver=True, banner=banner.text(loaded, control_path))
    finally:
        rack.close()


def _serve(config: Config, *, with_archiver: bool, banner: str = "", force: bool = False) -> None:
    _log()

    async def beside(addresses: list[str]) -> None:
        if banner:
            typer.echo(banner)
        if with_archiver and config.archive is not None:
            await supervisor.supervise_archiver(config.path, addresses)
        await asyncio.Event().wait()

    asyncio.run(serve(config, beside, force=force))


def _log() -> None:
    level = os.environ.get("RACKIOC_LOG", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise CommandError(f"RACKIOC_LOG is {level}; allowed: DEBUG, INFO, WARNING, ERROR")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("caproto").setLevel(logging.ERROR)


def main() -> None:
    """The console script."""
    app()
