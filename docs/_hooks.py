"""What the site does to its pages: README's sections where a page asks for one, and no links out of the site's folder.

A page has `<!-- README: Many users -->` where the section of that heading is to be. Links to files that are not on the
site become the name of the file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
SECTION = re.compile(r"^<!-- README: (.+) -->$", re.MULTILINE)
LINK = re.compile(r'(?<!!)\[([^\]]+)\]\((?!https?:)([^)\s"]*)(?: "[^"]*")?\)')


def section(heading: str) -> str:
    """The text below a heading of the README."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no section {heading!r}")
    # Its links lead to other sections, which are other pages here.
    return LINK.sub(lambda link: _name(link[1], link[2]), found[1]).strip()


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs's own
    """Called by mkdocs with each page."""
    text = SECTION.sub(lambda found: section(found[1]), markdown)
    here = posixpath.dirname(page.file.src_uri)

    def kept(link: re.Match[str]) -> str:
        target, _, _ = link[2].partition("#")
        outside = posixpath.normpath(posixpath.join(here, target)).startswith("..")
        return _name(link[1], link[2]) if outside else link[0]

    return LINK.sub(kept, text)


def _name(text: str, target: str) -> str:
    """What stands in place of a link."""
    return text if target.startswith("#") or text.startswith("`") else f"`{text}`" if "." in text else text
