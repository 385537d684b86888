"""Where files are, from whatever directory a command is started; and what a command needs of a configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from archiver.health import Health, StatusFile
from archiver.sample import Sample
from archiver.storage.database import open_store
from rackioc.config.config import ConfigError
from rackioc.config.load import load, load_archive
from tests.rackioc.test_cli import run

SECRETS = """\
prefix: "LAB:"
instruments:
  HV1: {driver: caen, system: SY4527, link: TCPIP, host: crate, username: admin, password: "${ROOTS_PASSWORD}"}
archive:
  database: DATABASE
  pvs: ["LAB:*"]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose crate has a password that is not known here, from another directory."""
    (tmp_path / "site").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = tmp_path / "site" / "rack.yaml"
    path.write_text(SECRETS.replace("DATABASE", "sqlite:///rack.sqlite"))
    return path


def test_a_state_needs_no_password_and_is_found_from_another_directory(config: Path) -> None:
    with closing(StatusFile(config.with_name("rack.spool.status"))) as status_file:
        status_file.write(Health(time.time(), 4711, database="ok"))
        code, text = run("status", str(config))
    assert (code, "running, pid 4711" in text) == (0, True), text


def test_a_state_needs_no_password_of_the_database(config: Path) -> None:
    config.write_text(SECRETS.replace("DATABASE", "mysql+pymysql://lab:${ROOTS_PASSWORD}@db/rack"))
    code, text = run("status", str(config))
    assert (code, text.split(" (")[0]) == (1, "the archiver is not running")
    config.write_text(SECRETS.replace("DATABASE", "${WHOLE_URL}"))
    assert run("status", str(config))[0] == 1


def test_a_history_needs_no_password_of_a_crate_and_is_found_from_another_directory(config: Path) -> None:
    with closing(open_store(f"sqlite:///{config.with_name('rack.sqlite')}")) as store:
        store.add([Sample("LAB:A", 1_700_000_000 * 10**9, -3, 0, "NO_ALARM")])
    code, text = run("history", "LAB:A", "--config", str(config), "--format", "csv")
    assert (code, "LAB:A,-3,,NO_ALARM" in text) == (0, True), text
    assert run("db", "status", str(config))[0] == 0
    assert run("spool", str(config))[1].startswith(f"rackioc: {config.with_name('rack.spool')}: there is no spool")


@pytest.mark.parametrize("command", [["pvs", "--format", "csv"], ["screens", "-o", "screens"], ["alarms"]])
def test_a_list_of_pvs_needs_no_password_of_a_database_or_the_web_server(config: Path, command: list[str]) -> None:
    config.write_text(
        'prefix: "LAB:"\ninstruments: {TC1: {driver: se521}}\n'
        'archive: {database: "mysql://lab:${ROOTS_PASSWORD}@db/rack", pvs: ["LAB:*"], spool: {file: x.spool}}\n'
        'web: {certificate: "${ROOTS_PASSWORD}"}\n'
    )
    code, text = run(command[0], str(config), *command[1:])
    assert code == 0, text
    assert command[0] == "screens" or "LAB:TC1:T1" in text
    config.write_text(config.read_text().replace("spool: {file: x.spool}", "policies: often"))
    assert run(command[0], str(config), *command[1:])[0] == 2, "what is needed is checked"


@pytest.mark.parametrize(
    "command", [["pvs", "--format", "csv"], ["alarms"], ["reference"], ["appliance"], ["engine"], ["snapshot"]]
)
def test_a_simulated_crate_needs_no_password(config: Path, command: list[str]) -> None:
    code, text = run(command[0], str(config), *command[1:], "--simulated")
    assert (code, "HV1:S02" in text) == (0, True), text
    assert "ROOTS_PASSWORD" not in text


def test_a_simulated_crate_needs_all_that_is_no_password(config: Path) -> None:
    config.write_text(SECRETS.replace("admin", '"${ROOTS_NAME}"'))
    code, text = run("pvs", str(config), "--simulated")
    sentence = "instruments.HV1.username: the environment variable ROOTS_NAME is not set"
    assert (code, text) == (2, f"{config}:3: {sentence}\n")
    assert "ROOTS_PASSWORD is not set" in run("pvs", str(config))[1]


def test_a_history_does_need_the_password_of_its_database(config: Path) -> None:
    config.write_text(SECRETS.replace("DATABASE", "mysql+pymysql://lab:${ROOTS_PASSWORD}@db/rack"))
    code, text = run("history", "LAB:A", "--config", str(config))
    assert (code, text) == (
        2,
        f"{config}:5: archive.database: the environment variable ROOTS_PASSWORD is not set\n",
    )


def test_faults_of_what_is_not_needed_hinder_no_look_at_the_archive(config: Path) -> None:
    config.write_text(config.read_text().replace("driver: caen", "driver: lecroy") + "  policies: often\n")
    load_archive(config, "database")
    with pytest.raises(ConfigError, match=r"archive\.policies: .*must be a mapping"):
        load_archive(config)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prefix: A", "1: archive: is missing"),
        ("archive: 5", "1: must be a mapping"),
        ("archive: {database: 'oracle://x/y', pvs: []}", "1: archive.database: oracle is not known"),
        ("archive: [", "1: not YAML"),
        (
            "state_directory: /no/where\narchive: {database: 'sqlite:///x', pvs: []}",
            "1: state_directory: there is no",
        ),
    ],
)
def test_what_is_needed_is_checked(config: Path, text: str, sentence: str) -> None:
    config.write_text(text)
    code, told = run("history", "A", "--config", str(config))
    assert code == 2
    assert sentence in re.sub(r"1: archive: (must)", r"1: \1", told), told


def test_files_count_from_the_directory_of_the_configuration(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTS_PASSWORD", "x")
    loaded = load(config)
    assert loaded.archive is not None
    assert loaded.site_file == config.with_name("rack.site.yaml")
    assert loaded.archive.database == f"sqlite:///{config.with_name('rack.sqlite')}"
    assert loaded.archive.spool_file(config) == config.with_name("rack.spool")
    assert loaded.archive.status_file(config) == config.with_name("rack.spool.status")
    monkeypatch.chdir(config.parent)
    relative = load(Path("rack.yaml"))
    assert relative.archive is not None
    assert (relative.site_file, relative.archive.database) == (loaded.site_file, loaded.archive.database)


def test_files_count_from_a_state_directory_and_absolute_ones_are_left(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOTS_PASSWORD", "x")
    spool = f"\n  spool: {{file: {tmp_path}/x.spool}}\n"
    config.write_text(f"state_directory: {tmp_path}/elsewhere\n{config.read_text()}{spool}")
    archive = load(config).archive
    assert archive is not None
    assert archive.database == f"sqlite:///{tmp_path}/elsewhere/rack.sqlite"
    assert archive.spool_file(config) == tmp_path / "x.spool"
    config.write_text(config.read_text().replace(f"{tmp_path}/elsewhere", "."))
    archive = load(config).archive
    assert archive is not None
    assert archive.database == f"sqlite:///{tmp_path}/elsewhere/rack.sqlite", "the directory where it was started"


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ("sqlite:///rack.sqlite", "sqlite:///no/where.sqlite", 5, "archive.database"),
        ("sqlite:///rack.sqlite", "sqlite:////no/where.sqlite", 5, "archive.database"),
        ("  pvs:", "  spool: {file: no/x.spool}\n  pvs:", 6, "archive.spool.file"),
        ("prefix:", "site_file: no/x.yaml\nprefix:", 1, "site_file"),
        ("prefix:", "state_directory: /no/where\nprefix:", 1, "state_directory"),
    ],
)
def test_a_path_whose_directory_is_not_there_is_a_fault_with_its_line(
    config: Path, old: str, new: str, line: int, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOTS_PASSWORD", "x")
    config.write_text(config.read_text().replace(old, new))
    code, text = run("check", str(config))
    assert code == 2
    assert f"{config}:{line}: {key}: there is no directory /" in text, text


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("  spool: {file: ./x.sqlite}", "7: archive.spool.file: {folder}/x.sqlite is archive.database already"),
        ("  spool: {file: rack.yaml}", "7: archive.spool.file: {folder}/rack.yaml is the configuration already"),
        ("site_file: x.sqlite", "5: archive.database: {folder}/x.sqlite is site_file already"),
        ("site_file: rack.yaml", "7: site_file: {folder}/rack.yaml is the configuration already"),
        ("web: {logins: x.sqlite}", "7: web.logins: {folder}/x.sqlite is archive.database already"),
        ("web: {logins: l}\nsite_file: l", "7: web.logins: {folder}/l is site_file already"),
        (
            "site_file: rack.spool.status",
            "7: site_file: {folder}/rack.spool.status is a file that the archiver writes beside the spool already",
        ),
        ("  spool: {file: y}\nsite_file: y.pvs", "8: site_file: {folder}/y.pvs is a file that the archiver writes"),
        ("web: {certificate: a.crt, key: a.key}", "7: web.certificate: there is no file {folder}/a.crt"),
        ("web: {puts: on, logins: l}", "7: web.logins: there is no file {folder}/l"),
        ("web: {puts: on, logins: .}", "7: web.logins: {folder} is a directory"),
        ("web: {certificate: ., key: .}", "7: web.key: {folder} is a directory"),
        ("site_file: .", "7: site_file: {folder} is a directory"),
        ("  spool: {file: /tmp}", "7: archive.spool.file: /tmp is a directory"),
        ("  database: sqlite:///.", "5: archive.database: {folder} is a directory"),
    ],
)
def test_a_file_that_would_be_two_things_or_is_not_there_is_a_fault(tmp_path: Path, lines: str, fault: str) -> None:
    path = tmp_path / "rack.yaml"
    archive = 'archive:\n  database: sqlite:///x.sqlite\n  pvs: ["LAB:*"]\n'
    if "database:" in lines:
        archive, lines = archive.replace("  database: sqlite:///x.sqlite", lines), ""
    path.write_text(f'prefix: "LAB:"\ninstruments:\n  T: {{driver: se521}}\n{archive}{lines}\n'.replace("\n\n", "\n"))
    with pytest.raises(ConfigError) as error:
        load(path, directories=True)
    told = [f"{found.line}: {found.key}: {found.sentence}" for found in error.value.faults]
    assert any(found.startswith(fault.format(folder=tmp_path)) for found in told), told


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_the_web_server_names_the_certificate_that_it_cannot_read(tmp_path: Path, text: str | None) -> None:
    path, certificate = tmp_path / "rack.yaml", tmp_path / "a.crt"
    path.write_text('prefix: "LAB:"\ninstruments: {T: {driver: se521}}\nweb: {certificate: a.crt, key: a.crt}\n')
    if text is not None:
        certificate.write_text(text)
    command = [sys.executable, "-P", "-m", "rackioc", "web", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert done.stderr.splitlines()[-1].startswith(f"rackioc: {certificate}"), done.stderr


@pytest.mark.parametrize(
    "own",
    [
        "web: {certificate: private/a.crt, key: private/a.key}",
        "site_file: private/own/rack.site.yaml",
        "state_directory: private/own",
        'archive: {database: sqlite:///private/own/x.sqlite, pvs: ["LAB:*"]}',
    ],
)
def test_what_only_the_server_may_look_at_is_no_fault_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    path, stat = tmp_path / "rack.yaml", Path.stat

    def look(asked: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if asked.parent.name == "private":
            raise PermissionError(13, "Permission denied", str(asked))
        return stat(asked, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", look)  # root, who runs tests, may look anywhere
    path.write_text(f'prefix: "LAB:"\ninstruments: {{T: {{driver: se521}}}}\n{own}\n')
    assert (load(path, directories=True).web is not None) is own.startswith("web")


def test_a_site_file_that_would_stop_the_start_is_told_before(tmp_path: Path) -> None:
    path, site_file = tmp_path / "rack.yaml", tmp_path / "rack.site.yaml"
    path.write_text('prefix: "LAB:"\ninstruments: {T: {driver: se521}}\n')
    site_file.write_text("LAB:T:T1: {HIHI: 5}\nLAB:T:T2: {HIHI: much}\n")
    code, text = run("check", str(path))
    assert (code, f"{site_file}:2: LAB:T:T2.HIHI: 'much' is not a number" in text) == (2, True), text
    site_file.write_text("LAB:T:T1: {HIHI: 5}\n")
    assert run("check", str(path))[0] == 0
