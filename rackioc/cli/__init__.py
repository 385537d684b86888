"""The command ``rackioc``: the one place that puts the rooms together (IOC, archiver, simulated instruments).

What only one command needs is imported by that command, so that a short one begins at once.
"""

from __future__ import annotations

import sys
from importlib import metadata
from io import TextIOWrapper
from typing import Annotated

import typer

from rackioc.cli import archive, channel, command, database, files, runtime, serving, simulation, web

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # caget and caput take -h
    pretty_exceptions_enable=False,  # a traceback of a pretty printer shows local variables: passwords
    rich_markup_mode="markdown",
    help="""Serve a rack of slow-control instruments as EPICS process variables, and keep their history.

    First steps: `rackioc sim demo` serves simulated instruments; `rackioc check rack.yaml` checks a configuration;
    `rackioc run rack.yaml` serves the real ones.""",
)
app.add_typer(serving.app)
app.add_typer(channel.app)
app.add_typer(archive.app)
app.add_typer(web.app)
app.add_typer(files.app)
app.add_typer(database.app, name="db")
app.add_typer(simulation.app, name="sim")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rackioc {metadata.version('rackioc')}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
]


@app.callback()
def common(version: _Version = False) -> None:
    """Do what comes before each command."""
    if isinstance(sys.stdout, TextIOWrapper):  # a letter that the locale does not have shall end no command
        sys.stdout.reconfigure(errors="backslashreplace")
    runtime.publish()


def main() -> None:
    """Run the command line. What could not be written is told here where the command is over, and for --help."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        typer.echo(f"rackioc: {command.sentence(error)}", err=True)
        sys.exit(1)
