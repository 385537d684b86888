"""Files that the documents name: each is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT, pages

FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()}
# What a user runs
PROGRAM = ("archiver", "drivers", "exports", "ioc", "rackioc", "sim", "web")
# The tutorial's own files, and a file whose name is cut
TO_BE_WRITTEN = {"drivers/gauge.py", "sim/gauge.py", "tests/drivers/test_gauge.py", "db/sqlite/0001_...sql"}


def named(text: str) -> set[str]:
    """Return what is set as code in a text and looks like a file of the repository."""
    words = re.findall(r"`([\w./-]+\.\w+)`", text)
    return {word for word in words if "/" in word and word.partition("/")[0] in FOLDERS} - TO_BE_WRITTEN


@pytest.mark.parametrize("page", pages())
def test_each_file_that_a_page_names_is_there(page: str) -> None:
    paths = named((ROOT / page).read_text(encoding="utf-8"))
    assert [path for path in sorted(paths) if not Path(ROOT, path).exists()] == []


def test_the_architecture_names_each_file_of_the_program_and_no_other() -> None:
    page = (ROOT / "docs/explanations/architecture.md").read_text(encoding="utf-8")
    section = page.partition("file by file:\n")[2].partition("\nWho may import whom")[0]
    rows = {Path(folder): words for folder, words in re.findall(r"(?m)^\| `([\w/]+)/` \| (.+) \|$", section)}
    there: dict[Path, set[str]] = {folder: set() for folder in rows}
    for file in (each for room in PROGRAM for kind in ("py", "js") for each in (ROOT / room).rglob(f"*.{kind}")):
        path = file.relative_to(ROOT)
        if not file.name.startswith("__") and str(path) not in TO_BE_WRITTEN:
            folder = next(each for each in path.parents if each in rows)
            there[folder].add(file.stem)
    named = {folder: _files_in(words) for folder, words in rows.items()}
    assert {str(each): sorted(there[each] - named[each]) for each in rows if there[each] - named[each]} == {}
    assert {str(each): sorted(named[each] - there[each]) for each in rows if named[each] - there[each]} == {}


def _files_in(words: str) -> set[str]:
    """Return the files that a row of the table names: ``driver``, ``base.py``, ``caen/crate``, and no folder."""
    return {name for name in re.findall(r"`(?:<?\w+>?/)?(\w+)(?:\.py)?`", words) if name}
