"""Files of the working directory named like modules: neither rackioc nor the archiver that it starts runs them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.small_ioc import until
from tests.system.conftest import GENERATOR, MODULE, SCRIPT, Racks

ARCHIVE = {"database": "sqlite:///rack.sqlite", "pvs": ["PREFIX:*"]}
ROOT = Path(__file__).parents[2]
ROOMS = ("archiver", "db", "drivers", "ioc", "rackioc", "sim")
PACKAGES = ("archiver", "drivers", "rackioc")
MODULES = ("logging", "yaml")

pytestmark = pytest.mark.usefixtures("one_at_a_time")


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["console script", "module"])
@pytest.mark.parametrize("command", ["run", "sim run"])
def test_no_file_of_the_working_directory_takes_the_place_of_a_module(
    racks: Racks, command: str, program: Sequence[str]
) -> None:
    folder, prefix = racks.prepare({"GEN": GENERATOR}, archive=ARCHIVE)
    marker = folder / "imported"
    set_traps(folder, marker)
    ioc = racks.launch(folder, prefix, command, program)
    until(lambda: marker.exists() or ioc.archived("IOC:HEARTBEAT"), 15)
    assert not marker.exists(), f"{marker.read_text()} was imported\n{ioc.logged()}"


def test_the_archiver_runs_the_code_of_the_ioc_that_starts_it(racks: Racks) -> None:
    """A checkout that is not installed, run from its folder, beside the rackioc that is installed."""
    folder, prefix = racks.prepare({"GEN": GENERATOR}, archive=ARCHIVE)
    for package in ROOMS:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    service = folder / "archiver" / "service.py"
    service.write_text(service.read_text() + '\nlog.warning("the archiver of the checkout")\n')
    ioc = racks.launch(folder, prefix, "sim run", (sys.executable, "-m", "rackioc"))
    until(lambda: ioc.archived("IOC:HEARTBEAT"), 15)
    assert "the archiver of the checkout" in ioc.logged()


def set_traps(folder: Path, marker: Path) -> None:
    """Modules that leave a mark and fail, wherever they are imported."""
    trap = f"open({str(marker)!r}, 'a').write(__name__)\nraise ImportError('a file of the working directory')\n"
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(trap)
    for name in MODULES:
        (folder / f"{name}.py").write_text(trap)
