from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy.engine import make_url

from archiver.sample import Sample
from archiver.storage.database import open_reader, open_store
from archiver.storage.manage import init, migrate, status
from archiver.storage.store import StoreError
from bench.rig.mariadb import Server

START = 1_800_000_000_000_000_000


def test_init_makes_an_archive_and_does_it_no_harm_later(database: str) -> None:
    init(database)
    with closing(open_store(database)) as store:
        store.add([Sample("A", START, 1.0, 0, "NO_ALARM")])
    init(database)
    migrate(database)
    with closing(open_reader(database)) as reader:
        assert reader.names() == ["A"]


def test_what_is_no_archive_is_neither_migrated_nor_described(database: str) -> None:
    for command in (migrate, status):
        with pytest.raises(StoreError, match=r"there is no archive of rackioc; create it with rackioc db init"):
            command(database)


def test_status_says_what_the_archive_is_like(database: str) -> None:
    init(database)
    assert dict(status(database))["oldest row"] == "none"
    with closing(open_store(database)) as store:
        store.add([Sample(pv, START + n * 1000, 1.0, 0, "NO_ALARM") for pv in "AB" for n in range(100)])
    lines = dict(status(database))
    assert lines["server"].split()[0] in {"SQLite", "MariaDB", "MySQL"}
    assert lines["channels"] == "2"
    assert lines["rows"].startswith(("200", "about "))
    assert lines["oldest row"] == "2027-01-15T08:00:00.000000000Z"
    assert lines["newest row"] == "2027-01-15T08:00:00.000099000Z"
    assert lines["size on disk"].endswith(" MB")
    assert lines["schema"].startswith("version ")
    assert "password" not in str(lines)


def test_init_makes_the_database_if_the_user_may(shared_server: Server) -> None:
    database = shared_server.create("made_by_init")
    shared_server.execute("DROP DATABASE made_by_init")
    try:
        init(database)
        assert dict(status(database))["channels"] == "0"
    finally:
        shared_server.execute("DROP DATABASE IF EXISTS made_by_init")


def test_init_says_what_to_do_if_the_user_may_not(mysql_database: str) -> None:
    other = make_url(mysql_database).set(database="not_mine").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match=r"CREATE DATABASE `not_mine` .*; GRANT ALL ON `not_mine`\.\* TO 'archive'"):
        init(other)


def test_status_names_the_nodes(shared_server: Server, mysql_database: str) -> None:
    init(mysql_database)
    name = make_url(mysql_database).database
    assert name is not None
    url = shared_server.url(name).replace(f"/{name}", f",127.0.0.1:1/{name}")
    lines = dict(status(url))
    assert lines[f"node 127.0.0.1:{shared_server.port}/{name}"] == "ready"
    assert "Can't connect" in lines[f"node 127.0.0.1:1/{name}"]
