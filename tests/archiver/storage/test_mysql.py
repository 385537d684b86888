"""What is special about MySQL and MariaDB."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.storage import summarizer
from archiver.storage.database import open_reader, open_store, open_target
from archiver.storage.migrations import Migration, migrations
from archiver.storage.mysql.rows import STATEMENT_ROWS
from archiver.storage.mysql.store import MysqlStore
from archiver.storage.store import Rejected, Store, StoreError, TableRow
from bench.rig.mariadb import Server

START = 1_800_000_000_000_000_000
MS = 10**6
ALL = (0, 2**63 - 1)

# Execute statements as administrator; return the rows of the last one
Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def store(mysql_database: str) -> Iterator[Store]:
    with closing(open_store(mysql_database)) as store:
        yield store


@pytest.fixture
def query(shared_server: Server, mysql_database: str) -> Query:
    """Statements of an administrator, in the server's own time zone."""
    name = make_url(mysql_database).database
    return lambda *statements: shared_server.execute(*statements, database=name)


def sample(pv: str = "A", ms: int = 0, value: Value = 1.5, severity: int = 0, status: str = "NO_ALARM") -> Sample:
    return Sample(pv, START + ms * MS, value, severity, status)


def read(database: str, *pvs: str) -> list[Sample]:
    with closing(open_reader(database)) as reader:
        return list(reader.samples(pvs, *ALL))


def test_a_person_can_read_the_history_view(store: Store, query: Query) -> None:
    store.add_metadata({"A": Dated(0, Metadata("V")), "B": Dated(0, Metadata(words=("Off", "On", "")))})
    store.add_metadata({"B": Dated(START + 700 * MS, Metadata(words=("Zero", "One")))})
    store.add(
        [sample(value=85.5, severity=1, status="HIGH"), sample("B", 1, 1), sample("B", 500, 2), sample("B", 800, 1)]
    )
    store.add([gap_marker("A", START + 1000 * MS, Gap.DISCONNECTED)])
    assert query("SELECT name, time, value, unit, severity, status FROM history ORDER BY time") == [
        ("A", "2027-01-15T08:00:00.000000000Z", "85.5", "V", "MINOR", "HIGH"),
        ("B", "2027-01-15T08:00:00.001000000Z", "On", "", "OK", "NO_ALARM"),
        ("B", "2027-01-15T08:00:00.500000000Z", "2", "", "OK", "NO_ALARM"),
        ("B", "2027-01-15T08:00:00.800000000Z", "One", "", "OK", "NO_ALARM"),
        ("A", "2027-01-15T08:00:01.000000000Z", "Disconnected", "", "INVALID", "Disconnected"),
    ]


def test_a_batch_of_several_statements_is_stored_whole(store: Store, mysql_database: str) -> None:
    batch = [sample(f"PV{number}") for number in range(STATEMENT_ROWS + 5)]
    batch += [sample("TEXT", ms, "x" * 60_000) for ms in range(80)]
    store.add(batch)
    assert sorted(store.newest()) == sorted(batch[: STATEMENT_ROWS + 5] + batch[-1:])
    assert read(mysql_database, "TEXT") == batch[-80:]


@pytest.mark.parametrize(
    "bad",
    [
        sample(value="x" * 70_000),
        sample(value=2**31),
        sample(pv="x" * 300),
        sample(value="\udc80"),
        Sample("A", -1, 1.0, 0, "NO_ALARM"),
        Sample("A", 2**63 - 1, 1.0, 0, "NO_ALARM"),
        sample(value=(1.0,) * 1_100_000),
    ],
    ids=["long text", "large integer", "long name", "no text", "before 1970", "after 2038", "larger than a packet"],
)
def test_what_never_fits_is_rejected(store: Store, mysql_database: str, bad: Sample) -> None:
    with pytest.raises(Rejected):
        store.add([sample("B"), bad])
    store.add([sample("C")])
    assert read(mysql_database, "C") == [sample("C")]
    with closing(open_reader(mysql_database)) as reader:
        assert reader.names() == ["C"]


