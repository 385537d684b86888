"""Commands ``rackioc db``: what keeps an archive for years."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from archiver.times import format_time
from archiver.units import counted
from rackioc.cli.command import command
from rackioc.cli.progress import Progress
from rackioc.config.load import load_archive
from sim.fake import CommandError

DATABASE = "sqlite:///rack.sqlite"

app = typer.Typer(no_args_is_help=True, help="An archive's database: create, back up, check, copy, repair, export.")

DatabaseOption = Annotated[str, typer.Option("--database", envvar="RACKIOC_DATABASE", help="URL of the archive.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Take the database from this configuration, whatever --database says.")
]
Archive = Annotated[
    str | None,
    typer.Argument(metavar="ARCHIVE", help="A configuration, an SQLite file, or a URL: goes before --database."),
]
Place = Annotated[str, typer.Argument(help="A configuration (.yaml), an SQLite file, or the URL of a database.")]


class ExportForm(StrEnum):
    """Formats of an export."""

    parquet = "parquet"
    csv = "csv"
    hdf5 = "hdf5"


def database_of(database: str, config: Path | None) -> str:
    """Return the URL of the archive of a configuration, if there is one, else that of the option.

    Raises CommandError if neither was given and this directory has none.
    """
    if config is not None:
        return load_archive(config, "database").database
    here = Path(DATABASE.removeprefix("sqlite:///"))
    if database == DATABASE and not (here.is_file() and here.stat().st_size):
        raise CommandError(f"there is no archive {here.absolute()}; name it: --config FILE or --database URL")
    return database


@command(app, "init")
def init(
    file: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="The configuration; or --config.")] = None,
    config: ConfigOption = None,
) -> None:
    """Create the archive's tables, as the archiver does when it starts; tables that exist stay as they are."""
    from archiver.loggers.tables import make_tables
    from archiver.storage import manage

    if (named := config if file is None else file) is None or (file and config):
        raise typer.BadParameter("give it once: as an argument, or with --config", param_hint="CONFIG")
    archive = load_archive(named)
    manage.init(archive.database)
    make_tables(archive)
    _show(manage.status(archive.database))


@command(app, "migrate")
def migrate(place: Archive = None, database: DatabaseOption = DATABASE, config: ConfigOption = None) -> None:
    """Migrate the tables of an older rackioc, as the archiver does when it starts."""
    from archiver.storage import manage

    archive = _archive_of(place, database, config)
    manage.migrate(archive)
    _show(manage.status(archive))


@command(app, "status")
def status(place: Archive = None, database: DatabaseOption = DATABASE, config: ConfigOption = None) -> None:
    """Print what the database holds and whether its tables are up to date; nothing is changed."""
    from archiver.storage import manage

    _show(manage.status(_archive_of(place, database, config)))


@command(app, "backup")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup; it must not exist.")],
    database: DatabaseOption = DATABASE,
    config: ConfigOption = None,
) -> None:
    """Write the whole archive into one SQLite file, while the archiver goes on; then read that once.

    Also of a server. `rackioc db copy FILE TO` brings it back.
    """
    from archiver.keeping.backup import backup as write
    from archiver.storage import manage
    from archiver.storage.url import url_of

    archive = database_of(database, config)
    with Progress(sys.stderr) as progress:
        write(archive, file, progress.report)
    typer.echo(f"{file}: {file.stat().st_size / 1e6:,.1f} MB, read without a fault")
    if url_of(archive).backend != "sqlite":
        _tell_left_out(manage.other_tables(archive))


@command(app, "check")
def check(place: Archive = None, database: DatabaseOption = DATABASE, config: ConfigOption = None) -> None:
    """Read the whole archive: is it sound, which gaps are in it, whose are its channels? Exit code 1 with faults."""
    from archiver.keeping.check import check as look

    with Progress(sys.stderr) as progress:
        found = look(_archive_of(place, database, config), progress.report)
    _show(found.lines)
    for fault in found.faults:
        typer.echo(f"fault: {fault}", err=True)
    typer.echo("no faults" if not found.faults else f"{len(found.faults)} faults")
    raise typer.Exit(1 if found.faults else 0)


