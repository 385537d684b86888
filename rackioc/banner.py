"""What ``rackioc sim`` prints when it serves: what there is to try, and how to stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from shlex import quote

from archiver.settings import ArchiveSettings
from rackioc.config.config import Config


def text(config: Config, control_path: Path, of: Path | None = None, beside: Path | None = None) -> str:
    """Return the lines for a configuration that runs on simulated instruments; each command works in any directory.

    ``of``: the configuration that it simulates; ``beside``: the directory from which its paths count, where that is
    the one in which a command is started.
    """
    rackioc = quote(f"{Path(sys.executable).parent}/rackioc")
    path, control = quote(str(config.path.absolute())), quote(str(control_path.absolute()))
    names = [each.name for each in config.instruments]
    examples = {each.name: each.driver.example for each in config.instruments}
    read = [f"{config.prefix}{name}:{each.read}" for name, each in examples.items() if each is not None]
    put = [f"{config.prefix}{name}:{each.put}" for name, each in examples.items() if each is not None and each.put]
    page = [] if config.web is None else [f"Web page:   {config.web.url}"]
    lines = [
        f"rackioc {version('rackioc')} serves simulated instruments as {config.prefix}*: {', '.join(names)}",
        *([] if of is None else [f"Its files:  {config.path.parent}; archive, tables, site file of {of}: untouched"]),
        *page,
        "Try in another shell (or caget, camonitor, caput -c of EPICS base):",
        *(f"  {rackioc} get {name}" for name in read),
        *(f"  {rackioc} monitor {name}" for name in read[-1:]),
        *(f"  {rackioc} put {words}" for words in put),
        f"All names:  {rackioc} get -t '{config.pv_list}'",
        f"Faults:     {rackioc} sim fault {next(iter(names), '')} help --control-path {control}",
    ]
    if config.archive is not None:
        history = f"{rackioc} history '{_kept(config.archive, read)}' --since 10m --config {path}"
        lines += [
            f"Archive:    {config.archive.shown}",
            f"History:    {_in(beside, history)}",
            f"Status:     {_in(beside, f'{rackioc} status {path}')}",
        ]
    return "\n".join(["", *lines, "Stop with Ctrl+C.", ""])


def _kept(archive: ArchiveSettings, names: Sequence[str]) -> str:
    """Return the first of the names that the archive keeps, or else the first thing that it keeps."""
    return next((name for name in names if archive.matches(name)), next(iter(archive.pvs), "*"))


def _in(folder: Path | None, command: str) -> str:
    return command if folder is None else f"(cd {quote(str(folder))} && {command})"
