"""What ``rackioc sim`` prints when it serves: what there is to try, and how to stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from archiver.settings import ArchiveSettings
from rackioc.config.config import Config


def text(config: Config, control_path: Path, of: Path | None = None) -> str:
    """Return the lines for a configuration that runs on simulated instruments; ``of``: the one that it simulates."""
    own = Path(sys.executable).parent
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
        *(f"  {own}/rackioc get {name}" for name in read),
        *(f"  {own}/rackioc monitor {name}" for name in read[-1:]),
        *(f"  {own}/rackioc put {words}" for words in put),
        f"All names:  {own}/rackioc get -t '{config.pv_list}'",
        f"Faults:     {own}/rackioc sim fault {next(iter(names), '')} help --control-path {control_path}",
    ]
    if config.archive is not None:
        since = f"--since 10m --config {config.path}"
        lines += [
            f"Archive:    {config.archive.shown}",
            f"History:    {own}/rackioc history '{_kept(config.archive, read)}' {since}",
            f"Status:     {own}/rackioc status {config.path}",
        ]
    return "\n".join(["", *lines, "Stop with Ctrl+C.", ""])


def _kept(archive: ArchiveSettings, names: Sequence[str]) -> str:
    """Return the first of the names that the archive keeps, or else the first thing that it keeps."""
    return next((name for name in names if archive.matches(name)), next(iter(archive.pvs), "*"))
