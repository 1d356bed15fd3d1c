"""The pages in docs/: code runs and prints what they show, links lead somewhere, tables are complete, facts hold."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tomllib
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import anyio
import pytest
import trio
from documents import Block, blocks, headings, run, run_configured, stand_ins, table
from promises import ROOT

from anyio_acs_credential import CommunicationTokenCredential, RefreshPolicy, entra
from anyio_acs_credential._decisions.schedule import LATCH_PROBE, RETRY_AFTER_CAP
from anyio_acs_credential.testing import ScriptedSource, make_jwt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {str(path.relative_to(DOCS)): path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))}
OF_THEIR_OWN = {"errors.md", "promises.md"}  # have tests of their own
NO_TASKS = {"how-to/index.md", "how-to/command-line.md", "how-to/teams-phone.md"}  # a list, a command, one of its own


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
        found = re.search(rf"(?i:\bfrom)\s\[?`({path})`[^`]*:$", self.block.paragraph)
        return found[1] if found else None

    @property
    def is_test(self) -> bool:
        return "def test_" in self.block.code


def shown() -> Iterator[Shown]:
    for page, text in PAGES.items():
        if page not in OF_THEIR_OWN:
            for block in blocks(text, "python"):
                after = text.partition(f"```python\n{block.code}```\n")[2]
                # The command by which a program is run stands between it and what it prints.
                command = r"(?:(?!```)[^\n]*\n|```sh\n.*?^```\n)*?"
                between = command if block.is_configured else r"(?:(?!```|#)[^\n]*\n)*?"
                output = re.match(rf"{between}```text\n(.*?)^```$", after, re.DOTALL | re.MULTILINE)
                yield Shown(page, block, output[1] if output else "")


SHOWN = [each for each in shown() if each.page != "index.md"]  # whose program is the README's
QUOTED = [each for each in SHOWN if each.quoted]
PROGRAMS = [each for each in SHOWN if each.block.is_program and not each.block.is_configured]
CONFIGURED = [each for each in SHOWN if each.block.is_configured]
TESTS = [each for each in SHOWN if each.is_test]
SNIPPETS = [each for each in SHOWN if not (each.quoted or each.block.is_program or each.is_test)]
GUIDES = [page for page in PAGES if page.startswith("how-to/") and page not in NO_TASKS]


@pytest.fixture
def quiet() -> Iterator[None]:
    """A page finds logging as Python begins, whatever a web framework has set before, and what it does to it ends."""
    root, ours = logging.getLogger(), logging.getLogger("anyio_acs_credential")
    before = list(root.handlers), list(ours.handlers)
    level = root.level
    root.setLevel(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
    root.setLevel(level)
    root.handlers[:], ours.handlers[:] = before


def test_every_kind_is_there() -> None:
    assert QUOTED
    assert PROGRAMS
    assert CONFIGURED
    assert SNIPPETS
    assert TESTS


@pytest.mark.parametrize("each", QUOTED, ids=str)
def test_quotations(each: Shown) -> None:
    """A whole piece of the file, to the letter."""
    name = each.quoted or ""
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
    if 'virtual_time("trio")' in code and backend == "asyncio":
        pytest.skip("its event loop is trio's, as it says")
    logging.getLogger().handlers.clear()  # pytest's own, with which basicConfig() does nothing
    start = anyio.run if backend == "asyncio" else trio.run
    if "virtual_time(" not in code:
        monkeypatch.setattr(anyio, "run", lambda main, *args, **_: start(main, *args))
    exec(compile("\n" * each.block.line + code, each.page, "exec"), {"__name__": "__main__"})  # noqa: S102 - ours
    printed = capsys.readouterr()
    written = [line for line in each.output.splitlines() if not line.startswith("log: ")]
    logged = [line for line in each.output.splitlines() if line.startswith("log: ")]
    assert each.block.is_printed(printed.out, "\n".join(written)), printed
    if logged:  # elsewhere, a machine that stands still has a token of two seconds end, which is logged
        assert each.block.is_printed(printed.err, "\n".join(logged)), printed


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("runner", ["as written", "trio.run"])
@pytest.mark.parametrize("each", CONFIGURED, ids=str)
async def test_configured_programs(each: Shown, runner: str) -> None:
    """A program that reads its environment runs against the emulator, and prints what the page shows."""
    if "azure." in each.block.code:
        pytest.importorskip("azure.communication.chat")
        if runner == "trio.run":
            pytest.skip("its transport is asyncio's")
    output = await run_configured(each.block, runner, each.page)
    assert each.output
    assert each.block.is_printed(output, each.output), output


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("each", SNIPPETS, ids=str)
async def test_snippets(each: Shown, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As it is written, in an async function in the block of a credential; it prints what the page shows."""
    async with stand_ins(monkeypatch) as names:
        held = await names["credential"].get_token()
        await run(each.block, names, each.page)
    assert not each.output or each.block.is_printed(capsys.readouterr().out, each.output)
    assert "answer" not in names or names["answer"].status_code == 200
    assert names["call"].used == ([held.token] if "call." in each.block.code else [])


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
    """Each leads to a file that exists, and to a heading of it; no page takes its text from elsewhere."""
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    assert "<!-- README" not in text
    for target, anchor in re.findall(r'\]\((?!https?:)([^)\s#]*)#?([^)\s]*)(?: "[^"]*")?\)', text):
        path = (DOCS / page).parent / target if target else DOCS / page
        assert path.exists(), target
        if anchor:
            assert anchor in headings(path.read_text("utf-8")), anchor


