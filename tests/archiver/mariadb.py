"""Real MariaDB servers, each private, as fixtures. Also three as a Galera cluster."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.rig.loopback import free_port
from bench.rig.mariadb import START_S, Server

# Of the servers: whoever trusts it sees wrong times
TIME_ZONE = "+05:45"

_OPTIONS = (f"--default-time-zone={TIME_ZONE}", "--innodb-log-file-size=32M")
_GALERA = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib/libgalera_smm.so", "/usr/lib64/galera/libgalera_smm.so")


class Cluster:
    """Three nodes of a Galera cluster; the first one begins the cluster, the others join it."""

    def __init__(self, directory: Path) -> None:
        ports = [free_port() for _ in range(3)]
        address = "gcomm://" + ",".join(f"127.0.0.1:{port}" for port in ports)
        self.nodes = [
            Server(directory / f"node{number}", _galera_options(number, port, address))
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
        deadline = time.monotonic() + START_S
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
        *_OPTIONS,
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


def _galera() -> str:
    found = [path for path in _GALERA if Path(path).exists()]
    assert found, "libgalera_smm.so is not on this computer: install the Debian package galera-4"
    assert shutil.which("rsync"), "rsync is not on this computer: install the Debian package rsync"
    return found[0]


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """Short, because of the sockets, and open to the user that the servers run as."""
    with tempfile.TemporaryDirectory(prefix="rackioc-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="session")
def shared_server(server_directory: Path) -> Iterator[Server]:
    """For whoever does it no harm."""
    server = Server(server_directory / "shared", _OPTIONS)
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
    directory = server_directory / f"own{time.monotonic_ns()}"
    server = Server(directory, _OPTIONS)
    server.start()
    yield server
    server.kill9()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def cluster(server_directory: Path) -> Iterator[Cluster]:
    """Three nodes in step with each other."""
    directory = server_directory / f"cluster{time.monotonic_ns()}"
    cluster = Cluster(directory)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
