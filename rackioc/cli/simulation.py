"""Commands that put simulated instruments in the place of real ones."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import typer

from rackioc.cli import runtime
from rackioc.cli.command import ConfigPath, SignedCommand, command, end_at_a_signal, guarded, sentence
from rackioc.cli.serving import serve
from rackioc.config import simulated
from rackioc.config.config import Config
from rackioc.config.load import load, load_simulated
from sim.fake import CommandError

CONTROL = runtime.directory() / "control"

app = typer.Typer(no_args_is_help=True)

# Prefixes of the demo's two racks
_DEMOS = ("DEMO:", "LARGE:")

LargeOption = Annotated[bool, typer.Option("--large", help="With a full crate: 16 boards of 48 channels.")]
ControlOption = Annotated[Path, typer.Option(help="Unix socket on which faults are asked for.")]


@app.callback(invoke_without_command=True)
@guarded
def sim_rack(context: typer.Context, large: LargeOption = False) -> None:
    """Simulate instruments on the real wire, with faults on request."""
    if large and context.invoked_subcommand is not None:
        raise typer.BadParameter(f"give --large alone or after 'demo', not before '{context.invoked_subcommand}'")
    if large:
        _demo(large, CONTROL)


@command(app, "demo")
def sim_demo(large: LargeOption = False, control_path: ControlOption = CONTROL) -> None:
    """Serve the demo rack: a crate with three boards, a thermocouple logger, a generator, and the archiver."""
    _demo(large, control_path)


def _demo(large: bool, control_path: Path) -> None:
    end_at_a_signal()
    if control_path != CONTROL:  # a second one, whose lines are not those of the first
        os.environ[runtime.VARIABLE] = f"{control_path.absolute()}.lines"
    config = "large.yaml" if large else "demo.yaml"
    runtime.choose_web_port()
    loaded = load(Path(str(files("sim") / config)))
    _refuse_archive_of_others(loaded)
    _simulate(loaded, control_path, beside=Path.cwd(), large=large)


def _refuse_archive_of_others(config: Config) -> None:
    """Raise CommandError if the demo's archive is that of a rack: nothing would tell its values from measured."""
    from archiver.storage import manage
    from archiver.storage.store import StoreError
    from archiver.storage.url import DatabaseUrl

    archive = config.archive
    assert archive is not None
    path = DatabaseUrl.parse(archive.database).file
    assert path is not None
    _refuse_where_none_can_be(path.parent)
    if not path.exists() or path.stat().st_size == 0:  # of an empty file the archiver makes an archive
        return
    way_out = "start the demo in another directory, or move that file away"
    try:
        if not manage.exists(archive.database):
            raise CommandError(f"{path} is not an archive of rackioc: {way_out}")
        described = manage.status(archive.database)
    except StoreError as error:
        raise CommandError(f"{error}: {way_out}") from error
    for label, _ in described:
        who, _, name = label.partition(" ")
        if who == "archiver" and not name.startswith(_DEMOS):
            raise CommandError(f"{path} is the archive of {name}: start the demo in another directory")


def _refuse_where_none_can_be(folder: Path) -> None:
    """Raise CommandError if no file can be made there: the archiver would say so at each of its tries, for ever."""
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        why = f"{folder} cannot be written to ({error.strerror})"
        raise CommandError(
            f"{why}, and the demo keeps its history there: start the demo in another directory"
        ) from error


@command(app, "run")
def sim_run(config: ConfigPath, control_path: ControlOption = CONTROL) -> None:
    """Serve a configuration with a simulated instrument in the place of each real one.

    It has an archive, a site file and serial lines of its own: what is configured is neither read nor written.
    """
    end_at_a_signal()
    _simulate(_own(config), control_path, of=config)


@command(app, "technix")
def sim_technix(
    port: Annotated[str, typer.Argument(metavar="LINK", help="Where the serial line appears.")],
    control_path: ControlOption = CONTROL,
) -> None:
    """Put one simulated generator on a serial line, for any program that speaks its protocol. Stop with Ctrl+C."""
    from sim.technix import fake

    hint = f"GEN listens at {port}; faults: rackioc sim fault GEN help --control-path {control_path}"
    try:
        fake.serve(port, str(control_path), started=lambda: typer.echo(hint))
    except (RuntimeError, OSError) as error:
        raise typer.BadParameter(sentence(error)) from error
    finally:
        runtime.remove()


@command(app, "fault", cls=SignedCommand)
def sim_fault(
    words: Annotated[list[str], typer.Argument(metavar="INSTRUMENT COMMAND...", help="Such as: GEN interlock open")],
    control_path: ControlOption = CONTROL,
) -> None:
    """Ask a simulated instrument for a fault; `rackioc sim fault GEN help` tells which there are."""
    from sim import control

    try:
        answer = control.send(str(control_path), " ".join(words))
    except (FileNotFoundError, ConnectionRefusedError):
        raise CommandError(f"no simulation listens at {control_path}; 'rackioc sim demo' starts one") from None
    except OSError as error:
        raise CommandError(f"{control_path} cannot be connected to: {error.strerror or error}") from None
    if answer:
        typer.echo(answer)


def _own(path: Path) -> Config:
    """Return a configuration with files of its own, unless it has them already."""
    folder = runtime.simulation_of(path)
    try:
        return load(path) if folder is None else simulated.copy(load_simulated(path), folder)
    except simulated.SimulationError as error:
        raise CommandError(str(error)) from error


def _simulate(
    config: Config, control_path: Path, *, large: bool = False, of: Path | None = None, beside: Path | None = None
) -> None:
    """Serve simulated instruments; ``of`` and ``beside``: see ``banner.text``."""
    from rackioc import banner
    from sim.caen.boards import large_crate
    from sim.rack import Rack

    options = {"caen": {"crate": large_crate}} if large else {}
    try:
        rack = Rack(config.raw, control_path=str(control_path), options=options)
        rack.plug()
    except (RuntimeError, ValueError) as error:
        raise CommandError(str(error)) from error
    try:
        serve(config, banner=banner.text(config, control_path, of, beside))
    finally:
        rack.close()
        runtime.remove()
