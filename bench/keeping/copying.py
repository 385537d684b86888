"""A copy of an archive to a server and back, each killed once in the middle: time, memory, equal rows."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Annotated

import pymysql
import typer

from bench.rig import table
from bench.rig.archives import filled_archive
from bench.rig.databases import Backend, Directory, connect, databases
from bench.rig.servers import ROOT, Failed
from bench.rig.table import Column, Figures, TableRow

COLUMNS = (
    Column("rows", "rows", 0),
    Column("seconds", "s, both parts", 1),
    Column("rate", "rows/s", 0),
    Column("cpu", "CPU of the command, s", 1),
    Column("memory", "its memory, MB", 0),
    Column("killed", "PVs that were copied when it was killed", 0),
    Column("different", "PVs whose rows are different", 0),
)
GOAL = "rows are equal, bounded memory"
Rows = Annotated[
    float, typer.Option(help="Rows of the archive, over 12,000 PVs; two million more come scan by scan.")
]
# Seconds from one look at what was copied to the next
LOOK = 0.2


def main(rows: Rows = 1e7, directory: Directory = None) -> None:
    """Copy an archive from SQLite to MariaDB and back with `rackioc db copy`, each killed in the middle."""
    with databases(Backend.sqlite, directory) as files, databases(Backend.mariadb, directory) as servers:
        origin = filled_archive(files, int(rows))
        there, back = servers.create("copied"), files.create("copied_back")
        first = _copied(origin, there)
        second = _copied(there, back)
        before, after = _digests(origin), _digests(back)
        different = sum(before.get(pv) != after.get(pv) for pv in before | after)
        shown = [
            TableRow("SQLite to MariaDB", [{**first, "different": math.nan}]),
            TableRow("MariaDB to SQLite", [{**second, "different": different}]),
        ]
        table.show(f"copy: {servers.title}", COLUMNS, shown, None, GOAL, head="from, to")


def _copied(origin: str, target: str) -> Figures:
    """Copy, kill that when half of the PVs are there, and go on; return the figures of both together."""
    begin = time.perf_counter()
    pvs = _count(origin, "channel")
    process = _start(origin, target)
    while 2 * (done := _count(target, "copied")) < pvs:
        if process.poll() is not None:
            raise Failed("the copy was done before it could be killed")
        time.sleep(LOOK)
    process.send_signal(signal.SIGKILL)
    _, _, killed = os.wait4(process.pid, 0)
    process = _start(origin, target)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise Failed(f"the copy ended with {os.waitstatus_to_exitcode(status)}")
    seconds, rows = time.perf_counter() - begin, _count(target, "sample")
    typer.echo(f"{rows:,} rows in {seconds:.0f} s", err=True)
    return {
        "rows": rows,
        "seconds": seconds,
        "rate": rows / seconds,
        "cpu": sum(each.ru_utime + each.ru_stime for each in (killed, used)),
        "memory": max(each.ru_maxrss for each in (killed, used)) / 1024,
        "killed": done,
    }


def _start(origin: str, target: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "rackioc", "db", "copy", origin, target]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def _count(url: str, name: str) -> int:
    """Return the rows of a table, 0 if it is not there yet."""
    sql = f"SELECT COUNT(*) FROM {name}"
    with suppress(sqlite3.Error, pymysql.MySQLError):
        if url.startswith("mysql"):
            with closing(connect(url)) as connection, connection.cursor() as cursor:
                cursor.execute(sql)
                ((rows,),) = cursor.fetchall()
                return int(rows)
        if Path(_file(url)).exists():
            with closing(sqlite3.connect(_file(url))) as file:
                return int(file.execute(sql).fetchone()[0])
    return 0


def _digests(url: str) -> dict[str, str]:
    """Return a digest of all rows of each PV of a file."""
    rows = """
        SELECT channel.name, smpl_time, sample.severity_id, status.name, num_val, float_val, str_val, array_val
        FROM sample JOIN channel ON channel.channel_id = sample.channel_id
        JOIN status ON status.status_id = sample.status_id ORDER BY channel.channel_id, smpl_time"""
    with closing(sqlite3.connect(_file(url))) as file:
        return {
            pv: hashlib.sha256(repr(list(found)).encode()).hexdigest()
            for pv, found in groupby(file.execute(rows), key=itemgetter(0))
        }


def _file(url: str) -> str:
    return url.removeprefix("sqlite:///")


if __name__ == "__main__":
    typer.run(main)
