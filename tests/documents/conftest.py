"""The places in which pages are run: folders, racks that are served, a database server."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from bench.rig.loopback import environment, free_port
from bench.rig.mariadb import Server
from tests.documents.blocks import ROOT
from tests.documents.shell import Shell
from tests.web.others.nginx import NAME, Nginx
from tests.web.served import Served

GIVEN = Path(__file__).with_name("files")
YOUR_RACK = "docs/how-to/your-rack.md"
ADDING = "docs/tutorials/adding-an-instrument.md"
CONTRACT = "tests/drivers/test_all_drivers.py"
DEMO = "rackioc sim demo"
MakeShell = Callable[..., Shell]


class Administrator:
    """The administrator of a MariaDB server, which pages call by several names; it is started when it is wanted."""

    def __init__(self, directory: Path) -> None:
        self.server = Server(directory)
        self.server.start()

    def execute(self, text: str) -> None:
        """Execute a statement."""
        self.server.execute(text)

    def called(self) -> dict[str, str]:
        """Return what the pages call the server, and what it is here."""
        here = f"127.0.0.1:{self.server.port}"
        return {"db1,db2,db3": here, "@db1/": f"@{here}/"}

    def begin(self) -> None:
        """Drop what an earlier page has made."""
        self.server.execute("DROP DATABASE IF EXISTS archive", "DROP USER IF EXISTS rackioc@'%'")


@pytest.fixture(scope="module")
def server() -> Iterator[Administrator]:
    """A server, in a folder that is open to the user as whom it runs."""
    with tempfile.TemporaryDirectory(prefix="rackioc-") as directory:
        Path(directory).chmod(0o755)
        administrator = Administrator(Path(directory) / "server")
        yield administrator
        administrator.server.kill9()


@pytest.fixture
def administrator(server: Administrator) -> Administrator:
    """The server as it was when it began."""
    server.begin()
    return server


@pytest.fixture(scope="module")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeShell]:
    """Make shells, each in a folder of its own with the files that pages take for given, and ports of its own.

    The port of the repeater is taken, so that no client starts one, which would outlive the test.
    """

    def make(name: str, *, numbered: bool = True, below: str = "") -> Shell:
        folder = tmp_path_factory.mktemp(name, numbered)
        work = folder / below
        work.mkdir(exist_ok=True)
        (folder / "run").mkdir(mode=0o700)
        (folder / "backup").mkdir()
        for file in GIVEN.iterdir():
            shutil.copy(file, work)
        variables = {
            **environment(),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "TMPDIR": str(folder / "tmp"),
            "COLUMNS": "200",
            "LINES": "20",
            "TERM": "dumb",
        }
        repeater = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        repeater.bind(("", int(variables["EPICS_CA_REPEATER_PORT"])))
        called = {
            "5066": str(free_port()),
            "/backup": str(folder / "backup"),
            "/var/lib/rackioc": str(work),
            "/var/tmp": str(folder / "tmp"),
        }
        shell = Shell(work, variables, called)
        stack.callback(shell.close)
        return shell

    with ExitStack() as stack:
        yield make


@pytest.fixture
def place(shells: MakeShell) -> Shell:
    """A folder, with a blank and an umlaut in its path, and reached through a link, as a user may have one."""
    shell = shells("page", below="mein Räck")
    link = shell.folder.with_name("Räck")
    link.symlink_to(shell.folder)
    shell.variables = {**shell.variables, "PWD": str(link)}  # as after "cd" to the link
    return shell


@pytest.fixture(scope="module")
def served_demo(shells: MakeShell) -> Shell:
    """The demo rack, served once for all its pages."""
    shell = shells("demo")
    shell.serve(DEMO)
    shell.before = {"rackioc history DEMO:TC1:Conn ": lambda: _kill_archiver(shell)}
    return shell


@pytest.fixture
def demo(served_demo: Shell) -> Shell:
    """The demo rack as it was when it began, as far as its pages change it."""
    states = [f"DEMO:HV1:{board}:C00:Status.SEVR" for board in ("S02", "S04", "S08")]
    served_demo.type("\n".join([f"$ rackioc get {' '.join(states)}", *(f"{name} NO_ALARM" for name in states)]))
    served_demo.type("$ rackioc put DEMO:HV1:S02:C00:V0Set 1250")
    served_demo.type("$ rackioc get DEMO:HV1:S02:C00:VMon\nDEMO:HV1:S02:C00:VMon 1250.0")
    return served_demo


@pytest.fixture(scope="module")
def served_rack(shells: MakeShell, request: pytest.FixtureRequest) -> Shell:
    """The rack of the page on one's own rack, with simulated instruments, and its archive.

    Its folder is one of those where simulations have their files: what is configured there is served as it stands.
    """
    shell = shells(f"rackioc-{os.getuid()}", numbered=False)
    shell.variables = {**shell.variables, "TMPDIR": str(shell.folder.parent)}
    shell.before = {
        "rackioc db salvage rack.sqlite ": lambda: _damage(shell),
        "rackioc db copy /backup/rack-2026-11-27.sqlite rack-server": lambda: _add_server(shell, request),
    }
    (shell.folder / "rack.yaml").write_text(yaml.safe_dump(_your_rack()), encoding="utf-8")
    shell.type("$ export CAEN_PASSWORD=...\n$ rackioc sim run rack.yaml")
    shell.type("$ rackioc get -t LAB:HV1:S08:C03:Status.SEVR\nNO_ALARM\n$ rackioc status rack.yaml")
    shell.type(
        "$ rackioc history LAB:TC1:T1 --config rack.yaml"
    )  # else a backup may be made before there is anything
    return shell


@pytest.fixture
def rack(served_rack: Shell) -> Shell:
    """The same, served; a page before may have stopped it."""
    served_rack.serve("rackioc sim run rack.yaml")
    for channel in ("S04:C00", "S08:C03"):  # boards are found one after the other
        served_rack.type(f"$ rackioc get -t LAB:HV1:{channel}:Status.SEVR\nNO_ALARM")
    return served_rack


@pytest.fixture
def without_a_crate(place: Shell) -> Shell:
    """The same configuration without its crate, which could not be asked what it has."""
    config = _your_rack()
    del config["instruments"]["HV1"], config["records"], config["archive"]["policies"]["LAB:HV1:*Mon"]
    (place.folder / "rack.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return place


@pytest.fixture
def behind_nginx(place: Shell) -> Iterator[Shell]:
    """A folder, and a web server behind nginx at the address of the page, for curl."""
    folder = place.folder / "served"
    folder.mkdir()
    served = Served(folder, None)
    try:
        nginx = Nginx(folder, served.port)
        lines = [f'cacert = "{nginx.certificate}"', f'connect-to = "{NAME}:443:127.0.0.1:{nginx.port}"']
        (place.folder / ".curlrc").write_text("\n".join(lines) + "\n", encoding="utf-8")
        place.variables = {**place.variables, "CURL_HOME": str(place.folder)}
        yield place
        nginx.close()
    finally:
        served.close()


@pytest.fixture
def moving(rack: Shell, place: Shell) -> Shell:
    """A copy of the rack's archive, which is to be moved to a server."""
    shutil.copy(rack.folder / "rack.yaml", place.folder)
    rack.type(f"$ rackioc db backup '{place.folder}/rack.sqlite' --config rack.yaml")
    place.type("$ export CAEN_PASSWORD=...")
    return place


