"""A private MariaDB server of the Debian package: own data directory, loopback, free port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pymysql

from bench.rig.loopback import free_port

USER, PASSWORD = "archive", "se@cret/1"
START_S = 30.0


class Server:
    """A server, which can be started any number of times on the same data."""

    def __init__(self, directory: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            user = pwd.getpwnam("mysql")
            os.chown(directory, user.pw_uid, user.pw_gid)
        if not (directory / "data").exists():
            self._run(
                program("mariadb-install-db"), "--no-defaults", f"--datadir={directory}/data", "--skip-test-db",
                "--auth-root-authentication-method=normal",
                f"--tmpdir={directory}",  # in /tmp a server may take another one's files
            )  # fmt: skip

    @property
    def log(self) -> str:
        """Return what it wrote to its log."""
        return (self._directory / "log").read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Return True while its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *options: str, wait: bool = True) -> None:
        """Start it; with ``wait`` return when it accepts commands."""
        command = (
            program("mariadbd"), "--no-defaults", f"--datadir={self._directory}/data",
            f"--socket={self._socket}", f"--pid-file={self._directory}/pid", "--bind-address=127.0.0.1",
            f"--port={self.port}", f"--tmpdir={self._directory}", "--skip-name-resolve", *self._options, *options,
        )  # fmt: skip
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_user(), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it accepts commands."""
        deadline = time.monotonic() + START_S
        while True:
            with suppress(pymysql.Error, OSError):
                self.execute("SELECT 1 FROM mysql.user LIMIT 1")
                return
            assert self.running, f"mariadbd ended:\n{self.log[-3000:]}"
            assert time.monotonic() < deadline, f"mariadbd accepts no commands:\n{self.log[-3000:]}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it in order."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """Kill it with SIGKILL."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop its process: it answers nothing, but its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its process go on."""
        self._signal(signal.SIGCONT)

    def url(self, database: str, *others: Server, user: str = USER, password: str = PASSWORD) -> str:
        """Return the URL of a database here, with other servers as further nodes."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self, *others))
        quoted = password.replace("@", "%40").replace("/", "%2F")
        return f"mysql+pymysql://{user}:{quoted}@{hosts}/{database}"

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Execute statements as administrator; returns the rows of the last one."""
        connection = pymysql.connect(
            user="root", database=database, autocommit=True, charset="utf8mb4", defer_connect=True
        )
        with socket.socket(socket.AF_UNIX) as path:  # PyMySQL leaves its own one open when nobody answers
            path.connect(str(self._socket))
            connection.connect(path)
            with closing(connection), connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())

    def create(self, database: str) -> str:
        """Create a database and its user; returns the URL."""
        self.execute(
            f"CREATE DATABASE {database}",
            f"GRANT ALL ON {database}.* TO {USER}@'%' IDENTIFIED BY '{PASSWORD}'",
        )
        return self.url(database)

    @property
    def _socket(self) -> Path:
        return self._directory / "sock"

    def _signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self.running and self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(START_S)

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*_as_user(), *command], capture_output=True, text=True, cwd=self._directory, check=False
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


def program(name: str) -> str:
    """Return the path of a program of MariaDB."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not on this computer: install the Debian packages mariadb-server, galera-4 and rsync"
    return found


def _as_user() -> list[str]:
    """Return the command by which root gives up its rights: mariadbd and the rsync of a state transfer refuse it."""
    return ["setpriv", "--reuid=mysql", "--regid=mysql", "--clear-groups"] if os.geteuid() == 0 else []
