"""The archive over HTTP: a day in raw and JSON, plots of a month and a year, memory of the server."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import psutil
import typer

from archiver.storage.database import open_store
from archiver.times import format_time
from bench.rig import archives, table
from bench.rig.archives import DAY_NS, END_NS, NAMES, SECOND_NS, Series
from bench.rig.contest import Rounds
from bench.rig.databases import Backend, Database, Directory, MariadbDatabases, SqliteFiles, databases
from bench.rig.loopback import free_port
from bench.rig.servers import ROOT, Failed
from bench.rig.table import Column, Figures, TableRow

COLUMNS = (
    Column("seconds", "s to the last byte", 3),
    Column("rate", "samples/s of the archive", 0),
    Column("cpu", "CPU of the server, s", 3),
    Column("bytes", "MB", 2),
    Column("memory", "MB of the server, at most", 0),
)
GOAL = (
    "a day within 0.2 s in raw (MariaDB: 0.5 s), 0.6 s in JSON, 500,000 samples/s; optimized_1000 of 30 days within "
    "0.2 s, of a year within 0.3 s; memory that does not grow with the span"
)
START_S = 30.0
Days = Annotated[int, typer.Option(min=2, help="Days of the PV with a row a second.")]


class Web:
    """A running ``rackioc web``."""

    def __init__(self, folder: Path, database: str) -> None:
        self.port = free_port()
        config = {
            "prefix": "BENCH:",
            "instruments": {"TC1": {"driver": "se521"}},
            "web": {"port": self.port},
            "archive": {"database": database, "pvs": NAMES[:1]},
        }
        path = folder / "rack.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        self._process = subprocess.Popen([sys.executable, "-P", "-m", "rackioc", "web", str(path)], cwd=ROOT)
        self._seen = psutil.Process(self._process.pid)

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.get("/ping")
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise Failed("the web server does not answer") from None
                time.sleep(0.1)
            else:
                return

    def get(self, path: str, **parameters: str) -> Figures:
        """Return what one answer took."""
        begin, cpu = time.perf_counter(), self._cpu()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("GET", f"{path}?{urlencode(parameters)}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise Failed(f"{path} was answered with {answer.status}: {answer.read(200)!r}")
        size, memory = 0, 0
        while data := answer.read(1 << 20):
            size += len(data)
            memory = max(memory, self._seen.memory_info().rss)
        connection.close()
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "cpu": self._cpu() - cpu, "bytes": size / 1e6, "memory": memory / 1e6}

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(20)

    def _cpu(self) -> float:
        times = self._seen.cpu_times()
        return float(times.user + times.system)


def main(
    rounds: Rounds = 5, days: Days = 365, database: Database = Backend.sqlite, directory: Directory = None
) -> None:
    """Ask a web server for samples and plots of a PV with a row a second, and print how long it took."""
    with databases(database, directory) as there, serving(there, days) as web:
        cases = {
            "getData.raw, 24 h": ("raw", "{}", 1),
            "getData.json, 24 h": ("json", "{}", 1),
            "getData.raw, optimized_1000, 30 days": ("raw", "optimized_1000({})", min(30, days)),
            f"getData.raw, optimized_1000, {days} days": ("raw", "optimized_1000({})", days),
            f"getData.raw, {days} days": ("raw", "{}", days),
        }
        rows = []
        for title, (form, pv, length) in cases.items():
            _ask(web, form, pv, length)  # warm
            runs = [_ask(web, form, pv, length) for _ in range(1 if title.endswith(f"raw, {days} days") else rounds)]
            rows.append(TableRow(title, runs))
        table.show(f"{there.title}, {days} days of a row a second", COLUMNS, rows, None, GOAL, head="what")


def _ask(web: Web, form: str, pv: str, days: int) -> Figures:
    begin = format_time(END_NS - days * DAY_NS)
    pv = pv.format(NAMES[0])
    found = web.get(f"/retrieval/data/getData.{form}", pv=pv, **{"from": begin, "to": format_time(END_NS - 1)})
    return {**found, "rate": days * DAY_NS / SECOND_NS / found["seconds"]}


@contextmanager
def serving(there: SqliteFiles | MariadbDatabases, days: int) -> Iterator[Web]:
    """Serve an archive of so many days, filled now."""
    name = f"web_{days}"
    url = there.create(name)
    open_store(url).close()
    typer.echo(f"filling {days * 86_400:,} rows", err=True)
    archives.fill(there, url, iter([Series(1, END_NS - days * DAY_NS, SECOND_NS, days * 86_400)]))
    archives.summarize(url)
    with tempfile.TemporaryDirectory() as folder:
        web = Web(Path(folder), url)
        try:
            web.wait()
            yield web
        finally:
            web.close()


if __name__ == "__main__":
    typer.run(main)
