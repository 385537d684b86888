"""What ``import rackioc`` gives a notebook."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import metadata, version
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

import archiver
import rackioc


def test_the_package_has_its_version() -> None:
    assert rackioc.__version__ == version("rackioc")


def test_the_history_is_the_archivers() -> None:
    assert rackioc.history is archiver.history


def test_the_history_stays_a_function_when_files_of_its_folder_are_imported() -> None:
    code = "import archiver.history.query, archiver.history.arrays, archiver, rackioc; archiver.history.__call__"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_the_package_is_imported_without_numpy_or_a_database() -> None:
    code = "import sys, rackioc; assert not {'numpy', 'sqlalchemy', 'caproto', 'matplotlib'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_the_command_line_loads_neither_libca_nor_the_server_before_a_command_needs_them() -> None:
    code = (
        "import sys, rackioc.cli; assert not {'epicscorelibs', 'caproto', 'matplotlib', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_the_command_is_the_package_run_as_a_module() -> None:
    command = [sys.executable, "-P", "-m", "rackioc", "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "rackioc sim demo" in done.stdout


@pytest.mark.parametrize("loading", ["typer", "sqlalchemy", "rackioc.cli.simulation"])
def test_ctrl_c_while_the_command_is_loaded_ends_it_without_a_traceback(loading: str) -> None:
    code = f"""
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == {loading!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from importlib.metadata import entry_points
[script] = entry_points(group="console_scripts", name="rackioc")
script.load()()
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_its_licence_and_what_it_runs_on_are_told_to_package_managers() -> None:
    told = metadata("rackioc")
    assert told["License-Expression"] == "BSD-3-Clause"
    assert told.get_all("License-File") == ["LICENSE"]
    assert "Typing :: Typed" in told.get_all("Classifier", [])


@pytest.mark.parametrize("package", ["archiver", "db", "drivers", "ioc", "rackioc", "sim"])
def test_its_types_can_be_used_by_others(package: str) -> None:
    assert files(package).joinpath("py.typed").is_file()


def test_pre_commit_runs_the_checks_that_the_tests_run() -> None:
    root = Path(rackioc.__file__).parents[1]
    hooks = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    commands = {hook["entry"].replace(" --force-exclude", "") for hook in hooks}
    asked = (root / "script" / "test").read_text(encoding="utf-8")
    assert {
        command.removesuffix(" .") for command in asked.splitlines() if "ruff" in command or "mypy" in command
    } <= commands


def test_each_package_that_it_uses_is_in_the_page_of_licences() -> None:
    root = Path(rackioc.__file__).parents[1]
    page = (root / "docs" / "reference" / "licences.md").read_text(encoding="utf-8").lower()
    needed = [each for each in metadata("rackioc").get_all("Requires-Dist", []) if "extra" not in each]
    exported = [
        each for each in metadata("rackioc").get_all("Requires-Dist", []) if re.search("extra == .export", each)
    ]
    assert len(exported) == 2
    names = [re.split(r"[^\w-]", each)[0].lower() for each in needed + exported]
    assert [name for name in names if name not in page] == []
