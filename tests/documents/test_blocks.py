"""Every document is true: each of its commands and code blocks is run, and what it shows is compared.

A block that is not run says why above it. pytest ends with how many blocks ran, and which were left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.documents.blocks import LANGUAGES, ROOT, pages, run
from tests.documents.conftest import ADDING, YOUR_RACK, Administrator
from tests.documents.shell import Shell

# Page -> the fixture with what it presupposes; all others have a folder of their own
PLACES = {
    "README.md": "demo",
    "docs/tutorials/first-minutes.md": "demo",
    "docs/reference/archive.md": "demo",
    YOUR_RACK: "rack",
    "docs/how-to/replace-an-ioc.md": "rack",
    "docs/how-to/retention.md": "rack",
    "docs/how-to/backup.md": "rack",
    "docs/how-to/moving-to-a-server.md": "moving",
    "docs/how-to/several-racks.md": "several",
    "docs/how-to/files.md": "without_a_crate",
    "docs/how-to/web-with-tls.md": "behind_nginx",
    ADDING: "checkout",
}

# Pages that take longer than some seconds
SLOW = {
    "docs/tutorials/first-minutes.md",
    ADDING,
    "docs/reference/archive.md",
    *(f"docs/how-to/{name}.md" for name in ("backup", "loggers", "moving-to-a-server", "retention", "several-racks")),
    "docs/how-to/web-with-tls.md",
}


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in pages()]
)
@pytest.mark.timeout(600)
def test_the_blocks_of_a_page_do_what_it_shows(
    page: str, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    shell: Shell = request.getfixturevalue(PLACES.get(page, "place"))
    if "```sql" in (ROOT / page).read_text(encoding="utf-8"):
        administrator: Administrator = request.getfixturevalue("administrator")
        shell.called, shell.sql = {**administrator.called(), **shell.called}, administrator.execute
    result = run(page, shell)
    record_property("blocks", (result.ran, result.left_out))


@pytest.mark.parametrize("page", pages())
def test_each_block_is_in_a_language_that_is_run_or_is_a_text(page: str) -> None:
    fences = re.findall(r"(?ms)^ *```(\w*)\n(.*?)^ *```$", (ROOT / page).read_text(encoding="utf-8"))
    assert {language for language, _ in fences} <= {*LANGUAGES, "text"}
    assert not [text for language, text in fences if language == "text" and re.search(r"(?m)^ *[$>#] ", text)]


def test_the_pages_with_a_place_are_there() -> None:
    assert PLACES.keys() | SLOW <= set(pages())
