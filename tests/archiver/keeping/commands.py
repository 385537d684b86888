"""The command ``rackioc db`` as a process, which may be killed in the middle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
RACKIOC = (sys.executable, "-P", "-m", "rackioc", "db")


def start(*arguments: str, directory: Path) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [*RACKIOC, *arguments], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(*arguments: str, directory: Path) -> tuple[int, str]:
    """Run a command; return its exit code and what it printed."""
    process = start(*arguments, directory=directory)
    text, _ = process.communicate(timeout=55)
    return process.returncode, text
