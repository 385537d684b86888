"""Files that a page of the documents shows, for the tests that use them as they are there."""

from __future__ import annotations

import re
from pathlib import Path

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


def block(page: str, name: str) -> str:
    """Return the block of a page below the paragraph that begins with the name of a file."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^`{re.escape(name)}`:.*?^```\w+\n(.*?)^```$", text)
    assert found is not None, f"{page} shows no {name}"
    return found[1]
