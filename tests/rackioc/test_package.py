"""What ``import rackioc`` gives a notebook."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

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


def test_the_command_is_the_package_run_as_a_module() -> None:
    command = [sys.executable, "-P", "-m", "rackioc", "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "rackioc sim demo" in done.stdout