@command(app, "copy")
def copy(
    origin: Annotated[str, typer.Argument(metavar="FROM", help="A configuration (.yaml), an SQLite file, or a URL.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="As FROM; it is created if it does not exist.")],
) -> None:
    """Copy all of an archive into another one, on any kind of database; what is there stays.

    After an interruption the same command goes on; given again later, it brings what is new.
    """
    from archiver.keeping.copy import copy as carry
    from archiver.storage import manage

    begin = time.monotonic()
    with Progress(sys.stderr) as progress:
        done = carry(_place(origin), _place(to), progress.report)
    typer.echo(
        f"{counted(done.rows, 'row')} copied in {time.monotonic() - begin:.1f} s, {done.before:,} were there before"
    )
    _tell_left_out(manage.other_tables(_place(origin)))
    if done.beyond:
        typer.echo(
            f"{counted(done.beyond, 'row')} left out: the server has no times before 1970 or after 2038", err=True
        )
        raise typer.Exit(1)


@command(app, "compact")
def compact(place: Archive = None, database: DatabaseOption = DATABASE, config: ConfigOption = None) -> None:
    """Give the free space within an archive back to the disk; the archiver spools, or goes on, meanwhile."""
    from archiver.storage import manage

    before, after = manage.compact(_archive_of(place, database, config))
    typer.echo(f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now")


@command(app, "rename")
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The name that the PV had.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name that it has.")],
    at: Annotated[str | None, typer.Option(help="Since when (local); left out: NEW's first row, or now.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the renaming back.")] = False,
    database: DatabaseOption = DATABASE,
    config: ConfigOption = None,
) -> None:
    """Note that a PV has another name: its history is read as one under both. No row is changed."""
    from archiver.keeping import rename as names

    place = database_of(database, config)
    if undo:
        names.undo(place, old, new)
        typer.echo(f"{old} and {new} are two PVs again")
        return
    made = names.rename(place, old, new, at)
    typer.echo(f"{old} is {new} since {format_time(made.since_ns)}")


@command(app, "export")
def export(
    pvs: Annotated[list[str], typer.Argument(metavar="PV...", help="Names or globs.")],
    form: Annotated[ExportForm, typer.Option("--format", help="The file's format.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file; it must not exist.")],
    since: Annotated[str | None, typer.Option(help="1h, 30m, 2d ago, or a time: '2026-11-20 14:00', local.")] = None,
    until: Annotated[str | None, typer.Option(help="As --since; left out: now.")] = None,
    database: DatabaseOption = DATABASE,
    config: ConfigOption = None,
) -> None:
    """Write the rows of PVs to a file for other programs; the columns are in docs/reference/archive.md."""
    from archiver.history.command import HistoryOptions
    from archiver.history.query import open_query
    from archiver.keeping.export import export as write

    place = database_of(database, config)
    window = HistoryOptions(pvs=pvs, database=place, since=since, until=until).window(time.time_ns())
    with open_query(place, pvs, window) as query:
        rows = write(query, output, form.value)
    typer.echo(f"{output}: {counted(rows, 'row')}")


@command(app, "salvage")
def salvage(
    damaged: Annotated[Path, typer.Argument(metavar="DAMAGED", help="The damaged SQLite file; it stays as it is.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A new SQLite file, or the URL of a new database.")],
) -> None:
    """Bring what can be read of a damaged SQLite file to a new archive; what cannot is marked `Damaged` there.

    Stop the archiver before. Exit code 1 if something is missing.
    """
    from archiver.keeping.salvage import salvage as rescue
    from archiver.storage.url import of_file

    with Progress(sys.stderr) as progress:
        found = rescue(of_file(damaged), _place(new), progress.report)
    typer.echo(f"{counted(found.rows, 'row')} could be salvaged")
    _tell_left_out(found.others)
    if found.pvs:
        typer.echo(f"rows are missing of {counted(len(found.pvs), 'PV')}: {', '.join(found.pvs[:20])}", err=True)
    if found.tables:
        typer.echo(f"other rows are missing in: {', '.join(found.tables)}", err=True)
    raise typer.Exit(1 if found.pvs or found.tables else 0)


def _tell_left_out(tables: list[str]) -> None:
    """Tell which tables beside the archive's own were not carried, such as those of a former logger."""
    if tables:
        typer.echo(f"other tables are left out: {', '.join(tables)}", err=True)


def _archive_of(place: str | None, database: str, config: Path | None) -> str:
    """Return the URL of an archive that is named by an argument, or else by the options."""
    if place is None:
        return database_of(database, config)
    if config is not None:
        raise typer.BadParameter("give it once: as an argument, or with --config", param_hint="ARCHIVE")
    if "://" in place or _is_sqlite(Path(place)):
        return _place(place)
    return load_archive(Path(place), "database").database


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(15) == b"SQLite format 3"
    except OSError:
        return False


def _place(text: str) -> str:
    """Return the URL of an archive that is named by its configuration, its file, or its URL."""
    from archiver.storage.url import of_file

    if "://" in text:
        return text
    if Path(text).suffix in {".yaml", ".yml"}:
        return load_archive(Path(text), "database").database
    return of_file(text)


def _show(rows: list[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        typer.echo(f"{label:<{width}}  {value}")