def test_a_connection_that_was_ended_is_made_again(store: Store, mysql_database: str, shared_server: Server) -> None:
    store.add([sample()])
    user = make_url(mysql_database).username
    for (number,) in shared_server.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{user}'"):
        shared_server.execute(f"KILL {number}")
    store.add([sample(ms=1)])
    assert read(mysql_database, "A") == [sample(), sample(ms=1)]


def test_a_batch_that_was_interrupted_can_be_sent_again(own_server: Server) -> None:
    database = own_server.create("archive")
    with closing(open_store(database)) as store:
        store.add([sample()])
        own_server.kill9()
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:\d+/archive: .*\(is the server running"):
            store.add([sample("B")])
        own_server.start()
        store.add([sample("B")])
        store.add([sample("B")])
    assert read(database, "A", "B") == [sample(), sample("B")]


def test_rows_that_somebody_locks_are_no_reason_to_give_up_the_batch(
    store: Store, mysql_database: str, query: Query, shared_server: Server
) -> None:
    import pymysql

    store.add([sample()])
    assert isinstance(store, MysqlStore)
    connection = store._session._connection
    assert connection is not None
    connection.query("SET innodb_lock_wait_timeout = 1")
    url = make_url(mysql_database)
    assert url.port is not None
    assert url.password is not None
    with closing(pymysql.connect(host=url.host, port=url.port, user=url.username, password=url.password)) as other:
        other.query(f"SELECT * FROM {url.database}.sample FOR UPDATE")
        with pytest.raises(StoreError, match=r"Lock wait timeout exceeded.*another program") as caught:
            store.add([sample(ms=1)])
        assert not isinstance(caught.value, Rejected)
    store.add([sample(ms=1)])
    assert len(read(mysql_database, "A")) == 2


@pytest.mark.parametrize("change", ["ADD COLUMN theirs INT NOT NULL", "MODIFY str_val TEXT NOT NULL"])
def test_rows_wait_while_a_table_of_the_archive_is_not_as_it_was_made(
    store: Store, mysql_database: str, query: Query, change: str
) -> None:
    query(f"ALTER TABLE sample {change}")
    with pytest.raises(StoreError, match="takes no rows until that is undone") as caught:
        store.add([sample(ms=1)])
    assert not isinstance(caught.value, Rejected)
    query("ALTER TABLE sample " + ("DROP COLUMN theirs" if "theirs" in change else "MODIFY str_val TEXT NULL"))
    store.add([sample(ms=1)])
    assert read(mysql_database, "A") == [sample(ms=1)]


@pytest.mark.parametrize("level", ["READ-COMMITTED", "READ-UNCOMMITTED"])
def test_a_reader_goes_on_with_what_it_saw_first_whatever_the_servers_isolation_is(
    own_server: Server, level: str
) -> None:
    own_server.execute(f"SET GLOBAL tx_isolation = '{level}'")
    database = own_server.create("archive")
    with closing(open_store(database)) as store:
        store.add([sample(ms=ms) for ms in range(1000)])
        with closing(open_reader(database)) as reader:
            rows = iter(reader.samples(["A"], *ALL))
            first = next(rows)
            store.add([sample(ms=2000, severity=1, status="HIGH")])
            assert [first, *rows] == [sample(ms=ms) for ms in range(1000)]


@pytest.mark.parametrize(
    "default",
    ["sql_select_limit = 2", "max_join_size = 10", "default_storage_engine = MyISAM"],
)
def test_no_default_of_a_server_leaves_rows_out_or_refuses_a_statement(
    own_server: Server, default: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summarizer, "PAUSE", 0.0)
    own_server.execute(f"SET GLOBAL {default}")
    database = own_server.create("archive")
    with closing(open_store(database)) as store:
        store.add([sample(pv, ms=ms * 60_000) for pv in "ABCDE" for ms in range(200)])
        store.live(sample(ms=86_400_000).time_ns)
        while store.tidy():
            pass
        while store.thin("A", sample(ms=100 * 60_000).time_ns, 600 * 10**9):
            pass
        while store.expire("B", sample(ms=100 * 60_000).time_ns):
            pass
        assert len(store.newest()) == 5
    with closing(open_reader(database)) as reader:
        assert reader.names() == list("ABCDE")
        assert len(list(reader.samples(["B", "C"], *ALL))) == 100 + 200 + 2
        assert list(reader.summaries("C", 3600 * 10**9, *ALL))


def test_a_server_that_would_cut_off_what_is_read_is_not_read(own_server: Server) -> None:
    database = own_server.create("archive")
    with closing(open_store(database)) as store:
        store.add([sample(ms=ms, value=ms * 1.1e-200) for ms in range(20_000)])
    own_server.execute("SET GLOBAL max_allowed_packet = 524288")
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match=r"max_allowed_packet is 524288 bytes.*1048576 or more"):
            opening(database)
    own_server.execute("SET GLOBAL max_allowed_packet = 1048576")
    with closing(open_reader(database)) as reader:
        blocks = list(reader.blocks("A", *ALL))
        assert [value for block in blocks for value in block.value] == [ms * 1.1e-200 for ms in range(20_000)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"password": "wrong"}, r"Access denied .*\(check user and password"),
        ({"database": "nothing"}, r"(Access denied|Unknown database).*rackioc"),
        ({"port": 1}, r"Can't connect .*\(is the server running"),
    ],
)
def test_what_hinders_the_login_is_a_sentence(mysql_database: str, change: dict[str, Any], sentence: str) -> None:
    wrong = make_url(mysql_database).set(**change).render_as_string(hide_password=False)
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match=sentence):
            opening(wrong)


