"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from archiver.health import Cause, Health, StatusFile
from archiver.recording.batch import Batch
from archiver.recording.spool import Spool
from archiver.sample import Sample
from archiver.storage.database import open_store
from archiver.storage.url import of_file
from bench.rig.loopback import free_port
from rackioc import banner
from rackioc.cli import app, command
from rackioc.config.load import load
from sim.control import Control
from sim.rack import Rack
from tests.other_user import as_user

CONFIG = """\
prefix: "LAB:"
instruments:
  TC1: {driver: se521}
  GEN:
    driver: technix
    port: /dev/ttyUSB0
    full_scale: {voltage_kv: 100, current_ma: 50}
records:
  "LAB:TC1:T1": {DESC: cold finger}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "rack.yaml"
    path.write_text(CONFIG)
    return str(path)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "words",
    [
        "run", "ioc", "archive", "check", "convert", "pvs", "status", "spool", "db init", "db migrate", "db status",
        "db backup", "db check", "db copy", "db compact", "db rename", "db export", "db salvage",
        "history", "get", "put", "monitor", "info", "alarms", "reference", "appliance", "engine", "snapshot",
        "screens", "sim demo", "sim run", "sim fault",
    ],
)  # fmt: skip
def test_each_command_explains_itself(words: str) -> None:
    code, text = run(*words.split(), "--help")
    assert code == 0
    assert len(text.split()) > 20
    assert run(*words.split(), "-h") == (code, text)


def test_help_names_the_first_steps() -> None:
    code, text = run("--help")
    assert code == 0
    assert "rackioc sim demo" in text


def test_a_good_configuration_is_told_and_nothing_else_happens(config: str) -> None:
    code, text = run("check", config)
    assert (code, "no faults; 2 instruments" in text) == (0, True)


def test_a_bad_configuration_is_code_2_with_each_fault_on_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text("prefix: [5]\ninstruments: {X: {driver: lecroy}}\n")
    code, text = run("check", str(path))
    assert code == 2
    assert [line.startswith(f"{path}:") for line in text.splitlines()] == [True, True]


def test_pvs_are_listed_as_csv_with_what_the_site_says(config: str) -> None:
    code, text = run("pvs", config, "--format", "csv")
    assert code == 0
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["LAB:TC1:T1"] == {
        "name": "LAB:TC1:T1", "type": "ai", "unit": "C", "access": "read", "description": "cold finger",
    }  # fmt: skip
    assert rows["LAB:GEN:VSet"]["access"] == "read/write"
    assert {"LAB:GEN:Conn", "LAB:GEN:HV:OffPending", "LAB:IOC:HEARTBEAT"} <= set(rows)


def test_pvs_are_listed_as_json_and_as_a_table(config: str) -> None:
    listed = json.loads(run("pvs", config, "--format", "json")[1])
    table = run("pvs", config)[1].splitlines()
    assert len(table) == len(listed) + 1
    assert "LAB:GEN:VSet" in "\n".join(table)


@pytest.mark.parametrize("name", ["ON", "A", "ID", "[red]"])
def test_a_name_is_listed_as_it_is_whatever_it_means_to_the_printer_of_tables(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text(f'prefix: "LAB:"\ninstruments:\n  "{name}": {{driver: se521}}\n')
    assert f"\nLAB:{name}:T1 " in run("pvs", str(path))[1]


def test_a_crate_that_cannot_be_asked_is_told_and_the_rest_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    text = """\
        prefix: "LAB:"
        instruments:
          HV1: {driver: caen, system: SY4527, link: TCPIP, host: nowhere.invalid, username: a, password: geheim42}
    """
    path.write_text(textwrap.dedent(text))
    code, text = run("pvs", str(path), "--format", "csv")
    assert code == 1
    assert "LAB:HV1:Conn" in text
    assert "HV1: " in text
    assert "geheim42" not in text


def test_a_history_that_is_not_there_is_code_1_and_makes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["history", "LAB:X"], ["db", "check"], ["db", "compact"]):
        code, text = run(*words)
        assert (code, text) == (
            1, f"rackioc: there is no archive {tmp_path}/rack.sqlite; name it: --config FILE or --database URL\n",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "rack.sqlite").touch()
    assert run("history", "LAB:X") == (code, text)


def test_a_pv_that_is_not_archived_is_named_after_the_others_and_is_code_1(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/rack.sqlite"
    with closing(open_store(database)) as store:
        store.add([Sample("LAB:A", 1_700_000_000 * 10**9, -3, 0, "NO_ALARM")])
    code, text = run("history", "lab:a", "--database", database)
    assert (code, text) == (1, "rackioc: lab:a is not in the archive; did you mean LAB:A?\n")
    code, text = run("history", "LAB:B", "LAB:A", "--format", "csv", "--database", database)
    assert code == 1
    assert "LAB:A,-3,,NO_ALARM" in text
    assert "rackioc: LAB:B is not in the archive; did you mean LAB:A?" in text


@pytest.mark.parametrize(
    "options",
    [
        ["--since", "yesterday"], ["--until", "soon"], ["--at", "noon"], ["--bin", "often"], ["--bin", "0"],
        ["--since", "1h", "--until", "2h"], ["--fill"], ["--at", "1h", "--since", "2h"], ["--plot", "x.jpg"],
        ["--database", "rack.sqlite"], ["--database", "oracle://x/y"],
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_code_2(options: list[str]) -> None:
    code, text = run("history", "X", *options)
    assert (code, len(text.splitlines())) == (2, 1), text


@pytest.mark.parametrize(
    "words", ["--version", "--help", "db --help", "check CONFIG", "pvs CONFIG", "pvs --format csv CONFIG"]
)
@pytest.mark.parametrize(("output", "why"), [("/dev/full", "No space left on device"), ("&-", "it is closed")])
def test_output_that_cannot_be_written_is_one_sentence(config: str, words: str, output: str, why: str) -> None:
    line = f"{sys.executable} -P -m rackioc {words.replace('CONFIG', config)} >{output}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"rackioc: standard output: {why}\n")


def test_output_that_nobody_reads_is_no_traceback(config: str) -> None:
    line = f"{sys.executable} -P -m rackioc pvs {config} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_no_file_gets_the_number_of_a_closed_standard_stream() -> None:
    """What a library in C prints would go into it: a serial line, or the spool."""
    look = "import os; from rackioc import streams; streams.hold(); print(os.open('/', 0), file=open(3, 'w'))"
    line = f'{sys.executable} -P -c "{look}" 3>&1 <&- >&- 2>&-'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stdout == "4\n"


@pytest.mark.parametrize("words", ["db migrate", "db status", "db check", "db compact"])
def test_an_archive_is_named_alike_for_each_command(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rack.conf").write_text(f"{CONFIG}archive: {{database: 'sqlite:///rack.sqlite', pvs: ['LAB:*']}}\n")
    assert run("db", "init", "--config", "rack.conf") == run("db", "init", "rack.conf")
    for place in ([], ["rack.conf"], ["rack.sqlite"], ["sqlite:///rack.sqlite"], ["--config", "rack.conf"]):
        code, text = run(*words.split(), *place)
        assert (code, "rack.sqlite" in text or "MB now" in text) == (0, True), text
    assert run(*words.split(), "rack.conf", "--config", "rack.conf")[0] == 2
    assert run("db", "init")[0] == run("db", "init", "rack.conf", "--config", "rack.conf")[0] == 2


def test_a_former_loggers_file_before_the_first_run_is_told_with_what_brings_it_in(tmp_path: Path) -> None:
    file = tmp_path / "hv_monitoring.db"
    with closing(sqlite3.connect(file)) as former:
        former.execute("CREATE TABLE measurements (id INTEGER)")
    code, text = run("history", "LAB:A", "--database", f"sqlite:///{file}")
    assert (code, "rackioc run makes one in it" in " ".join(text.split())) == (1, True), text


def test_letters_that_the_locale_does_not_have_end_no_command(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/rack.sqlite"
    with closing(open_store(database)) as store:
        store.add([Sample("LAB:A", 1_700_000_000 * 10**9, -3, 0, "NO_ALARM")])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rackioc", "history", "LAB:A", "--terminal", "--database", database],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "LAB:A" in done.stdout


def test_views_of_a_history_that_exclude_each_other_are_one_sentence() -> None:
    code, text = run("history", "X", "--at", "1h", "--stat", "--bin", "60s", "--plot", "x.png", "--terminal")
    assert code == 2
    assert (
        text == "rackioc: --at and --stat and --bin and --plot and --terminal exclude each other: give one of them\n"
    )


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ("/dev/null", "/dev/null exists and is not a simulated port"),
        ("/dev/null/generator", "File exists"),
        ("socket://localhost:1", "a simulated port needs a path"),
    ],
)
def test_a_simulated_generator_where_none_can_be_is_told_in_words(link: str, sentence: str, tmp_path: Path) -> None:
    code, text = run("sim", "technix", link, "--control-path", str(tmp_path / "control"))
    assert code == 2
    assert sentence in " ".join(text.replace("│", "").split())
    assert "listens" not in text


def test_a_second_simulated_generator_with_the_same_control_path_is_told_in_words(tmp_path: Path) -> None:
    control = Control({}, str(tmp_path / "control"))
    code, text = run("sim", "technix", str(tmp_path / "line"), "--control-path", control.path)
    control.close()
    assert code == 2
    assert "another simulation uses" in " ".join(text.split())
    assert not (tmp_path / "line").is_symlink()


def test_no_simulation_is_told_in_words(tmp_path: Path) -> None:
    code, text = run("sim", "fault", "GEN", "help", "--control-path", str(tmp_path / "none"))
    assert code == 1
    assert "rackioc sim demo" in text


def test_a_fault_that_has_no_answer_prints_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    full_scale = {"voltage_kv": 100, "current_ma": 50}
    generator = {"driver": "technix", "port": str(tmp_path / "line"), "full_scale": full_scale}
    with Rack({"GEN": generator}, control_path=path):
        assert run("sim", "fault", "GEN", "interlock", "open", "--control-path", path) == (0, "")
        assert run("sim", "fault", "GEN", "writes", "--control-path", path) == (0, "0\n")


def test_a_fault_may_have_a_negative_number(tmp_path: Path) -> None:
    command = ["GEN", "interlock", "-10"]
    code, text = run("sim", "fault", *command, "--control-path", str(tmp_path / "none"))
    assert (code, "rackioc sim demo" in text) == (1, True)


@pytest.mark.parametrize(
    ("logger", "message", "line"),
    [
        ("rackioc.HV1", "HV1: connected", "HV1: connected"),
        ("rackioc.HV1", "HV1 answers again", "HV1 answers again"),
        ("rackioc.HV1", "the driver read X", "rackioc.HV1: the driver read X"),
        ("rackioc.HV1", "Pw=Off is not shown by HV1, which stops", "Pw=Off is not shown by HV1, which stops"),
        ("rackioc.HV1", "HV12 is another one", "rackioc.HV1: HV12 is another one"),
        ("rackioc", "serving 58 records", "rackioc: serving 58 records"),
        ("rackioc.puts", "refused: puts are locked out", "rackioc.puts: refused: puts are locked out"),
        ("archiver.service", "1 of 1 PVs connected", "archiver.service: 1 of 1 PVs connected"),
    ],
)
def test_a_line_of_the_log_names_the_instrument_once(logger: str, message: str, line: str) -> None:
    record = logging.LogRecord(logger, logging.INFO, "", 0, message, (), None)
    assert command._Formatter().format(record).split(" INFO ")[1] == line


@pytest.mark.parametrize(
    ("name", "value"), [("EPICS_CA_SERVER_PORT", "x"), ("EPICS_CAS_BEACON_PERIOD", "often"), ("RACKIOC_LOG", "LOUD")]
)
def test_a_variable_with_nonsense_is_one_line_and_code_2(
    config: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    code, text = run("ioc", config)
    assert (code, len(text.splitlines())) == (2, 1)
    assert text.startswith(f"rackioc: the environment variable {name} is ")


# ---- the archive ----


@pytest.mark.parametrize("service", ["archive", "web"])
def test_nonsense_is_told_by_the_processes_beside_the_ioc_too(
    archived: str, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", ":::")
    code, text = run(service, archived)
    assert (code, "EPICS_CA_ADDR_LIST is ':::'" in text) == (2, True)


@pytest.fixture
def archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration with an archive, and its directory as the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rack.yaml"
    path.write_text(CONFIG + 'archive: {database: "sqlite:///rack.sqlite", pvs: ["LAB:*"]}\n')
    return str(path)


def healthy(**fields: Any) -> Health:
    return Health(time.time(), 4711, connected=2903, total=2904, database="ok", spool_bytes=12_300, **fields)


@pytest.mark.parametrize(
    ("days", "shown", "code"), [(36_525.0, "more than 10 years", 0), (250.4, "250", 0), (13.94, "13.9", 1)]
)
def test_the_days_until_the_disk_is_full_are_told(archived: str, days: float, shown: str, code: int) -> None:
    with closing(StatusFile(Path("rack.spool.status"))) as status_file:
        status_file.write(healthy(days_left=days))
        found, text = run("status", archived)
    assert (found, next(line.split()[2:] for line in text.splitlines() if line.startswith("days left"))) == (
        code, shown.split()
    )  # fmt: skip
    assert ("full in 13.9 days" in text) == bool(code)


def test_an_archiver_that_is_well_is_told_in_aligned_lines_and_code_0(archived: str) -> None:
    with closing(StatusFile(Path("rack.spool.status"))) as status_file:
        status_file.write(healthy(disk_free=6.25e9, stored=5))
        code, text = run("status", archived)
    assert code == 0, text
    lines = dict(line.split("  ", 1) for line in text.splitlines())
    assert {label.strip(): value.strip() for label, value in lines.items()} == {
        "archiver": "running, pid 4711", "PVs": "2903 of 2904 connected", "samples": "0.0 /s", "stored": "5",
        "in memory": "0, 0 B", "in the spool": "0, 12.3 kB", "write lag": "0.0 s", "rejected": "0",
        "repeated": "0", "lost": "0",
        "disk free": "6.25 GB", "days left": "not known", "database": "ok", "last error": "none",
    }  # fmt: skip
    assert len({len(line) - len(line.split("  ", 1)[1].lstrip()) for line in text.splitlines()}) == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"lag": 12.0}, "a sample has waited for its commit for 12 s"),
        ({"spool_rows": 9}, "9 samples in the spool, not in the database yet"),
        ({"lost": 3}, "3 samples lost: spool and memory were full (Overrun)"),
        ({"rejected": {Cause.FUTURE: 2}}, "2 samples rejected; cause: time stamps more than 5 min in the future"),
    ],
)
def test_an_archiver_that_is_not_well_is_code_1_and_a_sentence(
    archived: str, fields: dict[str, Any], sentence: str
) -> None:
    with closing(StatusFile(Path("rack.spool.status"))) as status_file:
        status_file.write(healthy(**fields))
        code, text = run("status", archived)
    assert code == 1
    assert sentence in text.splitlines()


def test_a_database_that_is_away_and_a_silent_archiver_are_told(archived: str) -> None:
    with closing(StatusFile(Path("rack.spool.status"))) as status_file:
        status_file.write(Health(time.time() - 60, 4711, database="away"))
        code, text = run("status", archived)
    assert code == 1
    assert "the archiver (pid 4711) has not reported for 60 s: it hangs, or is stopped" in text.splitlines()
    assert "the database is away" in text.splitlines()


def test_an_archiver_that_does_not_run_is_code_1(archived: str) -> None:
    assert run("status", archived)[0] == 1
    with closing(StatusFile(Path("rack.spool.status"))) as status_file:
        status_file.write(healthy(last_error="the disk is full"))
    code, text = run("status", archived)
    assert code == 1
    assert text.startswith("the archiver is not running")
    assert "its last error: the disk is full" in text


def test_the_archivers_state_as_json(archived: str, capsys: pytest.CaptureFixture[str]) -> None:
    from archiver import status

    with closing(StatusFile(Path("rack.spool.status"))) as status_file:
        status_file.write(healthy(lost=3))
        assert run("status", archived, "--format", "json")[0] == 1
        status.show_status(Path("rack.spool.status"), "json", sys.stdout)
    told = json.loads(capsys.readouterr().out)
    assert (told["running"], told["pid"], told["lost"]) == (True, 4711, 3)
    assert told["troubles"] == ["3 samples lost: spool and memory were full (Overrun)"]


@pytest.mark.parametrize("words", ["archive", "status", "spool", "db init", "db migrate", "db status"])
def test_what_needs_an_archive_says_that_there_is_none(config: str, words: str) -> None:
    code, text = run(*words.split(), config)
    assert code == 2
    assert "archive: is missing" in text


def test_the_archivers_pvs_are_listed_with_an_archive_alone(config: str, archived: str) -> None:
    assert "LAB:ARCH:Lag" in run("pvs", archived, "--format", "csv")[1]
    Path(config).write_text(CONFIG)
    assert "LAB:ARCH:" not in run("pvs", config, "--format", "csv")[1]


def test_a_database_is_made_and_its_state_is_told(archived: str) -> None:
    code, text = run("db", "init", archived)
    assert (code, Path("rack.sqlite").exists()) == (0, True), text
    assert run("db", "migrate", archived)[0] == 0
    code, text = run("db", "status", archived)
    assert code == 0
    assert text


def test_a_database_server_that_is_away_does_not_spoil_a_good_configuration(archived: str) -> None:
    url = f"mysql+pymysql://lab:geheim42@127.0.0.1:{free_port()}/rack"
    Path(archived).write_text(Path(archived).read_text().replace("sqlite:///rack.sqlite", url))
    code, text = run("check", archived)
    assert code == 0, text
    assert "no faults; 2 instruments" in text
    assert "archive: " in text
    assert "samples wait in the spool" in text
    assert "geheim42" not in text


def test_a_pv_that_was_never_connected_is_named_and_is_code_1(archived: str) -> None:
    with closing(StatusFile(Path("rack.spool.status"))) as status_file:
        names = [f"LAB:TYPO{number}" for number in range(20)]
        status_file.write(healthy(never=23, never_names=names))
        code, text = run("status", archived)
    assert code == 1
    assert "23 PVs not connected since the archiver's start: LAB:TYPO0, LAB:TYPO1, " in text
    assert "LAB:TYPO19 and 3 more" in text


def test_the_figures_of_pvs_are_shown_by_glob(archived: str) -> None:
    assert run("status", archived, "--pvs")[0] == 1
    rejected = {"time stamps going backwards": 2}
    figures = [["LAB:A", "connected", 7, 0.5, 1_700_000_000 * 10**9, rejected], ["LAB:B", "never", 0, 0.0, 0, {}]]
    Path("rack.spool.pvs").write_text(json.dumps([time.time(), figures]))
    code, text = run("status", archived, "--pvs", "*:A")
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    assert lines[1][:5] == ["LAB:A", "connected", "7", "0.5", "2023-11-14T22:13:20.000000000Z"]
    assert "2 time stamps going backwards" in text
    assert "LAB:B" in run("status", archived, "--pvs")[1]
    assert json.loads(run("status", archived, "--pvs", "--format", "json")[1])[1]["state"] == "never"
    code, text = run("status", archived, "LAB:A")
    assert (code, "a glob of PVs needs --pvs" in text) == (2, True)


def test_what_was_set_aside_of_the_spool_is_listed_and_brought_in_again(archived: str) -> None:
    code, text = run("spool", archived)
    assert (code, "there is no spool" in text) == (1, True)
    path = Path("rack.spool")
    path.write_bytes(b"no spool" * 1000)
    with closing(Spool(path, 1e9, 0)) as spool:
        spool.append(Batch([Sample("LAB:A", 1_700_000_000 * 10**9, 1.0, 0, "NO_ALARM")]))
        spool._connection.execute("UPDATE batch SET data = CAST(x'00' || data AS BLOB)")
        mark = spool.head()
        assert mark is not None
        assert (mark.batch.samples, mark.batch.lost_ns > 0) == ([], True)
        spool.remove(mark.id)
        assert spool.head() is None
        code, text = run("spool", archived)
        assert code == 0
        assert "batch 2, since 20" in text
        assert ", with 1 sample: error: Error -3 while decompressing" in text
        assert "rack.spool.broken-" in text
        assert "file is not a database" in text
        spool._connection.execute("UPDATE aside SET data = CAST(substr(data, 2) AS BLOB)")
        assert "1 sample brought in again" in run("spool", archived, "--again")[1]
        assert spool.head() is not None


def test_a_database_that_cannot_be_made_is_code_1(archived: str) -> None:
    Path(archived).write_text(Path(archived).read_text().replace("rack.sqlite", "nowhere/rack.sqlite"))
    code, text = run("db", "init", archived)
    assert code == 1
    assert text.startswith("rackioc: ")


def test_the_banner_of_a_simulation_shows_no_password_of_the_database(archived: str, tmp_path: Path) -> None:
    url = "mysql+pymysql://lab:geheim42@db1,db2/rack"
    Path(archived).write_text(Path(archived).read_text().replace("sqlite:///rack.sqlite", url))
    text = banner.text(load(Path(archived)), tmp_path / "control")
    assert "Archive:    mysql+pymysql://lab:***@db1/rack, mysql+pymysql://lab:***@db2/rack" in text
    assert "geheim42" not in text
    history = f"rackioc history 'LAB:TC1:T1' --since 10m --config {archived}"
    assert f"/{history}\n" in text
    text = banner.text(load(Path(archived)), tmp_path / "control", beside=Path("/a place/of its own"))
    assert f"(cd '/a place/of its own' && {Path(sys.executable).parent}/{history})\n" in text


def test_the_banner_leaves_out_what_an_instrument_does_not_suggest(config: str, tmp_path: Path) -> None:
    loaded = load(Path(config))
    thermometer, generator = loaded.instruments
    text = banner.text(loaded, tmp_path / "control")
    assert "rackioc put LAB:GEN:VSet 30\n" in text
    assert "rackioc put LAB:TC1" not in text
    generator.driver.example = None
    text = banner.text(loaded, tmp_path / "control")
    assert "LAB:*: TC1, GEN" in text
    assert "LAB:GEN:" not in text
    thermometer.driver.example = None
    assert "rackioc get LAB" not in banner.text(loaded, tmp_path / "control")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("hidden", ["directory", "file"])
def test_where_a_user_may_not_look_it_is_not_said_that_the_archiver_does_not_run(
    tmp_path: Path, hidden: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    state = tmp_path / "state"
    state.mkdir()
    config = tmp_path / "rack.yaml"
    config.write_text(f'{CONFIG}archive: {{database: "sqlite:///rack.sqlite", pvs: ["LAB:*"]}}\n'
                      f"state_directory: {state}\n")  # fmt: skip
    with closing(StatusFile(state / "rack.spool.status")) as status_file:
        status_file.write(healthy())
        run("status", str(config))  # imports what the other user may not read
        (state if hidden == "directory" else state / "rack.spool.status").chmod(0o700)
        found = {form: as_nobody("status", str(config), "--format", form) for form in ("table", "json")}
        figures = as_nobody("status", str(config), "--pvs", "*")
    path = f"{state}/rack.spool.status: Permission denied"
    sentence = f"whether the archiver runs cannot be seen ({path}): ask as a user who may read that file"
    assert found["table"] == (1, f"{sentence}\n")
    code, text = found["json"]
    assert code == 1
    assert json.loads(text[text.index("{") :]) == {"running": None, "troubles": [sentence]}
    assert figures[0] == 1
    assert ("the figures of PVs cannot be seen" in figures[1]) == (hidden == "directory")


def as_nobody(*arguments: str) -> tuple[int, str]:
    """Run the command as another user: its exit code, and what it prints."""
    return as_user(65534, lambda: run(*arguments))


def test_a_crate_that_is_not_there_can_be_asked_as_a_simulated_one(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    keys = "driver: caen, system: SY4527, link: TCPIP, host: nowhere.invalid, username: a, password: b"
    path.write_text(f'prefix: "LAB:"\ninstruments: {{HV1: {{{keys}}}}}\n')
    assert "LAB:HV1:S02:C00:VMon" in run("pvs", str(path), "--simulated", "--format", "csv")[1]
    code, text = run("screens", str(path), "--simulated", "-o", str(tmp_path / "screens"))
    assert (code, text) == (0, "")
    assert (tmp_path / "screens" / "HV1_S02.bob").exists()
    for made in ("alarms", "reference", "appliance", "engine", "snapshot"):
        code, text = run(made, str(path), "--simulated")
        assert (code, "HV1:S02" in text) == (0, True), made
        assert "Simulated: what HV1 has was asked of a simulation." in text, made
    code, text = run("pvs", str(path))
    assert (code, "--simulated asks a simulated one" in text) == (1, True)


def test_a_simulated_crate_that_is_asked_says_nothing_of_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    keys = "driver: caen, system: SY4527, link: TCPIP, host: nowhere.invalid, username: a, password: b"
    path.write_text(f'prefix: "LAB:"\ninstruments: {{HV1: {{{keys}}}}}\n')
    command = [sys.executable, "-P", "-m", "rackioc", "pvs", str(path), "--simulated"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["räck 50%41", "a?b#c"])
def test_a_file_of_any_name_is_that_archive(tmp_path: Path, name: str) -> None:
    old, new = tmp_path / f"{name}.sqlite", tmp_path / f"{name} copy.sqlite"
    with closing(open_store(of_file(old))) as store:
        store.add([Sample("A:PV", 10**18, 1.0, 0, "NO_ALARM")])
    assert old.is_file()
    code, text = run("db", "copy", str(old), str(new))
    assert (code, new.is_file()) == (0, True), text
    code, text = run("db", "salvage", str(old), str(tmp_path / "salvaged.sqlite"))
    assert (code, "1 row could be salvaged" in text) == (0, True), text


def test_a_number_that_is_none_is_a_fault_of_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    for number in (".nan", ".inf"):
        path.write_text(CONFIG.replace("voltage_kv: 100", f"voltage_kv: {number}"))
        code, text = run("check", str(path))
        shown = {".nan": "NaN", ".inf": "Infinity"}[number]
        assert (code, text) == (
            2,
            f"{path}:7: instruments.GEN.full_scale.voltage_kv: {shown} must be a finite number\n",
        )


@pytest.mark.parametrize(
    "command",
    [
        "history A --database {}",
        "db backup new.sqlite --database {}",
        "db check --database {}",
        "db compact --database {}",
        "db rename A B --database {}",
        "db export A --format csv -o x.csv --database {}",
        "db copy {} x.sqlite",
        "db salvage x.sqlite {}",
    ],
)
def test_a_url_that_is_none_of_a_database_is_a_wrong_command_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.sqlite").touch()
    result = CliRunner().invoke(app, command.format("nosuch://somewhere/x").split())
    assert "nosuch is not known; allowed: sqlite:///FILE or mysql+pymysql://" in result.output
    assert result.exit_code == 2
