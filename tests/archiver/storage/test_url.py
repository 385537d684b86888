"""The URL of a database: its hosts, and its password, which is shown nowhere."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from archiver.sample import Sample
from archiver.storage.database import open_reader, open_store
from archiver.storage.url import DatabaseUrl
from bench.rig.loopback import free_port
from bench.rig.mariadb import Server

PASSWORDS = [
    "ge,heim42",
    "geheim42,",
    ",geheim42",
    "ge,he,im42",
    "ge/he,im42",
    "ge:he,im42",
    "ge?he,im#42",
    "ge,he/im42",
    "ge,he?im42",
    "ge,he?im#42",
    "ge%2Cheim42",
]
PARTS = ("ge,", "geheim", "heim42", "im42", "im#42", "he?im", "@h1,")


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("hosts", ["h1", "h1,h2", "h1:3307, h2:3308,[::1]:3309"])
def test_a_password_with_a_comma_is_one_password(password: str, hosts: str) -> None:
    url = DatabaseUrl.parse(f"mysql+pymysql://lab:{password}@{hosts}/rack?charset=utf8mb4")
    assert [node.host for node in url.nodes] == ["h1", "h2", "::1"][: hosts.count(",") + 1]
    assert {node.password for node in url.nodes} == {password.replace("%2C", ",")}
    assert {(node.username, node.database) for node in url.nodes} == {("lab", "rack")}
    assert not any(part in url.shown for part in PARTS)


@pytest.mark.parametrize(
    "password", ["ge@heim42", "ge@heim,42", "geheim42@", "ge,he@im42", "ge@he/im42", "ge@heim42/"]
)
@pytest.mark.parametrize("hosts", ["h1", "h1,h2"])
def test_what_cannot_be_told_apart_is_refused_without_showing_it(password: str, hosts: str) -> None:
    (sentence,) = DatabaseUrl.faults(f"mysql+pymysql://lab:{password}@{hosts}/rack")
    assert "has an @ in user or password, or an empty host: write %40 for an @" in sentence
    assert not any(part in sentence for part in PARTS)


def test_a_password_among_the_options_is_not_shown() -> None:
    shown = DatabaseUrl.parse("mysql://h1/rack?user=lab&password=geheim42&passwd=geheim42&charset=utf8mb4").shown
    assert shown == "mysql+pymysql://h1/rack?charset=utf8mb4&user=lab"


@pytest.mark.parametrize("password", ["ge,heim42", "ge/he,im42", "ge,he?im42", "ge@heim,42"])
@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("command", ["check", "status", "db status", "db init", "history X --config"])
def test_no_command_shows_a_password(tmp_path: Path, password: str, nodes: int, command: str) -> None:
    hosts = ",".join(f"127.0.0.1:{free_port()}" for _ in range(nodes))
    url = f"mysql+pymysql://lab:{password}@{hosts}/rack"
    (tmp_path / "rack.yaml").write_text(
        'prefix: "T:"\ninstruments:\n  TC1: {driver: se521}\n'
        f"archive:\n  database: {url!r}\n  pvs: ['T:*']\n"
    )  # fmt: skip
    asked = [sys.executable, "-P", "-m", "rackioc", *command.split(), "rack.yaml"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode or command == "check"
    assert done.stderr
    assert not [part for part in PARTS if part in done.stdout + done.stderr]


@pytest.mark.parametrize("password", ["a,b", "a,b/c:d?#", "a@b,€ü"])
def test_the_server_is_given_the_password_as_it_is(shared_server: Server, password: str) -> None:
    name = f"u_{abs(hash(password)) % 10**8}"
    shared_server.execute(
        f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO {name}@'%' IDENTIFIED BY '{password}'"
    )
    port = shared_server.port
    try:
        url = f"mysql+pymysql://{name}:{quote(password, safe=',')}@127.0.0.1:{port},127.0.0.1:{port}/{name}"
        with closing(open_store(url)) as store:
            store.add([Sample("A", 1_700_000_000 * 10**9, 1.0, 0, "NO_ALARM")])
        with closing(open_reader(url)) as reader:
            assert reader.names() == ["A"]
        wrong = url.replace(":a", ":wrong")
        with pytest.raises(Exception, match="Access denied") as refused:
            open_store(wrong)
        assert password not in str(refused.value)
    finally:
        shared_server.execute(f"DROP DATABASE {name}", f"DROP USER {name}")
