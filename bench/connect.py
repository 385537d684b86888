"""Many channels searched, connected and subscribed at once through libca; then cleared, as when a screen closes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from epicscorelibs.path import include_path, lib_path

from bench.rig import contest
from bench.rig.client import Circuit
from bench.rig.contest import ALL, Count, Only, Rounds
from bench.rig.load import INSTRUMENT, PREFIX, Load, LoadKind
from bench.rig.servers import Failed, Peer, PeerServer, serve
from bench.rig.table import Column, Figures

SOURCE = Path(__file__).with_name("connect.c")
# Seconds for the client to have it all, and for the server to answer again
PATIENCE = 120.0
# Seconds after the clear in which the answers to another client are watched
WATCH = 1.0
COLUMNS = (
    Column("connected", "all connected, s", 3, ratio=True),
    Column("values", "all first values, s", 3, ratio=True),
    Column("cpu", "server's CPU, s", 3, ratio=True),
    Column("cleared", "longest get after the clear, ms", 1),
)
GOAL = "rackioc <= softIoc; another client's get is answered within 50 ms while the channels are cleared"


def main(rounds: Rounds = 3, count: Count = 12_000, only: Only = ALL) -> None:
    """Connect 12,000 channels through libca: time until all are connected and have a value; what the clear blocks."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise typer.BadParameter("no C compiler (cc or gcc) was found: install one, the client is written in C")
    with tempfile.TemporaryDirectory() as folder:
        client = compiled(compiler, Path(folder))
        contest.run(
            f"connect: {count:,} channels through libca",
            contest.chosen(only),
            rounds,
            lambda peer: measure(peer, client, Load(LoadKind.setpoint, count)),
            COLUMNS,
            GOAL,
        )


def compiled(compiler: str, folder: Path) -> Path:
    """Compile the client against the libca of epicscorelibs; returns the program."""
    program = folder / "connect"
    paths = [f"-I{include_path}", f"-L{lib_path}", f"-Wl,-rpath,{lib_path}"]
    subprocess.run([compiler, "-O2", str(SOURCE), "-o", str(program), *paths, "-lca", "-lCom"], check=True)
    return program


def measure(peer: Peer, client: Path, load: Load) -> Figures:
    """Connect, then clear while another client gets a value over and over."""
    with serve(peer, load) as server, Circuit(server.port) as other:
        (channel,) = other.connect(load.names[:1])
        used = server.cpu()
        with started(client, load, server) as process:
            connected, values = (_seconds(process, word) for word in ("connected", "values"))
            used = server.cpu() - used
            return {"connected": connected, "values": values, "cpu": used, "cleared": _clear(process, other, channel)}


@contextmanager
def started(client: Path, load: Load, server: PeerServer) -> Iterator[subprocess.Popen[str]]:
    """Yield the running client; kill it in the end."""
    process = subprocess.Popen(
        [str(client), f"{PREFIX}{INSTRUMENT}:", str(load.count), str(PATIENCE)],
        env=server.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _seconds(process: subprocess.Popen[str], word: str) -> float:
    assert process.stdout is not None
    said, _, seconds = process.stdout.readline().partition(" ")
    if said != word:
        raise Failed(f"not all were {word} within {PATIENCE:g} s")
    return float(seconds)


def _clear(process: subprocess.Popen[str], other: Circuit, channel: int) -> float:
    """Return the milliseconds of the longest get of another client from the clear on."""
    assert process.stdin is not None
    process.stdin.write("clear\n")
    process.stdin.flush()
    end = time.monotonic() + WATCH
    longest = 0.0
    while (begin := time.monotonic()) < end:
        other.get(channel, timeout=PATIENCE)
        longest = max(longest, time.monotonic() - begin)
    return 1e3 * longest


if __name__ == "__main__":
    typer.run(main)
