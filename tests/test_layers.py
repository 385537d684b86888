"""The architecture as a test: who may import whom, and how much a folder holds."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Every folder at the top that has Python files
ROOMS = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[a-z]*/**/*.py")}

# What the stores of all dialects share
BESIDE_A_DIALECT = {
    f"archiver.storage.{name}"
    for name in (
        *(
            "binning",
            "columns",
            "metadata",
            "migrations",
            "owner",
            "series",
            "store",
            "summarizer",
            "summary",
        ),
        *("transfer", "upkeep", "url"),
    )
}

# Room, or folder of a room -> all that it may import of the project besides itself
ALLOWED: dict[str, set[str]] = {
    "archiver": {"db"},
    "archiver/ca": {"archiver.sample"},
    "archiver/history": {
        "archiver.blocks",
        "archiver.sample",
        "archiver.storage",
        "archiver.times",
        "archiver.units",
    },
    "archiver/keeping": {"archiver.history", "archiver.sample", "archiver.storage", "archiver.times"},
    "archiver/loggers": {
        *("archiver.ca.listener", "archiver.sample", "archiver.settings", "archiver.storage", "archiver.units"),
    },
    "archiver/recording": {
        *("archiver.ca.listener", "archiver.health", "archiver.sample", "archiver.settings", "archiver.storage"),
        "archiver.units",
    },
    "archiver/storage": {"archiver.blocks", "archiver.sample", "archiver.times", "db"},
    "archiver/storage/mysql": {"archiver.blocks", "archiver.sample", "archiver.times", *BESIDE_A_DIALECT},
    "archiver/storage/sqlite": {"archiver.blocks", "archiver.sample", "archiver.times", *BESIDE_A_DIALECT},
    "bench": {"archiver", "drivers", "ioc", "sim"},
    "conformance": {"bench.rig", "drivers", "ioc"},
    "db": set(),
    "docs": set(),
    "drivers": set(),
    "exports": {"drivers.base"},
    "ioc": {"drivers.base"},
    "ioc/ca": {"drivers.base", "ioc"},
    "ioc/port": {"drivers.base"},
    "rackioc": {"archiver", "drivers", "exports", "ioc", "sim", "web"},
    "sim": set(),
    "tests": {"archiver", "bench.rig", "docs", "drivers", "exports", "ioc", "rackioc", "sim", "web"},
    "web": {
        *("archiver.blocks", "archiver.ca", "archiver.history", "archiver.sample", "archiver.storage"),
        *("archiver.times", "archiver.units"),
    },
}
# File that runs in the IOC's process -> all that it may import of the archiver, which loads libca and databases
BORDER = {
    "rackioc/archive_status.py": "archiver.health",
    "rackioc/config/archive.py": "archiver.settings",
    "rackioc/config/config.py": "archiver.settings",
}
# ... and of the web server, which loads a web framework
SETTINGS_ALONE = ("rackioc/config/config.py", "rackioc/config/load.py")
# Folders whose files may not be imported by the files that lie beside them
ABOVE = ("ioc/ca", "rackioc/cli")
MOST_FILES = 15


@cache
def files() -> tuple[str, ...]:
    """Return all Python files of the rooms."""
    return tuple(sorted(str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")))


def product() -> list[str]:
    """Return the files that a user runs; the others bring clients and servers of their own."""
    return [file for file in files() if not file.startswith(("bench/", "conformance/", "docs/", "tests/"))]


@cache
def imports(file: str) -> frozenset[str]:
    """Return the full names of all that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def top(names: frozenset[str] | set[str]) -> set[str]:
    """Return the packages to which names belong."""
    return {name.split(".")[0] for name in names}


def below(name: str, parents: set[str]) -> bool:
    """Return True if a name is one of the others, or in one of them."""
    return any(name == each or name.startswith(f"{each}.") for each in parents)


def module(file: str) -> str:
    """Return the name under which a file is imported."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("file", files())
def test_a_file_imports_only_what_is_below_its_room(file: str) -> None:
    nearest = next(str(each) for each in Path(file).parents if str(each) in ALLOWED)
    own = {nearest.replace("/", ".")}
    ours = {name for name in imports(file) if top({name}) <= ROOMS}
    assert {name for name in ours if not below(name, own | ALLOWED[nearest])} == set()


@pytest.mark.parametrize("folder", ABOVE)
def test_what_stands_above_its_neighbours_is_not_imported_by_them(folder: str) -> None:
    neighbours = [file for file in files() if Path(file).parent == Path(folder).parent]
    above = {folder.replace("/", ".")}
    assert [file for file in neighbours if any(below(name, above) for name in imports(file))] in (
        [],
        ["rackioc/__main__.py"],
    )


@pytest.mark.parametrize("file", BORDER)
def test_the_ioc_knows_of_the_archiver_what_it_is_told_and_what_it_reports(file: str) -> None:
    modules = {".".join(name.split(".")[:2]) for name in imports(file) if name.startswith("archiver.")}
    assert modules == {BORDER[file]}


@pytest.mark.parametrize("file", SETTINGS_ALONE)
def test_the_ioc_knows_of_the_web_server_its_settings_alone(file: str) -> None:
    assert {name.rsplit(".", 1)[0] for name in imports(file) if name.startswith("web.")} == {"web.settings"}
    assert top(imports("web/settings.py")) <= sys.stdlib_module_names


def test_caproto_is_imported_by_the_server_alone() -> None:
    users = {file for file in product() if "caproto" in top(imports(file))}
    assert users == {"ioc/ca/server.py"}


def test_libca_is_imported_by_one_file_alone() -> None:
    libca = {"aioca", "epicscorelibs", "epics"}
    definitions = {"epicscorelibs.path"}  # base's record types are files beside the library
    users = {file for file in product() if libca & top(imports(file) - definitions)}
    assert users == {"archiver/ca/libca.py"}
    assert imports("ioc/dbd.py") & definitions


@pytest.mark.parametrize("file", [file for file in files() if file.startswith("drivers/")])
def test_a_driver_imports_no_other_driver(file: str) -> None:
    own = ".".join(Path(file).parts[:2]).removesuffix(".py")
    others = {name for name in imports(file) if name.startswith("drivers.")}
    assert all(below(name, {"drivers.base", own}) for name in others)


def test_the_contract_needs_the_standard_library_alone() -> None:
    assert top(imports("drivers/base.py")) <= sys.stdlib_module_names


def test_no_folder_has_more_files_than_one_can_look_over() -> None:
    counts = Counter(str(Path(file).parent) for file in files())
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_no_import_leads_back_to_where_it_came_from() -> None:
    modules = {module(file): file for file in files()}
    graph = {name: _nearest(file, modules) - {name} for name, file in modules.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(after for after, _ in pairwise([*error.args[1], ""])))


def _nearest(file: str, modules: dict[str, str]) -> set[str]:
    """Return the modules, not the packages around them, that a file imports."""
    parents = (accumulate(name.split("."), "{}.{}".format) for name in imports(file))
    found = ([each for each in names if each in modules] for names in parents)
    return {names[-1] for names in found if names}
