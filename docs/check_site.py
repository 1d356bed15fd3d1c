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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
UNITS = r"(?i)\bseconds?\b|\bpart of\b"
MAKERS = {"explained", "wrong_type"}  # functions that give an error, which the next line may raise
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
    """Each public class and function, and the public methods and properties of each class, inherited ones included."""
    for suffix in MODULES:
        module = import_module(f"anyio_acs_credential{suffix}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                yield from ((f"{module.__name__}.{name}.{member}", found) for member, found in _members(value))


def _ours(owner: type) -> list[type]:
    """A class and its bases, less those of other packages."""
    return [base for base in owner.__mro__ if base.__module__.startswith("anyio_acs_credential")]


def _members(owner: type) -> Iterator[tuple[str, object]]:
    found: dict[str, object] = {}
    for base in reversed(_ours(owner)):
        found |= vars(base)
    for name, value in found.items():
        plain = getattr(value, "__func__", value)  # of a class method, too
        if (not name.startswith("_") or name == "__call__") and (
            inspect.isfunction(plain) or isinstance(plain, property)
        ):
            yield name, plain


def faults_of_docstrings() -> Iterator[str]:
    """What public names do not say."""
    for name, value in public():
        yield from (f"{name} {fault}" for fault in faults_of(value))


def faults_of(value: object) -> Iterator[str]:
    """What one docstring does not say of arguments, errors, units and waiting."""
    text = inspect.getdoc(value) or ""
    if not text:
        yield "has no docstring"
    if missing := _without_unit(value, _whole_text(value)):
        yield f"does not say in which unit {', '.join(missing)} is: seconds, Unix seconds, or a part of what"
    if not inspect.isfunction(value):
        return
    if missing := [each for each in _arguments(value) if _words_on(each, text) is None]:
        yield f"does not say what {', '.join(missing)} is"
    if raised := sorted(each for each in _raises(value) if f"{each}:" not in text):
        yield f"raises {', '.join(raised)} and does not say when"
    if inspect.iscoroutinefunction(value) and not _says_how_it_waits(text):
        yield "does not say that it waits and what cancelling does, or that it never waits"


def _whole_text(value: object) -> str:
    """A docstring; a class's with those of its bases below it."""
    return "\n".join(inspect.getdoc(each) or "" for each in (_ours(value) if inspect.isclass(value) else [value]))


def _arguments(function: Callable[..., object]) -> list[str]:
    return [each for each in inspect.signature(function).parameters if each not in {"self", "cls"}]


def _words_on(name: str, text: str) -> str | None:
    """What a docstring says of one argument or attribute: its entry, with the lines below that are further in."""
    entry = re.search(rf"^( *)\**{name}:(.*(?:\n\1 +\S.*)*)", text, re.MULTILINE)
    return None if entry is None else entry[2]


def _without_unit(value: object, text: str) -> list[str]:
    """The arguments and attributes that are floats, and the result that is one, of which no unit is told."""
    if isinstance(value, property):
        return ["it"] if _is_float(value.fget.__annotations__.get("return")) and not re.search(UNITS, text) else []
    if inspect.isfunction(value):
        annotations = dict(value.__annotations__)
        returned = annotations.pop("return", None)
        lacking = ["the result"] if _is_float(returned) and not re.search(UNITS, text) else []
    else:
        annotations, lacking = _annotations_of(value), []
    floats = [name for name, annotation in annotations.items() if _is_float(annotation)]
    return lacking + [name for name in floats if not re.search(UNITS, _words_on(name, text) or "")]


def _annotations_of(owner: Any) -> dict[str, object]:
    """Those of a class's public attributes, and of the arguments that it is made with."""
    found = {name: each for base in reversed(_ours(owner)) for name, each in inspect.get_annotations(base).items()}
    maker = getattr(owner.__init__, "__annotations__", {})
    return {name: each for name, each in {**found, **maker}.items() if not name.startswith("_") and name != "return"}


def _is_float(annotation: object) -> bool:
    """Whether an annotation, which is text, admits a float by itself; in a mapping or a callable it is another's."""
    return "float" in [each.strip() for each in re.sub(r"\[.*\]", "", str(annotation)).split("|")]


def _says_how_it_waits(text: str) -> bool:
    waits, ends = re.search(r"\bwait", text, re.IGNORECASE), re.search(r"cancel", text, re.IGNORECASE)
    return bool((waits and ends) or re.search(r"never waits", text))


def _raises(function: object) -> set[str]:
    """The names of the errors that a function's own body makes and raises."""
    tree = ast.parse(dedent(inspect.getsource(function)))  # type: ignore[arg-type]  # a function, as inspect says
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    kept = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) in MAKERS]
    return set(map(_error_of, [*raised, *kept])) - {""}


def _called(node: ast.expr) -> str:
    """The plain name of what is called, if it has one."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _error_of(call: ast.expr) -> str:
    """The error that `SomeError(...)`, `explained("anchor", SomeError(...))` or `wrong_type(...)` gives."""
    name = _called(call)
    if name == "explained":
        return _error_of(call.args[1])  # type: ignore[attr-defined]  # it is a call, having a name
    return "TypeError" if name == "wrong_type" else name if name[:1].isupper() else ""


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