@pytest.mark.parametrize("page", GUIDES)
def test_each_guide_is_a_whole_task(page: str) -> None:
    """It shows a program, says how to run it and what is seen, and then what goes wrong."""
    text = PAGES[page]
    assert "```python\n" in text or "```javascript\n" in text
    assert re.search(r"^```(sh|text|console)$", text, re.MULTILINE) or "[`test_" in text
    assert text.partition("\n## What goes wrong\n")[2].count("\n| ") > 3


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OF_THEIR_OWN])
def test_errors_that_pages_name_are_of_the_class_that_they_say(page: str) -> None:
    """A link such as [`ValueError`](../errors.md#endpoint) leads to an entry of that class."""
    for kind, anchor in re.findall(r"\[`(\w+)`\]\([./]*errors\.md#([\w-]+)\)", PAGES[page]):
        entries = {
            heading.lower().replace(" ", "-"): named
            for heading, named in re.findall(r"^### (.+)\n\n`(\w+)`$", PAGES["errors.md"], re.MULTILINE)
        }
        assert entries[anchor] == kind, anchor


def test_every_example_is_on_the_page_of_guides() -> None:
    listed = re.findall(r"\]\(\.\./\.\./examples/([\w.]+)\)", PAGES["how-to/index.md"])
    files = {path.name for path in (ROOT / "examples").iterdir() if path.suffix in {".py", ".ipynb"}}
    assert set(listed) == files


def test_every_guide_is_on_the_page_of_guides() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", PAGES["how-to/index.md"])
    assert {f"how-to/{name}" for name in listed} == {page for page in PAGES if page.startswith("how-to/")} - {
        "how-to/index.md"
    }


def test_methods() -> None:
    """Each method in the table is one of the credential's, and none that is public is missing."""
    methods = {name for name in dir(CommunicationTokenCredential) if not name.startswith("_")}
    asked = table(PAGES["how-to/credential.md"], "What it can be asked", "Call")
    assert set(asked) == methods - {"get_token_info", "raw_id"}


def test_sign_ins() -> None:
    assert set(table(PAGES["how-to/entra-users.md"], "Ways to sign in", "Credential")) == set(entra.__all__)


def test_numbers() -> None:
    """The times that the page on renewal names are the defaults."""
    assert RefreshPolicy() == RefreshPolicy(
        proactive_window=600,
        on_demand_window=120,
        on_demand_wait=5,
        refresh_timeout=30,
        retry_initial=1,
        retry_max=60,
        jitter=0.1,
    )
    assert (LATCH_PROBE, RETRY_AFTER_CAP) == (300, 300)


def test_the_comparison_names_tests_that_exist() -> None:
    """Each cell about this package is a link; the title of each is a test, or a fact, in the file it leads to."""
    section = PAGES["explanation/compared.md"].partition("\n## What each does\n")[2]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ")][1:]
    link = re.compile(r'\[[^]]+\]\(\.\./\.\./(tests/\w+\.py) "(\w+)"\)')
    assert rows
    assert all(len(row) == 5 and link.fullmatch(row[-1]) for row in rows)
    cells = [cell for row in rows for cell in row if "](" in cell]
    links = link.findall(PAGES["explanation/compared.md"])
    assert all(link.fullmatch(cell) for cell in cells)
    for path, name in links:
        text = (ROOT / path).read_text("utf-8")
        assert re.search(rf'^(?:async )?def {name}\(|^    "{name}": ', text, re.MULTILINE), (path, name)


def test_what_is_said_of_the_official_package() -> None:
    """Its credential has the same argument names, needs a first token, and is proactive only when asked to be."""
    official = pytest.importorskip("azure.communication.chat.aio").CommunicationTokenCredential
    with pytest.raises(TypeError, match="token"):
        official(token_refresher=ScriptedSource(3600))
    with pytest.raises(ValueError, match="token_refresher"):
        official(make_jwt(), proactive_refresh=True)
    assert official(make_jwt(), token_refresher=ScriptedSource(3600))


def test_what_the_tutorial_installs_exists() -> None:
    extras = re.findall(r'pip install "\.\[([\w,]+)\]"', "".join(PAGES.values()))
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert extras
    assert {extra for each in extras for extra in each.split(",")} <= set(known)


def test_every_page_is_in_the_menu() -> None:
    """Once, below a heading that has few others; each entry of the menu is a page."""
    menu = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    sections = [re.findall(r"([\w/-]+\.md)$", part, re.MULTILINE) for part in re.split(r"(?m)^ +- [\w ]+:$", menu)]
    assert sorted(chain.from_iterable(sections)) == sorted(PAGES)
    assert max(map(len, sections)) <= 12
