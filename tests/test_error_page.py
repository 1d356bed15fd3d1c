"""docs/errors.md: each entry's program raises the error that it explains, with the message that it quotes."""

from __future__ import annotations

import ast
import inspect
import re
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx  # noqa: F401 - importing reads files: not first in an event loop, by a client that is made there
import msal  # noqa: F401 - likewise
import pytest

import anyio_acs_credential
from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential
from anyio_acs_credential._common.errors import explained
from anyio_acs_credential.emulator import open_emulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "anyio_acs_credential"
PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
ENTRY = re.compile(
    r"^### (?P<heading>.+)\n\n`(?P<kind>\w+)`\n\n```text\n(?P<message>.+)\n```\n\n"
    r"\*\*Cause\.\*\* (?P<cause>(?:.+\n)+)\n\*\*Fix\.\*\* (?P<fix>(?:.+\n)+)\n```python\n(?P<program>(?:.*\n)+?)```$",
    re.MULTILINE,
)
# What to do, after what is wrong; or what is wanted, where an argument is something else.
NAMES_THE_FIX = re.compile(r"[:;] \w| (?:is|are) (?:an?|from) |^give ")


class Entry(NamedTuple):
    """One message family: what the page says of it."""

    heading: str
    kind: str
    message: str
    program: str
    line: int

    def __str__(self) -> str:
        return self.anchor

    @property
    def anchor(self) -> str:
        """What both GitHub and the site make of the heading."""
        return slug(self.heading)


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def entries() -> Iterator[Entry]:
    for found in ENTRY.finditer(PAGE):
        line = PAGE[: found.start("program")].count("\n")
        yield Entry(found["heading"], found["kind"], found["message"], found["program"], line)


ENTRIES = list(entries())


def anchors_in_code() -> Iterator[str]:
    """The anchors of all messages; each is a literal."""
    for path in set(PACKAGE.rglob("*.py")) - {PACKAGE / "_common" / "errors.py"}:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"explained", "wrong_type"}:
                anchor = node.args[0]
                assert isinstance(anchor, ast.Constant), (path, node.lineno)
                assert isinstance(anchor.value, str), (path, node.lineno)
                yield anchor.value


@asynccontextmanager
async def stand_ins() -> AsyncGenerator[dict[str, Any]]:
    """The names that the programs use."""
    async with open_emulator() as emulator:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", emulator.ca_file)
            async with CommunicationIdentityClient.from_connection_string(emulator.connection_string) as identity:
                user, token = await identity.create_user_and_token(["chat"])
                fetch_token = partial(identity.get_token, user, ["chat"])
                async with CommunicationTokenCredential(token, token_refresher=fetch_token) as credential:
                    yield {
                        "credential": credential,
                        "emulator": emulator,
                        "endpoint": emulator.endpoint,
                        "identity": identity,
                        "user": user,
                    }


async def raised_by(entry: Entry, names: dict[str, Any]) -> BaseException:
    """The error that an entry's program raises, or its cause, whichever is the entry's; lines are the page's."""
    source = "\n" * entry.line + entry.program
    code = compile(source, "docs/errors.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    try:
        if inspect.iscoroutine(result := eval(code, names)):  # noqa: S307 - the page is ours
            await result
    except Exception as error:  # noqa: BLE001 - which one, the caller says
        leads_there = address(entry.anchor) in getattr(error, "__notes__", ())
        return error if leads_there or error.__cause__ is None else error.__cause__
    raise AssertionError(f"{entry.anchor} raises nothing")


def address(anchor: str) -> str:
    """What leads from an error to its entry: a note, which a traceback shows."""
    (note,) = explained(anchor, Exception()).__notes__
    return note


def same(message: str, quoted: str) -> bool:
    """Whether a message is the quoted one, where "…" stands for anything."""
    return re.fullmatch(".+".join(map(re.escape, quoted.split("…"))), message) is not None


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_each_program_raises_what_its_entry_says() -> None:
    """Class, message and address are the entry's."""
    wrong = []
    async with stand_ins() as names:
        for entry in ENTRIES:
            error = await raised_by(entry, {**names})
            names["emulator"].heal()
            told = type(error).__name__ == entry.kind and same(str(error), entry.message)
            if not told or error.__notes__ != [address(entry.anchor)]:
                wrong.append((entry.anchor, error))
    assert wrong == []


def test_each_entry_is_complete() -> None:
    """None has another form, and is overlooked for that."""
    assert len(ENTRIES) == PAGE.count("\n### ")


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_each_message_names_the_fix(entry: Entry) -> None:
    assert NAMES_THE_FIX.search(entry.message)


def test_code_and_page_have_the_same_anchors() -> None:
    on_page = [entry.anchor for entry in ENTRIES]
    assert sorted(set(anchors_in_code())) == sorted(on_page)


def test_each_error_class_is_on_the_page() -> None:
    """In the table, with a link to an entry that exists."""
    errors = {name for name in anyio_acs_credential.__all__ if name.endswith("Error")}
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert errors <= rows
    # The base is raised nowhere itself.
    assert errors - {entry.kind for entry in ENTRIES} == {"CredentialError"}


def test_links() -> None:
    headings = {slug(heading) for heading in re.findall(r"^##+ (.*)$", PAGE, re.MULTILINE)}
    links = re.findall(r"\]\(#([^)]+)\)", PAGE)
    assert links
    assert set(links) <= headings
