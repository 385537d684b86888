"""Real MariaDB servers, each private: own data directory, loopback, free port. Also three as a Galera cluster."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest

from bench.loopback import free_port

USER, PASSWORD = "archive", "se@cret/1"
TIME_ZONE = "+05:45"
"""Of the servers: whoever trusts it sees wrong times."""

_GALERA = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib/libgalera_smm.so", "/usr/lib64/galera/libgalera_smm.so")
_PACKAGES = "install the Debian packages mariadb-server, galera-4 and rsync"
_START_S = 30.0


class Server:
    """One server, which can be started any number of times on the same data."""

    def __init__(self, directory: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            _program("mariadb-install-db"), "--no-defaults", f"--datadir={directory}/data", "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )  # fmt: skip

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *options: str, wait: bool = True) -> None:
        command = (
            _program("mariadbd"), "--no-defaults", f"--datadir={self._directory}/data",
            f"--socket={self._socket}", f"--pid-file={self._directory}/pid", "--bind-address=127.0.0.1",
            f"--port={self.port}", f"--default-time-zone={TIME_ZONE}", "--skip-name-resolve",
            "--innodb-log-file-size=32M", *self._options, *options,
        )  # fmt: skip
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_user(), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it takes commands."""
        deadline = time.monotonic() + _START_S
        while True:
            with suppress(OSError, pymysql.Error):
                with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL leaves its socket open if nobody listens
                    probe.connect(str(self._socket))
                self.execute("SELECT 1 FROM mysql.user LIMIT 1")
                return
            assert self.running, f"mariadbd ended:\n{self.log[-3000:]}"
            assert time.monotonic() < deadline, f"mariadbd takes no commands:\n{self.log[-3000:]}"
            time.sleep(0.05)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It answers nothing, but its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def url(self, database: str, *others: "Server", user: str = USER, password: str = PASSWORD) -> str:
        """Of this server, and of others as further nodes."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self, *others))
        quoted = password.replace("@", "%40").replace("/", "%2F")
        return f"mysql+pymysql://{user}:{quoted}@{hosts}/{database}"

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """As administrator; the rows of the last statement."""
        connection = pymysql.connect(
            unix_socket=str(self._socket), user="root", database=database, autocommit=True, charset="utf8mb4"
        )
        with closing(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def create(self, database: str) -> str:
        """A database and its user; the URL."""
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
            self._process.wait(_START_S)

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*_as_user(), *command], capture_output=True, text=True, cwd=self._directory, check=False
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


class Cluster:
    """Three nodes of a Galera cluster; the first one is the seed of the others."""

    def __init__(self, directory: Path) -> None:
        ports = [free_port() for _ in range(3)]
        address = "gcomm://" + ",".join(f"127.0.0.1:{port}" for port in ports)
        self.nodes = [
            Server(_make(directory / f"node{number}"), _galera_options(number, port, address))
            for number, port in enumerate(ports, 1)
        ]

    def start(self) -> None:
        first, *others = self.nodes
        first.start("--wsrep-new-cluster")
        for node in others:
            node.start(wait=False)
        self.wait()

    def wait(self) -> None:
        """Until all the nodes that run are in the cluster and in step with it."""
        running = [node for node in self.nodes if node.running]
        deadline = time.monotonic() + _START_S
        for node in running:
            node.wait()
            while (found := _state(node)) != ("Synced", str(len(running))):
                assert time.monotonic() < deadline, f"a node is {found}:\n{node.log[-3000:]}"
                time.sleep(0.1)

    def url(self, database: str) -> str:
        return self.nodes[0].url(database, *self.nodes[1:])

    def stop(self) -> None:
        for node in self.nodes:
            node.kill9()


def _galera_options(number: int, port: int, address: str) -> list[str]:
    return [
        "--wsrep-on=ON", f"--wsrep-provider={_galera()}", f"--wsrep-cluster-address={address}",
        "--wsrep-cluster-name=rackioc-test", f"--wsrep-node-name=node{number}", "--wsrep-node-address=127.0.0.1",
        "--wsrep-sst-method=rsync", f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
        f"--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{port};"
        f"ist.recv_addr=127.0.0.1:{free_port()};gcache.size=32M;"
        "evs.suspect_timeout=PT1.5S;evs.inactive_timeout=PT3S;evs.keepalive_period=PT0.5S",
        "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--innodb-flush-log-at-trx-commit=2",
    ]  # fmt: skip


def _state(node: Server) -> tuple[str, ...]:
    rows = node.execute("SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_local_state_comment')")
    return tuple(str(value) for _, value in sorted(rows, reverse=True))


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not on this computer: {_PACKAGES}"
    return found


def _galera() -> str:
    found = [path for path in _GALERA if Path(path).exists()]
    assert found, f"libgalera_smm.so is not on this computer: {_PACKAGES}"
    assert shutil.which("rsync"), f"rsync is not on this computer: {_PACKAGES}"
    return found[0]


def _as_user() -> list[str]:
    """Root gives up its rights: mariadbd refuses them, and so does the rsync of a state transfer."""
    return ["setpriv", "--reuid=mysql", "--regid=mysql", "--clear-groups"] if os.geteuid() == 0 else []


def _make(directory: Path) -> Path:
    directory.mkdir()
    if os.geteuid() == 0:
        user = pwd.getpwnam("mysql")
        os.chown(directory, user.pw_uid, user.pw_gid)
    return directory


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """Short, because of the sockets, and open to the user that the servers run as."""
    with tempfile.TemporaryDirectory(prefix="rackioc-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="session")
def shared_server(server_directory: Path) -> Iterator[Server]:
    """For whoever does it no harm."""
    server = Server(_make(server_directory / "shared"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mysql_database(shared_server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new empty database."""
    name = f"t_{abs(hash(request.node.nodeid)):x}"
    yield shared_server.create(name)
    shared_server.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def own_server(server_directory: Path) -> Iterator[Server]:
    """For faults: a server of this test alone, started."""
    directory = _make(server_directory / f"own{time.monotonic_ns()}")
    server = Server(directory)
    server.start()
    yield server
    server.kill9()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def cluster(server_directory: Path) -> Iterator[Cluster]:
    """Three nodes in step with each other."""
    directory = _make(server_directory / f"cluster{time.monotonic_ns()}")
    cluster = Cluster(directory)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