@pytest.fixture
def several(rack: Shell, place: Shell, administrator: Administrator) -> Shell:
    """The archives of two racks, and a server with a database and its user."""
    mounted = place.folder.parent
    place.called = {"/mnt/": f"{mounted}/", **place.called}
    for name in ("rack1", "rack2"):
        (mounted / name).mkdir()
        rack.type(f"$ rackioc db backup {mounted}/{name}/rack.sqlite --config rack.yaml")
    administrator.execute("CREATE DATABASE archive")
    administrator.execute("GRANT ALL ON archive.* TO rackioc@'%' IDENTIFIED BY '...'")
    return place


@pytest.fixture
def checkout(shells: MakeShell) -> Iterator[Shell]:
    """A checkout that a page may add files to, with its line for the tests of all drivers.

    Its tests have sockets in temporary directories, whose names must be short.
    """
    shell = shells("checkout")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (shell.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, shell.folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=shell.folder, check=True)
    key = re.search(r"in `KEYS`, here `(.+?)`", (ROOT / ADDING).read_text(encoding="utf-8"))
    assert key is not None
    contract = (ROOT / CONTRACT).read_text(encoding="utf-8")
    (shell.folder / CONTRACT).write_text(
        re.sub(r"(?m)^KEYS: .*$", rf"\g<0>\n    {key[1]}", contract), encoding="utf-8"
    )
    with tempfile.TemporaryDirectory(prefix="rackioc-") as directory:
        shell.variables = {**shell.variables, "PYTHONPATH": str(shell.folder), "TMPDIR": directory}
        yield shell


def _your_rack() -> dict[str, Any]:
    """Return the configuration of the page, with a port for the generator that can be made."""
    page = (ROOT / YOUR_RACK).read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    config["instruments"]["GEN"]["port"] = "./generator"
    return config


def _add_server(shell: Shell, request: pytest.FixtureRequest) -> None:
    """Write a configuration with a database on a server."""
    server: Administrator = request.getfixturevalue("server")
    server.begin()
    config = _your_rack()
    config["archive"]["database"] = server.server.create("archive")
    (shell.folder / "rack-server.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def _damage(shell: Shell) -> None:
    """Stop the archiver, and write nonsense over rows of its file: one page of them."""
    shell.close()
    path = shell.folder / "rack.sqlite"
    rows = "SELECT pgoffset, pgsize FROM dbstat WHERE name = 'sample_recent' AND pagetype = 'leaf' LIMIT 1 OFFSET 1"
    with closing(sqlite3.connect(path)) as archive:
        offset, size = archive.execute(rows).fetchone()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * size)


def _kill_archiver(shell: Shell) -> None:
    """Kill the archiver that the demo has started."""
    (server,) = shell.pids()
    archiver = next(each for each in psutil.Process(server).children(recursive=True) if "archive" in each.cmdline())
    os.kill(archiver.pid, signal.SIGKILL)
