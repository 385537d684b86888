"""The command ``rackioc``: the one place that puts the rooms together (IOC, archiver, simulated instruments).

What only one command needs is imported by that command, so that a short one begins at once.
"""

from __future__ import annotations

import typer

from rackioc.cli import archive, serving, simulation

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback of a pretty printer shows local variables: passwords
    rich_markup_mode="markdown",
    help="""Serve a rack of slow-control instruments as EPICS process variables, and keep their history.

    First steps: `rackioc sim demo` serves simulated instruments; `rackioc check rack.yaml` checks a configuration;
    `rackioc run rack.yaml` serves the real ones.""",
)
app.add_typer(serving.app)
app.add_typer(archive.app)
app.add_typer(archive.db_app, name="db")
app.add_typer(simulation.app, name="sim")


def main() -> None:
    """Run the command line: the console script ``rackioc``."""
    app()
