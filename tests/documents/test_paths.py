"""Files that the documents name: each is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT, pages

FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()}
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
