"""What all commands share: their arguments, and what becomes of their errors."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from archiver.ca.error import SessionError
from archiver.history.query import HistoryError, HistoryUsageError
from archiver.recording.spool import SpoolError
from archiver.storage.store import StoreError, WrongUrl
from ioc.ca.network.environment import EnvironmentFault
from rackioc.config.config import ConfigError
from sim.fake import CommandError

# Exit code for a configuration that cannot be used
EXIT_CONFIG = 2

_NEGATIVE = re.compile(r"-(0x[0-9a-fA-F]+|(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)")


class Form(StrEnum):
    """Formats of a listing."""

    table = "table"
    csv = "csv"
    json = "json"


ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file (YAML).")]
FormOption = Annotated[Form, typer.Option("--format", help="How to print.")]
SimulatedOption = Annotated[
    bool, typer.Option("--simulated", help="Ask a simulated crate in the place of each real one.")
]


def end_at_a_signal() -> None:
    """End with exit code 0 at a signal from now on: for what serves, until that ends itself in its own way.

    Reading the configuration and loading libraries take seconds on a busy computer, and nothing is to be ended yet.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda *_: sys.exit(0))


class SignedCommand(TyperCommand):
    """A command with arguments that may be negative numbers; else what begins with - is an option, or a fault.

    ``ignore_unknown_options`` alone takes the letters of known options out of others: of ``-test`` it left ``-es``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; an option that there is not ends it."""
        self.make_parser(ctx).parse_args(["0" if _NEGATIVE.fullmatch(each) else each for each in args])
        ctx.ignore_unknown_options = True
        return super().parse_args(ctx, args)


def command(target: typer.Typer, name: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command whose known errors become one clear sentence and the right exit code."""

    def register(action: Callable[..., Any]) -> Callable[..., Any]:
        target.command(name, **options)(guarded(action))
        return action

    return register


def guarded(action: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that ends with a sentence and an exit code where it would raise a known error."""

    @wraps(action)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            action(*args, **kwargs)
        except ConfigError as error:
            typer.echo(error, err=True)
            raise typer.Exit(EXIT_CONFIG) from None
        except (EnvironmentFault, HistoryUsageError, WrongUrl) as error:
            typer.echo(f"rackioc: {error}", err=True)
            raise typer.Exit(EXIT_CONFIG) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more, as with head
            raise typer.Exit(1) from None
        except (OSError, HistoryError, StoreError, SpoolError, SessionError, CommandError) as error:
            typer.echo(f"rackioc: {sentence(error)}", err=True)
            raise typer.Exit(1) from None

    return guarded


def sentence(error: Exception) -> str:
    """Return the text of an error; that of the operating system begins with the path that it is about."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


# What logs under "rackioc." and is no instrument; "": the program itself
_PARTS = {"", "clients", "faults", "puts", "server", "site"}


class _Formatter(logging.Formatter):
    """Lines with time, level and where they come from, unless they name the instrument that they come from."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(place)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        _, _, instrument = record.name.partition("rackioc.")
        named = instrument not in _PARTS and re.search(rf"(?<!\w){re.escape(instrument)}(?!\w)", record.getMessage())
        record.place = "" if named else f"{record.name}: "
        return super().format(record)


def start_log() -> None:
    """Start logging to stderr, at the level that ``RACKIOC_LOG`` gives. Raises EnvironmentFault."""
    level = os.environ.get("RACKIOC_LOG", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise EnvironmentFault(
            f"the environment variable RACKIOC_LOG is {level}; allowed: DEBUG, INFO, WARNING, ERROR"
        )
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("caproto").setLevel(logging.ERROR)
