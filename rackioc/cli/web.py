"""The command that serves the web."""

from __future__ import annotations

from typing import Annotated

import typer

from ioc.ca.network import environment
from rackioc import streams, supervisor
from rackioc.cli.command import ConfigPath, command, start_log
from rackioc.config.load import load
from sim.fake import CommandError
from web.settings import WebSettings

app = typer.Typer()


@command(app, "web")
def web(config: ConfigPath, parent: Annotated[int, typer.Option(hidden=True)] = 0) -> None:
    """Serve the page of a rack, and its history over HTTP; a Channel Access client and a reader of the archive.

    It may run on another computer than the IOC.
    """
    from rackioc import guidance
    from web import server
    from web.access.logins import LoginsError
    from web.app import Served

    loaded = load(config)
    start_log()
    environment.check()
    streams.keep()
    if parent:
        supervisor.end_with(parent)
    archive = loaded.archive
    served = Served(
        settings=loaded.web or WebSettings(),
        prefix=loaded.prefix,
        pv_list=loaded.pv_list,
        safe_list=loaded.safe_list,
        instrument_list=loaded.instrument_list,
        database=archive.database if archive else None,
        kinds=loaded.kinds,
        words=guidance.words(),
        caution=guidance.caution(loaded.prefix),
        remedy=guidance.remedy,
    )
    try:
        code = server.main(served)
    except LoginsError as error:
        raise CommandError(str(error)) from None
    raise typer.Exit(code)


@command(app, "web-password")
def web_password(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the login.")],
    put: Annotated[bool, typer.Option("--put", help="May put as well as see.")] = False,
) -> None:
    """Ask for a password and print the line of a login for the file that `web: logins:` names.

    `rackioc web-password anna --put >> logins`
    """
    from web.access import logins

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        typer.echo(logins.line(name, password, "put" if put else "view"))
    except logins.LoginsError as error:
        raise typer.BadParameter(str(error)) from None
