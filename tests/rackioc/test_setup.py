"""``script/setup`` where it cannot do its work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture
def checkout() -> Iterator[Path]:
    """Copy what is needed of a checkout to where all users may read it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder)
        path.chmod(0o755)
        shutil.copytree(ROOT / "script", path / "script")
        shutil.copy(ROOT / "pyproject.toml", path)
        yield path
        path.chmod(0o755)


@pytest.mark.parametrize("place", [".", ".venv"])
def test_a_checkout_that_one_may_not_write_to_is_told_as_that(checkout: Path, place: str) -> None:
    (checkout / place).mkdir(exist_ok=True)
    (checkout / place).chmod(0o555)
    if (is_root := os.getuid() == 0) and place == ".venv":
        os.chown(checkout, NOBODY, NOBODY)
    command = [str(checkout / "script/setup")]
    done = subprocess.run(command, user=NOBODY if is_root else None, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"may not write to {checkout}: make a checkout of your own" in done.stderr
    assert "venv module" not in done.stderr


def test_what_cannot_be_fetched_is_told_as_that_and_the_next_start_tries_again(checkout: Path) -> None:
    alone = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    done = subprocess.run([str(checkout / "script/setup")], env=alone, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "It fetches packages from the network" in done.stderr.splitlines()[-1]
    assert not (checkout / ".venv/installed").exists()


@pytest.mark.parametrize("project", ["this one", "another one"])
def test_what_a_rack_may_run_from_stays_where_only_extras_are_added(checkout: Path, project: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    sums = {"another one": "1 2 pyproject.toml"}
    sums["this one"] = subprocess.check_output(["cksum", "pyproject.toml"], cwd=checkout, text=True).strip()
    (checkout / ".venv/installed").write_text(f"{sums[project]} ")
    (in_use := checkout / ".venv/in_use").touch()
    alone = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    done = subprocess.run([str(checkout / "script/setup")], env=alone, check=False, capture_output=True, text=True)
    assert (done.returncode, in_use.exists()) == (1, project == "this one"), done.stderr
