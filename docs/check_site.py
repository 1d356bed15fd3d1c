"""Check the site that was built: nothing comes from another host or is eaten, and each public name has its words."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
MODULES = (
    "",
    ".azure",
    ".emulator",
    ".entra",
    ".fleet",
    ".httpx2",
    ".otel",
    ".testing",
    ".typing",
)
SOURCES = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
# The elements of HTML and SVG that Markdown, the theme and our pictures write.
TAGS = """
a abbr article aside b blockquote body br button circle clippath code dd defs del desc details dialog div dl
dt em figcaption figure footer form g h1 h2 h3 h4 h5 h6 head header hr html i iframe img input kbd label li
line lineargradient link main mark meta nav noscript object ol p path polygon polyline pre rect script section
small source span stop strong style sub summary sup svg table tbody td text textpath tfoot th thead title tr
tt ul use
""".split()  # noqa: SIM905 - a hundred quotation marks would hide the words
HARMLESS = {"canonical", "next", "prev"}  # links that a browser does not load


class Page(HTMLParser):
    """Finds what a page would load from elsewhere, and pictures without a text."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        values = dict(attrs)
        source = values.get(SOURCES.get(tag, "")) or ""
        if re.match(r"(https?:)?//", source) and values.get("rel") not in HARMLESS:
            self.faults.append(f"loads {source}")
        if tag not in TAGS:
            self.faults.append(f"holds <{tag}>, which a browser does not show: put it into backticks")
        if tag == "img" and not values.get("alt"):
            self.faults.append(f"shows {source} without a text (alt)")


def faults_of_pages() -> Iterator[str]:
    """What is wrong with the pages."""
    for path in sorted(SITE.rglob("*.html")):
        page = Page()
        page.feed(path.read_text("utf-8"))
        yield from (f"{path.relative_to(SITE)} {fault}" for fault in page.faults)
    for path in sorted(SITE.rglob("*.css")):
        for found in re.findall(r"url\(['\"]?(https?:[^)]*)\)|@import[^;]*https?:[^;]*", path.read_text("utf-8")):
            yield f"{path.relative_to(SITE)} loads {found}"


def public() -> Iterator[tuple[str, object]]:
    """Each public class and function, and the public methods of each class."""
    for suffix in MODULES:
        module = import_module(f"anyio_acs_credential{suffix}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for method, found in vars(value).items():
                    if inspect.isfunction(found) and not method.startswith("_"):
                        yield f"{module.__name__}.{name}.{method}", found


def faults_of_docstrings() -> Iterator[str]:
    """Public names that say too little: no text, arguments without a word, errors that are raised and not named."""
    for name, value in public():
        text = inspect.getdoc(value) or ""
        if not text:
            yield f"{name} has no docstring"
        if not inspect.isfunction(value):
            continue
        arguments = [each for each in inspect.signature(value).parameters if each not in {"self", "cls"}]
        if missing := [each for each in arguments if not re.search(rf"^ +\**{each}:", text, re.MULTILINE)]:
            yield f"{name} does not say what {', '.join(missing)} is"
        if raised := [each for each in _raises(value) if f"{each}:" not in text]:
            yield f"{name} raises {', '.join(raised)} and does not say when"


def _raises(function: object) -> set[str]:
    """The names of the errors that a function's own body raises."""
    tree = ast.parse(dedent(inspect.getsource(function)))  # type: ignore[arg-type]  # a function, as inspect says
    return {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
        if node.exc.func.id[0].isupper()
    }


def main() -> int:
    """Print what is wrong."""
    if not (SITE / "index.html").exists():
        print("there is no site: run `mkdocs build` first")
        return 1
    faults = [*faults_of_pages(), *faults_of_docstrings()]
    print("\n".join(faults) or "the site is as it should be")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
