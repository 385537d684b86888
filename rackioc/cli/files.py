"""Commands that make files for other programs out of a configuration's PVs."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from exports.rack import Rack
from rackioc.cli.command import ConfigPath, SimulatedOption, command
from rackioc.config.load import load_instruments

app = typer.Typer()


class ReferenceForm(StrEnum):
    """Formats of the PV reference."""

    markdown = "markdown"
    html = "html"


OutOption = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Left out: the terminal.")]


@command(app, "alarms")
def alarms(
    config: ConfigPath,
    screens: Annotated[
        str, typer.Option(metavar="DIR", help="Path or URL under which Phoebus finds the screens.")
    ] = "",
    output: OutOption = None,
    simulated: SimulatedOption = False,
) -> None:
    """Make the alarm tree of a configuration for Phoebus' alarm server (XML). Crates are asked what they have."""
    from exports import alarms as made

    _make(config, output, simulated, lambda rack: made.alarms(rack, screens))


@command(app, "reference")
def reference(
    config: ConfigPath,
    form: Annotated[ReferenceForm, typer.Option("--format", help="How to write it.")] = ReferenceForm.markdown,
    output: OutOption = None,
    simulated: SimulatedOption = False,
) -> None:
    """Make a reference of the PVs: units, limits, states, alarms. Crates are asked what they have."""
    from exports import reference as made

    _make(config, output, simulated, made.page if form is ReferenceForm.html else made.markdown)


@command(app, "appliance")
def appliance(config: ConfigPath, output: OutOption = None, simulated: SimulatedOption = False) -> None:
    """Make the list of PVs for the Archiver Appliance (JSON for archivePV). Crates are asked what they have."""
    from exports import archives as made

    _make(config, output, simulated, made.appliance)


@command(app, "engine")
def engine(config: ConfigPath, output: OutOption = None, simulated: SimulatedOption = False) -> None:
    """Make the list of PVs for Phoebus' archive engine (XML). Crates are asked what they have."""
    from exports import archives as made

    _make(config, output, simulated, made.engine)


@command(app, "snapshot")
def snapshot(config: ConfigPath, output: OutOption = None, simulated: SimulatedOption = False) -> None:
    """Make the list of settings for Phoebus' save-and-restore (CSV). Crates are asked what they have."""
    from exports import snapshot as made

    _make(config, output, simulated, made.snapshot)


@command(app, "screens")
def screens(
    config: ConfigPath,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the files go; made if missing.")
    ],
    simulated: SimulatedOption = False,
) -> None:
    """Make screens for Phoebus (.bob) with their plots (.plt). Crates are asked what they have."""
    from exports.screens import screens as made
    from rackioc import listing

    rack, silent = listing.rack(load_instruments(config, simulated=simulated), simulated=simulated)
    output.mkdir(parents=True, exist_ok=True)
    for name, text in made.make(rack).items():
        _write(output / name, text)
    _end(silent)


def _make(config: Path, output: Path | None, simulated: bool, text: Callable[[Rack], str]) -> None:
    """Write a file; exit code 1 after that if an instrument could not be asked what it has."""
    from rackioc import listing

    rack, silent = listing.rack(load_instruments(config, simulated=simulated), simulated=simulated)
    made = text(rack)
    if output is None:
        typer.echo(made, nl=False)
    else:
        _write(output, made)
    _end(silent)


def _write(file: Path, text: str) -> None:
    """Write a file. Raises OSError with its path, which Python leaves out where the disk is full."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        error.filename = str(file)
        raise


def _end(silent: list[str]) -> None:
    for sentence in silent:
        typer.echo(sentence, err=True)
    raise typer.Exit(1 if silent else 0)
