"""The pages in docs/: code runs and prints what they show, quotations are exact, links lead somewhere."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, NamedTuple

import anyio
import pytest
import trio
from documents import Block, blocks, run, stand_ins
from promises import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {str(path.relative_to(DOCS)): path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))}
OF_THEIR_OWN = {"errors.md", "promises.md"}  # have tests of their own


class Shown(NamedTuple):
    """A block of Python on a page, and the text that is shown below it."""

    page: str
    block: Block
    output: str

    def __str__(self) -> str:
        return f"{self.page}, line {self.block.line}"

    @property
    def quoted(self) -> str | None:
        """The file that the paragraph before says it is from."""
        path = r"(?:examples|anyio_acs_credential)/[\w/.]+"
        found = re.search(rf"(?i:\bfrom)\s`({path})`[^`]*:$", self.block.paragraph)
        return found[1] if found else None

    @property
    def is_program(self) -> bool:
        return bool(re.search(r"^(anyio|trio)\.run\(", self.block.code, re.MULTILINE))

    @property
    def is_test(self) -> bool:
        return "def test_" in self.block.code


def shown() -> Iterator[Shown]:
    for page, text in PAGES.items():
        if page not in OF_THEIR_OWN:
            for block in blocks(text, "python"):
                after = text.partition(f"```python\n{block.code}```\n")[2]
                output = re.match(r"(?:(?!```|#)[^\n]*\n)*?```text\n(.*?)^```$", after, re.DOTALL | re.MULTILINE)
                yield Shown(page, block, output[1] if output else "")


SHOWN = list(shown())
QUOTED = [each for each in SHOWN if each.quoted or "as `examples/" in each.block.paragraph]
PROGRAMS = [each for each in SHOWN if each.is_program and each.page != "index.md"]
TESTS = [each for each in SHOWN if each.is_test]
SNIPPETS = [each for each in SHOWN if each not in QUOTED and not each.is_program and not each.is_test]


@pytest.fixture
def quiet() -> Iterator[None]:
    """What a page does to logging ends with its test."""
    root, ours = logging.getLogger(), logging.getLogger("anyio_acs_credential")
    before = list(root.handlers), list(ours.handlers)
    yield
    logging.disable(logging.NOTSET)
    root.handlers[:], ours.handlers[:] = before


def test_every_kind_is_there() -> None:
    assert QUOTED
    assert PROGRAMS
    assert SNIPPETS
    assert TESTS


@pytest.mark.parametrize("each", QUOTED, ids=str)
def test_quotations(each: Shown) -> None:
    """A whole piece of the file, to the letter."""
    name = each.quoted or re.findall(r"as `(examples/\w+\.py)`", each.block.paragraph)[-1]
    text = (ROOT / name).read_text("utf-8")
    if name.endswith(".ipynb"):
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert f"\n{each.block.code}" in text


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("each", PROGRAMS, ids=str)
def test_programs(
    each: Shown, backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is written, on either event loop; it prints what the page shows, where "…" is what differs each time."""
    code = each.block.code
    if "trio.run(" in code and "anyio.run(" not in code and backend == "asyncio":
        pytest.skip("it is trio's own")
    logging.getLogger().handlers.clear()  # pytest's own, with which basicConfig() does nothing
    start = anyio.run if backend == "asyncio" else trio.run
    monkeypatch.setattr(anyio, "run", lambda main, *args, **_: start(main, *args))
    exec(compile("\n" * each.block.line + code, each.page, "exec"), {"__name__": "__main__"})  # noqa: S102 - ours
    printed = capsys.readouterr()
    written = [line for line in each.output.splitlines() if not line.startswith("log: ")]
    logged = [line for line in each.output.splitlines() if line.startswith("log: ")]
    for expected, found in ((written, printed.out), (logged, printed.err)):
        pattern = "".join(re.escape(line).replace("…", ".*") + "\n" for line in expected)
        assert re.fullmatch(pattern, found), found


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("each", SNIPPETS, ids=str)
async def test_snippets(each: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is written, in an async function in the block of a credential."""
    async with stand_ins(monkeypatch) as names:
        await names["credential"].get_token()
        await run(each.block, names, each.page)


@pytest.mark.parametrize("each", TESTS, ids=str)
def test_tests(each: Shown, tmp_path: Path) -> None:
    """A test that a page shows passes on both event loops, or on that of pytest-asyncio."""
    (tmp_path / "test_it.py").write_text(each.block.code, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stdout
    loops = "1" if "pytest_asyncio" in each.block.code else "[23]"  # eager tasks are a third event loop
    assert re.search(f"^{loops} passed", done.stdout, re.MULTILINE), done.stdout


def test_the_first_program_is_the_readmes() -> None:
    """The same, and short enough to be copied: twelve lines of code below its imports."""
    (first, *_), (readmes, *_) = blocks(PAGES["index.md"], "python"), blocks(README, "python")
    assert first.code == readmes.code
    code = [line for line in first.code.splitlines() if line and "import " not in line]
    assert len(code) <= 12


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """Each leads to a file that exists, and to a heading of it; of those that leave docs/, the site keeps the name."""
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)\s#]*)#?([^)\s]*)", text):
        path = (DOCS / page).parent / target if target else DOCS / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}, anchor


def test_what_the_tutorial_installs_exists() -> None:
    extras = re.findall(r'pip install "\.\[([\w,]+)\]"', "".join(PAGES.values()))
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert extras
    assert {extra for each in extras for extra in each.split(",")} <= set(known)


def test_every_page_is_in_the_menu() -> None:
    """And each entry of the menu is a page."""
    menu = set(re.findall(r"^ +- (?:[\w ]+: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE))
    assert menu == set(PAGES)


def test_sections_that_pages_take_from_the_readme_exist() -> None:
    wanted = {title for text in PAGES.values() for title in re.findall(r"<!-- README: (.+) -->", text)}
    assert wanted
    assert wanted <= set(re.findall(r"^## (.+)$", README, re.MULTILINE))
