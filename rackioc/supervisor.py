"""The processes beside the IOC: a slow disk, a slow database or a thousand browsers cannot touch the high voltage."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("rackioc")

# Seconds before the first restart; each further one waits twice as long, up to the last
FIRST_RESTART = 1.0
LAST_RESTART = 60.0
# A child that lived for so many seconds was well: the next restart is quick again
WELL = 60.0
# Seconds that a child may take to stop in order
STOP_PATIENCE = 15.0

# Linux, sys/prctl.h: ask for a signal when the parent process ends
_PR_SET_PDEATHSIG = 1


class Child(NamedTuple):
    """A process beside the IOC: its name in the log, and the command of rackioc that it runs."""

    name: str
    command: str


ARCHIVER, WEB_SERVER = Child("archiver", "archive"), Child("web server", "web")


async def supervise(child: Child, path: Path, addresses: Sequence[str]) -> None:
    """Keep a child running until cancelled; ``path`` is the configuration.

    ``addresses``: where the IOC listens when that is not everywhere; the child's name search is sent there, too.
    """
    environment = dict(os.environ)
    search = environment.get("EPICS_CA_ADDR_LIST", "").split()
    environment["EPICS_CA_ADDR_LIST"] = " ".join([*search, *(each for each in addresses if each not in search)])
    if own_code := _path_to_this_code():
        environment["PYTHONPATH"] = os.pathsep.join([own_code, *filter(None, [environment.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-m", "rackioc", child.command, str(path), "--parent", str(os.getpid())]
    pause = FIRST_RESTART
    while True:
        began = asyncio.get_running_loop().time()
        code = await _run(child.name, command, environment)
        if asyncio.get_running_loop().time() - began > WELL:
            pause = FIRST_RESTART
        log.error("the %s ended with code %d; starting it again in %g s", child.name, code, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LAST_RESTART)


def _path_to_this_code() -> str:
    """Return what a child needs on its path to run the code that runs here; "" where it finds that by itself.

    A checkout that is not installed is found here because it is the working directory, which a child started with
    ``-P`` does not look at: it would find another rackioc, or none.
    """
    here = Path(__file__).parent
    child_path = sys.path if sys.flags.safe_path else sys.path[1:]
    found = PathFinder.find_spec(here.name, child_path)
    return "" if found and found.origin == str(here / "__init__.py") else str(here.parent)


async def _run(name: str, command: list[str], environment: Mapping[str, str]) -> int:
    # a session of its own: Ctrl+C reaches the IOC alone, which then stops the child in order
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment, start_new_session=True)
    except OSError as error:
        log.error("the %s cannot be started: %s", name, error)
        return 1
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_PATIENCE)
        except TimeoutError:
            log.error("the %s has not stopped within %g s and was killed", name, STOP_PATIENCE)
            process.kill()
            await process.wait()
        raise


def end_with(parent: int) -> None:
    """Ask the kernel for a SIGTERM when the process ``parent`` ends (Linux), however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit("the IOC that started this process is gone")