def test_a_read_only_server_is_not_written_to(own_server: Server) -> None:
    database = own_server.create("archive")
    open_store(database).close()
    own_server.execute("SET GLOBAL read_only = ON")
    with pytest.raises(StoreError, match="the server is read-only"):
        open_store(database)
    open_reader(database).close()


def test_a_database_without_tables_is_no_archive_to_read(mysql_database: str) -> None:
    with pytest.raises(StoreError, match="this database is not an archive"):
        open_reader(mysql_database)


def test_a_schema_from_the_future_is_refused(store: Store, mysql_database: str, query: Query) -> None:
    query("UPDATE archive_schema SET version = 99")
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match=r"its schema is version 99, .* supports \d+: update"):
            opening(mysql_database)


def test_a_migration_that_fails_can_be_run_again(
    store: Store, mysql_database: str, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = migrations("mysql")[-1].number
    steps = ["CREATE TABLE IF NOT EXISTS extra (a INT PRIMARY KEY);\n", "CREATE TABLE nonsense (a NONSENSE);\n"]

    def with_step(sql: str) -> None:
        plain = [*migrations("mysql"), Migration(newest + 1, sql)]
        for module in ("store", "tables.schema"):
            monkeypatch.setattr(f"archiver.storage.mysql.{module}.migrations", lambda _dialect: plain)

    with monkeypatch.context():
        with_step("".join(steps))
        with pytest.raises(StoreError, match="NONSENSE"):
            open_store(mysql_database)
        assert query("SELECT version FROM archive_schema") == [(newest,)]
        with_step(steps[0])
        open_store(mysql_database).close()
        assert query("SELECT version FROM archive_schema") == [(newest + 1,)]


def test_the_archive_of_another_program_is_left_alone(mysql_database: str, query: Query) -> None:
    query("CREATE TABLE sample (channel_id INT, smpl_time TIMESTAMP, INDEX (channel_id, smpl_time))")
    with pytest.raises(StoreError, match="the archive of another program"):
        open_store(mysql_database)
    assert query("SHOW TABLES") == [("sample",)]


def test_states_are_not_thinned(store: Store, mysql_database: str) -> None:
    store.add_metadata({"A": Dated(0, Metadata(words=("Off", "On")))})
    states = [sample(ms=ms, value=ms % 2) for ms in range(1000)]
    store.add(states)
    assert not store.thin("A", START + 10_000 * MS, 100 * MS)
    assert read(mysql_database, "A") == states


def test_an_archive_is_opened_without_reading_the_certificates_of_authorities(
    mysql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is checked, and to read those of the system takes longer than most queries."""
    open_store(mysql_database).close()
    read = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: read.append(1))
    open_reader(mysql_database).close()
    assert not read


def test_what_is_sent_to_a_server_is_encrypted_where_it_can_be(own_server: Server, server_directory: Path) -> None:
    key, certificate = server_directory / "key.pem", server_directory / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    key.chmod(0o644)
    own_server.stop()
    own_server.start(f"--ssl-cert={certificate}", f"--ssl-key={key}")
    database = own_server.create("archive")
    own_server.execute("ALTER USER archive@'%' REQUIRE SSL")
    with closing(open_store(database)) as store:
        store.add([Sample("A", START, 1.5, 0, "NO_ALARM")])
    with closing(open_reader(database)) as reader:
        assert [sample.value for sample in reader.samples(["A"], *ALL)][:1] == [1.5]


def both(do: Callable[[int], None]) -> None:
    """Do something in two threads that begin together, each with its number."""
    begin = Barrier(2)

    def one(number: int) -> None:
        begin.wait()
        do(number)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(2)))


ROUNDS = range(20)
# What two archivers store that have the same names, and neighbouring ones: with the number of the writer, and a round
ADDS: dict[str, Callable[[Store, int, int], None]] = {
    "statuses": lambda store, writer, turn: store.add(
        [
            sample(f"own{writer}", turn * 10 + each, status=f"{turn}-{each}")
            for each in (range(5), range(4, -1, -1))[writer]
        ]
    ),
    "PVs": lambda store, _, turn: store.add([sample(f"{turn}-{each}") for each in range(5)]),
    "metadata of neighbours": lambda store, writer, turn: store.add_metadata(
        {f"{writer}-{turn}-{each}": Dated(START, Metadata("V")) for each in range(5)}
    ),
    "words of the same": lambda store, _, turn: store.add_metadata(
        {f"{turn}-{each}": Dated(START, Metadata(words=("Off", "On"))) for each in range(5)}
    ),
    "rows": lambda store, writer, turn: store.add_rows(
        [TableRow("other", ("number", "writer"), (turn * 10 + each, writer), 1) for each in range(5)]
    ),
}


@pytest.mark.parametrize("what", ADDS)
def test_two_that_store_the_same_at_the_same_time_do_not_disturb_each_other(
    mysql_database: str, query: Query, what: str
) -> None:
    query("CREATE TABLE other (number INT PRIMARY KEY, writer INT)")
    with closing(open_store(mysql_database, "one")) as one, closing(open_store(mysql_database, "two")) as two:
        for turn in ROUNDS:
            both(lambda writer, turn=turn: ADDS[what]((one, two)[writer], writer, turn))  # type: ignore[misc]
    counts = {
        "statuses": ("sample", 200),
        "PVs": ("sample", 200),
        "metadata of neighbours": ("num_metadata_history", 200),
        "words of the same": ("enum_metadata_history", 400),
        "rows": ("other", 100),
    }
    table, count = counts[what]
    assert query(f"SELECT COUNT(*) FROM {table}") == [(count,)]


def test_a_status_that_a_copy_makes_meanwhile_disturbs_neither(store: Store, mysql_database: str) -> None:
    rows = [sample("A", turn, status=f"NEW{turn}") for turn in ROUNDS]
    with closing(open_target(mysql_database)) as target:

        def write(writer: int) -> None:
            for row in rows:
                if writer:
                    store.add([row])
                else:
                    target.statuses([row.status])

        both(write)
    assert read(mysql_database, "A") == rows


@pytest.mark.parametrize("turn", range(4))
def test_two_archivers_that_begin_an_archive_at_the_same_time_do_not_disturb_each_other(
    mysql_database: str, turn: int
) -> None:
    def begin(writer: int) -> None:
        with closing(open_store(mysql_database, f"{turn}-{writer}")) as store:
            store.add([sample(value=float(writer))])

    both(begin)
    assert len(read(mysql_database, "A")) == 1
