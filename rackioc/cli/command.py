"""What all commands share: their arguments, and what becomes of their errors."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from archiver.history.query import HistoryError
from archiver.recording.spool import SpoolError
from archiver.settings import ArchiveSettings
from archiver.storage.store import StoreError
from rackioc.config.config import Config, ConfigError
from sim.fake import CommandError

# Exit code for a configuration that cannot be used
EXIT_CONFIG = 2


class Form(StrEnum):
    """Formats of a listing."""

    table = "table"
    csv = "csv"
    json = "json"


ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file (YAML).")]
FormOption = Annotated[Form, typer.Option("--format", help="How to print.")]


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
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more, as with head
            raise typer.Exit(1) from None
        except (OSError, HistoryError, StoreError, SpoolError, CommandError) as error:
            typer.echo(f"rackioc: {error}", err=True)
            raise typer.Exit(1) from None

    return guarded


def archive_of(config: Config) -> ArchiveSettings:
    """Return what stands under ``archive:``; exit code 2 if nothing does."""
    if config.archive is None:
        typer.echo(f"{config.path}: archive: is missing; it says what to keep (pvs) and where (database)", err=True)
        raise typer.Exit(EXIT_CONFIG)
    return config.archive


def start_log() -> None:
    """Start logging to stderr, at the level that ``RACKIOC_LOG`` gives. Raises CommandError."""
    level = os.environ.get("RACKIOC_LOG", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise CommandError(f"RACKIOC_LOG is {level}; allowed: DEBUG, INFO, WARNING, ERROR")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("caproto").setLevel(logging.ERROR)
