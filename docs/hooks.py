"""What mkdocs calls when it builds the site: pages that lie outside docs/, and links to them.

In the repository a link leads from file to file, wherever they are. The site has the pages of docs/ at its top, and a
few others beside them. A heading has the same anchor in both.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# File of the repository outside docs/ -> where it is in the site
OUTSIDE = {
    "README.md": "overview.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "LICENSE": "LICENSE.txt",
    "bench/README.md": "bench/README.md",
    "deploy/README.md": "deploy/README.md",
}
# A link in Markdown with a path, and perhaps an anchor
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def anchor(heading: str, separator: str) -> str:
    """Return the anchor of a heading as GitHub makes it; mkdocs' own makes one hyphen of several."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", separator)


def on_config(config: MkDocsConfig) -> None:
    """Let headings have the anchors that they have on GitHub."""
    config.mdx_configs["toc"]["slugify"] = anchor


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files from outside docs/."""
    for path, place in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page with its links as the site has the files."""
    here = page.file.src_uri
    inside = {place: path for path, place in OUTSIDE.items()}
    source = inside.get(here, f"docs/{here}")

    def place(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        shown = OUTSIDE.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(shown, posixpath.dirname(here) or '.')}{found[2] or ''})"

    return LINK.sub(place, markdown)
