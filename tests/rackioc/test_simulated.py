"""A simulation has files and lines of its own: what is configured is neither read nor written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from archiver.sample import Sample
from archiver.storage.database import open_store
from archiver.storage.url import DatabaseUrl
from bench.rig.loopback import environment
from drivers.base import DriverConfig
from drivers.technix.driver import Technix
from rackioc.cli import runtime
from rackioc.config import simulated
from rackioc.config.load import load, load_simulated
from tests.rackioc.test_cli import run
from tests.small_ioc import until

RACK = """\
prefix: "SIM{pid}:"
state_directory: {state}
site_file: limits.yaml
instruments:
  GEN: &generator
    driver: technix
    port: {port}
    full_scale: {{voltage_kv: 100, current_ma: 50}}
    polarity: negative
  HV1: {{driver: caen, system: SY1527, link: TCPIP, host: crate, username: admin, password: "${{CRATE}}"}}
archive:
  database: {database}
  pvs: ["SIM{pid}:GEN:*"]
  spool: {{file: real.spool, limit: 2GB}}
  measurements: {{instrument: HV1, channels: {{2: [0, 1]}}, interval: 1s, table: old}}
"""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A state directory with an archive, and the former logger's table in it."""
    state = tmp_path / "real"
    state.mkdir()
    with closing(open_store(f"sqlite:///{state}/old.db")) as store:
        store.add([Sample("REAL:PV", 1_700_000_000 * 10**9, 1.0, 0, "NO_ALARM")])
    with closing(sqlite3.connect(state / "old.db")) as archive:
        archive.execute("PRAGMA journal_mode = DELETE")
    return state


