"""Commands of a Channel Access client: caget, caput, camonitor and cainfo for a computer without EPICS base."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.ca.error import SessionError
from archiver.history.formats import show_value
from archiver.sample import SEVERITIES, Value, unpack
from ioc.ca.network import environment
from rackioc import streams
from rackioc.cli.command import SignedCommand, command, sentence
from sim.fake import CommandError

if TYPE_CHECKING:
    from archiver.ca.listener import PvUpdate
    from archiver.ca.session import Pv, Session

app = typer.Typer()

# Seconds that a get waits for a server, and a put for an instrument
ANSWER, COMPLETION = 5.0, 30.0
# Names of the DBR types, as cainfo prints them
_TYPES = ("DBF_STRING", "DBF_SHORT", "DBF_FLOAT", "DBF_ENUM", "DBF_CHAR", "DBF_LONG", "DBF_DOUBLE")

PvNames = Annotated[list[str], typer.Argument(metavar="PV...", help="Names, each with a field (.HIHI) or without.")]
Timeout = Annotated[float, typer.Option("-w", "--timeout", min=0.1, help="Seconds to wait for each answer.")]
Terse = Annotated[bool, typer.Option("-t", "--terse", help="Print the value alone.")]


@command(app, "get")
def get(pvs: PvNames, terse: Terse = False, timeout: Timeout = ANSWER) -> None:
    """Print the values of PVs, as caget; exit code 1 if one was not read."""
    failed = False
    with _session(timeout) as session:
        for pv in session.search(pvs):
            try:
                if not pv.connected:
                    raise SessionError(session.not_found(pv.name))
                update = session.get(pv)
                typer.echo(_line(pv, update, terse))
                _tell_invalid(pv, update)
            except SessionError as error:
                typer.echo(f"rackioc: {error}", err=True)
                failed = True
    raise typer.Exit(1 if failed else 0)


@command(app, "put", cls=SignedCommand)
def put(
    pv: Annotated[str, typer.Argument(metavar="PV", help="A name, with a field (.HIHI) or without.")],
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="VALUE...", help="A number, a word, or those of an array; behind -- if a word begins with -."
        ),
    ],
    terse: Terse = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "-w",
            "--timeout",
            min=0.1,
            show_default="5, 30",
            help="Seconds to wait for the server, and the instrument.",
        ),
    ] = None,
) -> None:
    """Put a value and wait until the instrument has taken it, as caput -c; exit code 1 and why if it is refused.

    The value of before and the one of afterwards are printed.
    """
    # an On is not to come half a minute late, where nobody said that it may
    with _session(timeout or COMPLETION, timeout or ANSWER) as session:
        channel = session.connect(pv)
        unwritten = None if terse else _print_value(session, channel, "Old : ", soon=True)
        try:
            session.put(channel, values)
        finally:
            unwritten = _print_value(session, channel, "" if terse else "New : ", terse) or unwritten
    if unwritten is not None:
        raise CommandError(f"{pv} was put, but the values cannot be printed: {sentence(unwritten)}")


@command(app, "monitor")
def monitor(pvs: PvNames, timeout: Timeout = ANSWER) -> None:
    """Print each change of PVs with its time (local) and alarm, as camonitor, and each loss of one, until Ctrl+C."""
    with _session(timeout) as session, suppress(KeyboardInterrupt):
        channels = session.begin_search(pvs)
        for pv in channels:  # what is found is printed while others are still looked for
            gone = f"{pv.name:<30} *** Disconnected"  # or the value of before would be taken for that of now
            session.monitor(pv, partial(_print_dated, pv), partial(typer.echo, gone), partial(_print_unread, pv))
        session.wait_for_connections(channels)
        for pv in channels:
            if not pv.connected:
                typer.echo(f"{pv.name:<30} *** Not connected (PV not found)")
        session.wait(lambda: False, timeout=float("inf"))


@command(app, "info")
def info(pvs: PvNames, timeout: Timeout = ANSWER) -> None:
    """Print where PVs are served, their type and access, as cainfo; exit code 1 if one is not connected."""
    failed = False
    with _session(timeout) as session:
        for pv in session.search(pvs):
            if not pv.connected:
                typer.echo(f"rackioc: {session.not_found(pv.name)}", err=True)
                failed = True
                continue
            read, write = pv.channel.access
            rows = {
                "State": "connected",
                "Host": pv.channel.host,
                "Access": f"{'' if read else 'no '}read, {'' if write else 'no '}write",
                "Native data type": _TYPES[pv.native],
                "Element count": str(pv.count),
            }
            typer.echo(pv.name)
            for label, value in rows.items():
                typer.echo(f"    {label + ':':<17} {value}")
    raise typer.Exit(1 if failed else 0)


def _session(timeout: float, search: float | None = None) -> Session:
    """Return a session, which searches for as long as it waits unless told otherwise.

    Raises EnvironmentFault for nonsense, where libca says so and goes on with its defaults.
    """
    from archiver.ca.session import Session

    environment.check()
    streams.keep()
    return Session(timeout, search)


def _print_value(session: Session, pv: Pv, label: str, terse: bool = False, *, soon: bool = False) -> OSError | None:
    """Print what a PV's value is; return what kept it from being printed, such as a full disk.

    Neither that keeps an Off from being put, nor a value that cannot be read, or not ``soon``.
    """
    try:
        _print_read(session, pv, label, terse, soon=soon)
    except OSError as error:
        return error
    return None


def _print_read(session: Session, pv: Pv, label: str, terse: bool, *, soon: bool) -> None:
    try:
        update = session.get(pv, soon=soon)
        typer.echo(label + _line(pv, update, terse))
        if not soon:
            _tell_invalid(pv, update)
    except SessionError as error:
        typer.echo(f"rackioc: {error}", err=True)


def _tell_invalid(pv: Pv, update: PvUpdate) -> None:
    """Say, beside what caget prints, that a value may not be true; a field is, whatever the value of its record."""
    field = pv.name.partition(".")[2]
    if SEVERITIES[update.severity] == "INVALID" and (field[:1] in "[{$" or re.match(r"VAL\b", field)):
        typer.echo(f"rackioc: {pv.name} is INVALID ({update.status}): it may not be the value of now", err=True)


def _print_unread(pv: Pv, reason: str) -> None:
    """Print that a value cannot be read any more: the one above would be taken for that of now."""
    typer.echo(f"{pv.name:<30} *** Not read ({reason})")


def _line(pv: Pv, update: PvUpdate, terse: bool = False) -> str:
    value = _shown(update.value)
    return value if terse else f"{pv.name:<30} {value}"


def _print_dated(pv: Pv, update: PvUpdate) -> None:
    """Print an update as camonitor does: alarm words only while there is an alarm."""
    seconds, nanoseconds = divmod(update.stamp_ns, 10**9)
    moment = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{nanoseconds // 1000:06d}"
    alarm = f"{update.status} {SEVERITIES[update.severity]}" if update.severity else ""
    typer.echo(f"{pv.name:<30} {moment} {_shown(update.value)} {alarm}".rstrip())


def _shown(value: Value) -> str:
    """Return a value with six digits, as caget; NaN is written as in the history."""
    if isinstance(value, bytes):
        numbers: Sequence[float] = unpack(value)
        return " ".join([str(len(numbers)), *map(_shown, numbers)])
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else show_value(value, 0)
    return str(value)
