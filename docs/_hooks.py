"""What the site does to its pages: links that leave its folder lead to the code, and no page asks another host.

A link such as `[bot.py](../../examples/bot.py)` works in a clone and on GitHub as it is. On the site, whose folder ends
at `docs/`, it leads to the same file in the repository.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

LINK = re.compile(r'(?<!!)(\[[^\]]+\])\((?!https?:|#)([^)\s"]+)((?: "[^"]*")?)\)')
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs's own
    """Called by mkdocs with each page."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # it would name the page alone
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def led(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        inside = target.startswith("docs/") and target.partition("#")[0].endswith((".md", ".svg"))
        return link[0] if inside else f"{link[1]}({config.repo_url}/blob/main/{target}{link[3]})"

    parts = FENCED.split(markdown)
    parts[::2] = [LINK.sub(led, text) for text in parts[::2]]
    return "".join(parts)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001 - mkdocs's own
    """Called by mkdocs with the HTML of each page: the theme's script would ask GitHub for the number of its stars."""
    return output.replace('data-md-component="source"', "")
