"""Decision records: each has a date and a status, and is in the list; what supersedes one is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "explanations" / "decisions"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name[:4])
def test_a_decision_has_title_date_and_status(path: Path) -> None:
    title, _, status, *_ = path.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert re.match(r"Date: 20\d\d-\d\d-\d\d\. Status: (accepted|superseded by \[\d{4}\])", status)
    for number, name in re.findall(r"\[(\d{4})\]\(([^)]+)\)", status):
        assert name.startswith(number)
        assert (FOLDER / name).is_file()


def test_each_decision_is_in_the_list_once() -> None:
    listed = re.findall(r"(?m)^- \[(\d{4})\]\(([^)]+)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert [name for _, name in listed] == [path.name for path in DECISIONS]
    assert all(name.startswith(number) for number, name in listed)
