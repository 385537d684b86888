"""What a simulation has of this computer: directories for its control channel, lines and files, and a port."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

# Its path, for configurations: ``port: ${RACKIOC_RUNTIME}/generator``
VARIABLE = "RACKIOC_RUNTIME"

# The port of the demo's web server, for its configuration, and which one it is if that is free
WEB_PORT = "RACKIOC_WEB_PORT"
USUAL_PORT = 8080


def directory() -> Path:
    """Return the path of the directory; it is made when something is put into it.

    That is what the environment says, else a directory in that of the user's session, which others cannot enter, else
    one with the user's number in its name.
    """
    if given := os.environ.get(VARIABLE):
        return Path(given)
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    if session and os.access(session, os.W_OK):
        return Path(session) / "rackioc"
    # not tempfile.gettempdir(): it raises where no byte can be written, as on a full disk, and all commands come by
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"rackioc-{os.getuid()}"


def simulations() -> Path:
    """Return the directory of this user for the files of simulations: on a disk, for an archive grows.

    It is made if it is not there. Raises PermissionError if somebody else may write there.
    """
    folder = Path(os.environ.get("TMPDIR") or "/var/tmp") / f"rackioc-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = folder.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid() or there.st_mode & 0o022:
        raise PermissionError(
            errno.EACCES, "others may write there; set TMPDIR to a directory of your own", str(folder)
        )
    return folder


def simulation_of(config: Path) -> Path | None:
    """Return where a simulation of a configuration has its files; None for one that is that of a simulation itself.

    Below ``simulations()`` it is the path of the configuration's directory: each has its own, and is found again.
    """
    folder, there = simulations(), config.absolute().parent
    return None if there.is_relative_to(folder) else folder / there.relative_to("/")


def publish() -> None:
    """Tell configurations and child processes where the directory is, and the port."""
    os.environ[VARIABLE] = str(directory())
    os.environ.setdefault(WEB_PORT, str(USUAL_PORT))


def choose_web_port() -> None:
    """Take another port if the usual one is in use and the environment gave none."""
    if os.environ.get(WEB_PORT, str(USUAL_PORT)) != str(USUAL_PORT):
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", USUAL_PORT))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        os.environ[WEB_PORT] = str(probe.getsockname()[1])


def remove() -> None:
    """Remove the directory, unless something is still in it."""
    with suppress(OSError):
        directory().rmdir()