@pytest.fixture
def rack(tmp_path: Path, real: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("CRATE", "geheim42")
    return write(tmp_path, real, "sqlite:///old.db", "/dev/serial/by-id/usb-FTDI")


def write(folder: Path, state: Path, database: str, port: str) -> Path:
    path = folder / "rack.yaml"
    path.write_text(RACK.format(pid=os.getpid(), state=state, database=database, port=port), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


Simulation = tuple[subprocess.Popen[bytes], Path, dict[str, str]]
COMMAND = [sys.executable, "-P", "-m", "rackioc", "sim", "run", "rack.yaml", "--control-path"]


@pytest.fixture
def simulation(rack: Path, tmp_path: Path) -> Iterator[Simulation]:
    """The rack, simulated, what it writes, and its environment."""
    log, variables = tmp_path / "log", {**os.environ, **environment()}
    with log.open("wb") as out, subprocess.Popen(
        [*COMMAND, "control"], cwd=tmp_path, env=variables, stdout=out, stderr=out
    ) as process:  # fmt: skip
        yield process, log, variables
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


def start_another(folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "control2"], cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=40
    )


def test_a_simulation_leaves_archive_tables_and_directory_of_its_rack_alone(
    simulation: Simulation, rack: Path, real: Path
) -> None:
    before = contents(real)
    process, log, variables = simulation
    own = runtime.simulation_of(rack)
    assert own is not None
    until(lambda: process.poll() is not None or "Stop with" in log.read_text(), 40)
    until(lambda: process.poll() is not None or rows(own / "rack.sqlite", "old") > 0, 40)
    assert contents(real) == before
    told = log.read_text()
    assert f"Its files:  {own}; archive, tables, site file of {rack.name}: untouched" in told
    assert f"Archive:    sqlite:///{own}/rack.sqlite" in told
    code, text = run("status", str(own / "rack.yaml"))
    assert f"rackioc status {own}/rack.yaml" in told
    assert (code, "connected" in text) == (0, True), text
    code, text = run("history", f"SIM{os.getpid()}:GEN:Conn", "--config", str(own / "rack.yaml"))
    assert (code, "Conn" in text) == (0, True)
    code, text = run("status", str(rack))
    assert (code, text.splitlines()[-1]) == (1, f"a simulation of it runs; its state: rackioc status {own}/rack.yaml")
    assert "geheim42" not in (own / "rack.yaml").read_text()
    line = (own / "GEN.line").readlink()
    second = start_another(rack.parent, variables)
    assert (second.returncode, second.stderr) == (
        1, f"rackioc: {own}/GEN.line is the line of a simulation that runs: stop that one first\n",
    )  # fmt: skip
    assert (own / "GEN.line").readlink() == line
    (rack.parent / "elsewhere").mkdir()
    shutil.copy(rack, rack.parent / "elsewhere")
    second = start_another(rack.parent / "elsewhere", variables)
    assert second.returncode == 1
    assert "another port: export EPICS_CA_SERVER_PORT=5066" in second.stderr
    assert "--force" not in second.stderr, "it has no such option"


def rows(database: Path, table: str) -> int:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as archive:
            return int(archive.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize("port", ["/dev/ttyUSB0", "socket://moxa:4001", "rfc2217://moxa:4001", "./line"])
def test_a_simulation_has_serial_lines_of_its_own_whatever_the_port(
    tmp_path: Path, real: Path, rack: Path, port: str
) -> None:
    own = tmp_path / "own"
    made = simulated.copy(load(write(tmp_path, real, "sqlite:///old.db", port)), own)
    assert made.raw["GEN"]["port"] == str(own / "GEN.line")
    assert made.site_file == own / "rack.site.yaml"


@dataclass(frozen=True, kw_only=True)
class LineConfig(DriverConfig):
    """The keys of an instrument on a line with parity."""

    port: str
    bytesize: int = 8
    parity: str = "E"
    stopbits: int = 1


def test_a_line_with_parity_is_simulated_without_it(
    tmp_path: Path, rack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Technix, "Config", LineConfig)
    monkeypatch.setattr(Technix, "__init__", lambda driver, config: setattr(driver, "points", ()))
    path = tmp_path / "line.yaml"
    keys = "driver: technix, port: /dev/ttyUSB0, bytesize: 7, parity: O, stopbits: 2"
    path.write_text(f'prefix: "LAB:"\ninstruments: {{A: {{{keys}}}, B: {{driver: technix, port: /dev/ttyUSB1}}}}\n')
    made = simulated.copy(load(path), tmp_path / "own").raw
    assert {key: made["A"][key] for key in ("bytesize", "parity", "stopbits")} == {
        "bytesize": 8, "parity": "N", "stopbits": 2,
    }  # fmt: skip
    assert made["B"] == {"driver": "technix", "port": made["B"]["port"], "bytesize": 8, "parity": "N"}


def test_a_server_is_no_archive_of_a_simulation(tmp_path: Path, real: Path, rack: Path) -> None:
    own = tmp_path / "own"
    url = "mysql+pymysql://lab:${CRATE}@db1,db2/rack"
    archive = simulated.copy(load(write(tmp_path, real, url, "./line")), own).archive
    assert archive is not None
    assert archive.database == f"sqlite:///{own}/rack.sqlite"
    assert (archive.spool.limit, archive.spool.file) == ("2GB", str(own / "rack.spool"))
    assert archive.measurements is not None
    assert stat.S_IMODE((own / "rack.yaml").stat().st_mode) == 0o600


def test_a_simulation_needs_no_password(
    tmp_path: Path, real: Path, rack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, real, "mysql+pymysql://rackioc:${DB_PASSWORD}@db1/archive", "/dev/ttyUSB0")
    monkeypatch.delenv("CRATE")
    made = simulated.copy(load_simulated(rack), tmp_path / "own")
    assert made.raw["HV1"]["password"] == "simulated"
    assert "${" not in made.path.read_text()


def test_what_a_mapping_takes_over_from_another_one_is_replaced_too(tmp_path: Path, rack: Path) -> None:
    text = rack.read_text().replace("GEN: &generator", "GEN:").replace("port: /dev/serial", "<<: {port: /dev/serial")
    text = text.replace("usb-FTDI\n", "usb-FTDI}\n").replace("archive:\n", "archive:\n  <<: {name: elsewhere}\n")
    rack.write_text(
        text.replace("  database: sqlite:///old.db\n", "").replace(
            "elsewhere", "elsewhere, database: 'sqlite:///old.db'"
        )
    )
    made = simulated.copy(load(rack), tmp_path / "own")
    assert [keys.get("port") for keys in made.raw.values()] == [f"{tmp_path}/own/GEN.line", None]
    assert made.archive is not None
    assert (made.archive.name, made.archive.database) == ("elsewhere", f"sqlite:///{tmp_path}/own/rack.sqlite")


@pytest.mark.parametrize("name", ["räck 50%", "a?b#c"])
def test_a_rack_is_simulated_wherever_it_is(tmp_path: Path, rack: Path, name: str) -> None:
    own = tmp_path / name
    made = simulated.copy(load(rack), own).archive
    assert made is not None
    assert DatabaseUrl.parse(made.database).file == own / "rack.sqlite"


@pytest.mark.parametrize("name", ["räck 50%41", "a?b#c"])
def test_a_rack_is_simulated_whatever_its_name(tmp_path: Path, rack: Path, name: str) -> None:
    made = simulated.copy(load(rack.rename(tmp_path / f"{name}.yaml")), tmp_path / "own").archive
    assert made is not None
    assert DatabaseUrl.parse(made.database).file == tmp_path / "own" / f"{name}.sqlite"


def test_the_certificate_of_a_rack_is_read_where_it_is(tmp_path: Path, real: Path, rack: Path) -> None:
    rack.write_text(rack.read_text() + "web: {certificate: tls/cert.pem, key: tls/key.pem, port: 8443}\n")
    made = simulated.copy(load(rack), tmp_path / "own").web
    assert made is not None
    assert (made.certificate, made.key, made.port) == (f"{real}/tls/cert.pem", f"{real}/tls/key.pem", 8443)


def test_the_configuration_of_a_simulation_is_simulated_as_it_is(rack: Path) -> None:
    own = runtime.simulation_of(rack)
    assert own is not None
    assert own.is_relative_to(runtime.simulations())
    assert runtime.simulation_of(own / "rack.yaml") is None


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_directory_into_which_others_may_write_is_not_taken(tmp_path: Path, rack: Path, mode: int) -> None:
    shared = tmp_path / "tmp" / f"rackioc-{os.getuid()}"
    shared.mkdir(parents=True)
    shared.chmod(mode)
    code, text = run("sim", "run", str(rack))
    assert code == 1
    assert text == f"rackioc: {shared}: others may write there; set TMPDIR to a directory of your own\n"


@pytest.mark.parametrize("name", ["rack", "räck 50%", "a?b#c"])
def test_a_demo_does_not_write_into_the_archive_of_a_rack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from archiver.storage import manage

    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    manage.init("sqlite:///rack.sqlite")
    with closing(sqlite3.connect("rack.sqlite")) as archive:
        archive.execute("INSERT INTO archiver VALUES (1, 'LAB:rack', '', 0)")
        archive.commit()
    before = Path("rack.sqlite").read_bytes()
    code, text = run("sim", "demo", "--control-path", str(tmp_path / "control"))
    path = folder / "rack.sqlite"
    assert (code, text) == (1, f"rackioc: {path} is the archive of LAB:rack: start the demo in another directory\n")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "why"),
    [("another program's", "is not an archive of rackioc"), ("no database", "file is not a database")],
)
def test_a_demo_says_what_to_do_where_its_archive_would_be_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rack.sqlite"
    path.write_bytes(b"neither " * 2000)
    if kind == "another program's":
        path.unlink()
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE measurements (id)")
    before = path.read_bytes()
    code, text = run("sim", "demo", "--control-path", str(tmp_path / "control"))
    assert (code, text.startswith(f"rackioc: {path}")) == (1, True)
    assert why in text
    assert text.endswith(": start the demo in another directory, or move that file away\n")
    assert path.read_bytes() == before


def test_a_demo_says_so_at_once_where_no_file_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory in which root cannot make one either."""
    monkeypatch.chdir("/proc/self")
    code, text = run("sim", "demo", "--control-path", str(tmp_path / "control"))
    assert code == 1
    assert text.startswith(f"rackioc: {Path.cwd()} cannot be written to (")
    assert text.endswith("), and the demo keeps its history there: start the demo in another directory\n")
