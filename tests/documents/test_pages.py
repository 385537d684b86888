"""Pages as a reader meets them: a README that can be read at once, links that lead to their headings everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT, pages


def headings(page: Path) -> list[str]:
    """Return the headings of a page, without the signs of Markdown; what stands in a block is none."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"))
    return [re.sub(r"[`*]|\]\([^)]*\)|\[", "", found).strip() for found in re.findall(r"(?m)^#+ (.*)$", text)]


def of_github(heading: str) -> str:
    """Return the anchor that GitHub gives a heading: what is neither letter, digit, hyphen nor blank is left out."""
    kept = [sign for sign in heading.lower() if sign.isalnum() or sign in "_- "]
    return "".join(kept).replace(" ", "-")


def test_the_readme_is_short_and_says_what_a_stranger_asks() -> None:
    readme = ROOT / "README.md"
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 120
    asked = ["Two commands", "First minutes", "What it can do", "What is not tested on hardware", "Where to read on"]
    assert [each for each in headings(readme) if each in asked] == asked


@pytest.mark.parametrize("page", pages())
def test_a_link_leads_to_its_heading_on_github_too(page: str) -> None:
    here = ROOT / page
    text = here.read_text(encoding="utf-8")
    astray = []
    for path, name in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)#([^)\s]+)\)", text):
        there = here.parent / path if path else here
        if name not in map(of_github, headings(there)):
            astray.append(f"{path}#{name}")
    assert astray == []


@pytest.mark.parametrize("page", pages())
def test_a_heading_has_the_same_anchor_in_the_site_and_on_github(page: str) -> None:
    hooks = pytest.importorskip("docs.hooks", reason="mkdocs is not installed")
    found = headings(ROOT / page)
    assert [hooks.anchor(each, "-") for each in found] == [of_github(each) for each in found]
