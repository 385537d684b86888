"""What ``rackioc sim`` prints when it serves: what there is to try, and how to stop."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from rackioc.config.config import Config


def text(config: Config, control_path: Path) -> str:
    """Return the lines for a configuration that runs on simulated instruments."""
    own = Path(sys.executable).parent
    names = [each.name for each in config.instruments]
    examples = {each.name: each.driver.example for each in config.instruments}
    read = [f"{config.prefix}{name}:{each.read}" for name, each in examples.items() if each is not None]
    put = [f"{config.prefix}{name}:{each.put}" for name, each in examples.items() if each is not None and each.put]
    lines = [
        f"rackioc {version('rackioc')} serves simulated instruments as {config.prefix}*: {', '.join(names)}",
        "Try in another shell, with EPICS base or with what is installed here:",
        *(f"  caget {name}      {own}/caproto-get {name}" for name in read),
        *(f"  camonitor {name}      {own}/caproto-monitor {name}" for name in read[-1:]),
        *(f"  caput -c {words}      {own}/caproto-put --notify {words}" for words in put),
        f"All names:  {own}/caproto-get -t -S '{config.pv_list}'",
        f"Faults:     {own}/rackioc sim fault {next(iter(names), '')} help --control-path {control_path}",
    ]
    if config.archive is not None:
        since = f"--since 10m --config {config.path}"
        lines += [
            f"Archive:    {config.archive.shown} in {Path.cwd()}",
            *(f"History:    {own}/rackioc history '{name}' {since}" for name in read[:1]),
        ]
    return "\n".join(["", *lines, "Stop with Ctrl+C.", ""])
