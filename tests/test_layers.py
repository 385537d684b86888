"""The architecture as a test: who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"archiver", "bench", "conformance", "db", "drivers", "ioc", "rackioc", "sim"}

# room, folder or file -> the rooms that it may import besides itself
ALLOWED: dict[str, set[str]] = {
    "archiver": {"db"},
    "bench": {"archiver", "drivers", "ioc", "sim"},
    "conformance": {"bench", "drivers", "ioc"},
    "db": set(),
    "drivers": set(),
    "ioc": {"drivers"},
    "rackioc": {"archiver", "drivers", "ioc", "sim"},  # the one room that puts the others together
    "sim": set(),
}
# what runs in the IOC's process -> all that it may import of the archiver, which loads libca and databases elsewhere
BORDER = {"rackioc/archive_status.py": "archiver.health", "rackioc/config/config.py": "archiver.settings"}


def files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def product() -> list[str]:
    """The files that a user runs; the benches and the comparison with base bring clients and servers of their own."""
    return [file for file in files() if not file.startswith(("bench/", "conformance/"))]


def imports(file: str) -> set[str]:
    """Full names of all that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("file", files())
def test_a_room_imports_only_the_rooms_below_it(file: str) -> None:
    room = file.split("/", maxsplit=1)[0]
    nearest = next(str(each) for each in (Path(file), *Path(file).parents) if str(each) in ALLOWED)
    assert top(imports(file)) & ROOMS - {room} <= ALLOWED[nearest]


@pytest.mark.parametrize("file", BORDER)
def test_the_ioc_knows_of_the_archiver_what_it_is_told_and_what_it_tells(file: str) -> None:
    modules = {".".join(name.split(".")[:2]) for name in imports(file) if name.startswith("archiver.")}
    assert modules == {BORDER[file]}


def test_caproto_is_imported_by_the_filters_and_the_server_alone() -> None:
    assert {file for file in product() if "caproto" in top(imports(file))} == {
        "ioc/ca/filters.py",
        "ioc/ca/server.py",
    }


def test_libca_is_imported_by_one_file_alone() -> None:
    libca = {"aioca", "epicscorelibs", "epics"}
    definitions = {"epicscorelibs", "epicscorelibs.path"}  # base's record types are files beside the library
    users = {file for file in product() if libca & top(imports(file) - definitions)}
    assert users == {"archiver/ca/libca.py"}
    assert imports("ioc/dbd.py") & definitions


@pytest.mark.parametrize("file", [file for file in files() if file.startswith("drivers/")])
def test_a_driver_imports_no_other_driver(file: str) -> None:
    own = ".".join(Path(file).parts[:2]).removesuffix(".py")
    others = {name for name in imports(file) if name.startswith("drivers.")}
    assert all(name.startswith(("drivers.base", own)) for name in others)


def test_the_contract_needs_the_standard_library_alone() -> None:
    import sys

    assert top(imports("drivers/base.py")) <= sys.stdlib_module_names
