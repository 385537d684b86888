"""Servers on private ports of the loopback, one at a time, and what their processes use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from bench.rig import client, loopback
from bench.rig.load import Load

ROOT = Path(__file__).absolute().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rackioc-bench"
PYTHONSOFTIOC = "softioc>=4.6,<5"
# Seconds after which a server that was asked to stop is killed
STOP = 20.0
# Seconds until a server must serve; caproto takes 2 ms for a record with fields
START = 180.0

# Seconds until an archiver must have begun
ARCHIVER_START = 120.0
_CONFIG = "prefix: 'ARCHIVE:'\ninstruments: {{}}\narchive:\n  database: sqlite:///rack.sqlite\n  pvs:\n{pvs}"


class NotAvailable(Exception):
    """A peer or a tool that is not available here; the text is the reason."""


class Failed(Exception):
    """A server or a tool that did not do what was asked; the text says what."""


@dataclass(frozen=True)
class Peer:
    """A server to compare: ``key`` is its name on the command line and its module in ``bench.peers``.

    saturates  True if 120,000 updates a second are known to be far beyond it: one short run shows that
    """

    key: str
    title: str
    python: Callable[[], str] = lambda: sys.executable
    saturates: bool = False


@dataclass(frozen=True)
class PeerServer:
    """A server that serves. ``start_seconds``: from the end of its imports until it answered for its last record."""

    process: subprocess.Popen[str]
    port: int
    environment: Mapping[str, str]
    start_seconds: float

    def cpu(self) -> float:
        """Return the seconds of processor time so far."""
        return cpu(self.process.pid)

    def rss(self) -> float:
        """Return the resident memory in kB."""
        return rss(self.process.pid)

    def clients_are_connected(self) -> None:
        """Let a server that its load saturates begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("connected\n")
        self.process.stdin.flush()


@contextmanager
def serve(peer: Peer, load: Load) -> Iterator[PeerServer]:
    """Yield the server of a peer, from the moment when it serves the whole load; kill it in the end."""
    command = [peer.python(), "-P", "-m", f"bench.peers.{peer.key}", *load.arguments()]
    own = environment()
    with tempfile.TemporaryDirectory() as folder, launch(command, folder, own) as (process, log):
        try:
            began = float(_wait(process, log, r"^begin (\S+)$").group(1))
            port = int(own["EPICS_CA_SERVER_PORT"])
            answer = client.search(port, load.names[-1], START)
            yield PeerServer(process, answer, own, time.monotonic() - began)
        except (TimeoutError, ConnectionError) as error:
            tail = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Failed(f"{error}{'; the last line of its log: ' if tail else ''}{''.join(tail)}") from error


@contextmanager
def launch(command: list[str], folder: str, own: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Yield a process in ``folder`` and the file of its log; stop it in the end."""
    log = Path(folder) / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=own, stdin=subprocess.PIPE, stdout=out, stderr=out, text=True
        )
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def archiver(ioc: PeerServer, load: Load, folder: Path, missing: Callable[[], str]) -> Iterator[int]:
    """Yield the id of a process ``rackioc archive`` that writes into ``folder``, once ``missing`` returns nothing.

    Raises Failed with what is missing.
    """
    pvs = "".join(f"    - {name}\n" for name in load.names)
    (folder / "rack.yaml").write_text(_CONFIG.format(pvs=pvs))
    command = [sys.executable, "-P", "-m", "rackioc", "archive", "rack.yaml"]
    with launch(command, str(folder), dict(ioc.environment)) as (process, log):
        deadline = time.monotonic() + ARCHIVER_START
        while what := missing():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{what}; its log: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.5)
        yield process.pid


def _wait(process: subprocess.Popen[str], log: Path, pattern: str) -> re.Match[str]:
    """Wait until a process writes something, and return the match."""
    deadline = time.monotonic() + START
    while (found := re.search(pattern, log.read_text(errors="replace"), re.MULTILINE)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"it did not start within {START:g} s")
        time.sleep(0.002)
    return found


def environment() -> dict[str, str]:
    """Return this process's environment, with Channel Access on free ports of the loopback alone."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | loopback.environment()


def cpu(pid: int) -> float:
    """Return the processor time of a process in seconds, user and system, of all threads.

    From the process's own clock (clock_getcpuclockid): /proc/PID/stat counts the same in steps of 10 ms.
    """
    return time.clock_gettime(~pid << 3 | 2)


def thread_cpu(pid: int) -> float:
    """Return the processor time of a process's first thread in seconds."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def rss(pid: int) -> float:
    """Return the resident memory of a process in kB."""
    return float(psutil.Process(pid).memory_info().rss) / 1024


@cache
def _own_environment() -> str:
    """Return the interpreter of pythonSoftIOC's environment, which is made on first use."""
    folder = CACHE / "pythonsoftioc"
    python = str(folder / "bin" / "python")
    try:
        if not _imports(python):
            subprocess.run(
                [sys.executable, "-P", "-m", "venv", "--clear", str(folder)], check=True, capture_output=True
            )
            subprocess.run(
                [python, "-P", "-m", "pip", "install", "-q", PYTHONSOFTIOC], check=True, capture_output=True
            )
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise NotAvailable(f"pip cannot install it: {said.decode().strip().splitlines()[-1]}") from error
    return python


def _imports(python: str) -> bool:
    if not os.path.exists(python):
        return False
    return subprocess.run([python, "-P", "-c", "import softioc"], check=False, capture_output=True).returncode == 0


RACKIOC = Peer("rackioc", "rackioc")
SOFTIOC = Peer("softioc", "C softIoc")
PYTHONSOFTIOC_PEER = Peer("pythonsoftioc", "pythonSoftIOC", _own_environment, saturates=True)
CAPROTO = Peer("caproto", "plain caproto", saturates=True)
PEERS = (RACKIOC, SOFTIOC, PYTHONSOFTIOC_PEER, CAPROTO)
