"""The README: its code runs as it is written, its quotations are exact, its links lead somewhere, its facts hold."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import anyio
import httpx  # noqa: F401 - importing reads files: not first in an event loop, by a client that is made there
import pytest
from documents import Block, blocks, run, stand_ins

import anyio_acs_credential
from anyio_acs_credential import (
    CommunicationTokenCredential,
    CredentialError,
    RefreshPolicy,
    entra,
)
from anyio_acs_credential._decisions.schedule import LATCH_PROBE, RETRY_AFTER_CAP
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.testing import ScriptedSource, make_jwt

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# What stands before a program, in place of `anyio.run(main)`, and how the first program says that it may be run.
RUNNERS = {
    "as written": ("", "anyio.run(main)"),
    "backend=trio": ('anyio.run = partial(anyio.run, backend="trio")', 'anyio.run(main, backend="trio")'),
    "asyncio.run": ("anyio.run = lambda main: asyncio.run(main())", "asyncio.run(main())"),
    "trio.run": ("anyio.run = trio.run", "trio.run(main)"),
}


PYTHON = list(blocks(README, "python"))
QUOTED = [block for block in PYTHON if block.quoted]
PROGRAMS = [block for block in PYTHON if block.is_program]
SNIPPETS = [block for block in PYTHON if not block.quoted and not block.is_program]


def runners(program: Block) -> list[str]:
    """The ways to run a program: all for the first; Azure's clients need asyncio; virtual time is a way of its own."""
    if program is PROGRAMS[0]:
        return list(RUNNERS)
    return ["as written", "asyncio.run"] if "azure." in program.code else ["as written"]


def table(heading: str, column: str) -> list[str]:
    """The names in the first column of the table, under a heading, whose first column is called so."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = section.partition(f"\n| {column} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [re.findall(r"`(?:await )?(\w+)", row)[0] for row in rows]


def environment(emulator: Emulator) -> dict[str, str]:
    named = {"ACS_CONNECTION_STRING": emulator.connection_string, "SSL_CERT_FILE": emulator.ca_file}
    return {**os.environ, **named}


def test_every_kind_of_block_is_there() -> None:
    assert QUOTED
    assert SNIPPETS
    assert PROGRAMS[0] is PYTHON[0]
    for _, said in RUNNERS.values():
        assert said in PROGRAMS[0].code


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("program", "runner"), [(program, runner) for program in PROGRAMS for runner in runners(program)], ids=str
)
async def test_programs(program: Block, runner: str) -> None:
    """A program runs as it is written, against the emulator, and warns of nothing."""
    if "azure." in program.code:
        pytest.importorskip("azure.communication.chat")
    preamble = f"import asyncio, sys; from functools import partial; import anyio, trio; {RUNNERS[runner][0]}"
    async with open_emulator() as emulator:
        done = await anyio.run_process(
            [sys.executable, "-W", "error", "-c", f"{preamble}\nexec(compile(sys.stdin.read(), 'README.md', 'exec'))"],
            input=program.code.encode(),
            env=environment(emulator),
            stderr=subprocess.STDOUT,
            check=False,
        )
    output = done.stdout.decode()
    assert done.returncode == 0, output
    printed = r"AccessToken\(<hidden>, expires_on=\d+\)\n" if "print(" in program.code else ""
    assert re.fullmatch(printed, output), output


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
async def test_snippets(snippet: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snippet runs as it is written, in an async function in the block of a credential."""
    async with stand_ins(monkeypatch) as names:
        held = await names["credential"].get_token()
        await run(snippet, names, "README.md")
    assert "answer" not in names or names["answer"].status_code == 200
    assert names["call"].used == ([held.token] if "call." in snippet.code else [])


@pytest.mark.parametrize("block", QUOTED, ids=str)
def test_quotations(block: Block) -> None:
    """What is quoted from an example is a whole piece of it, to the letter."""
    assert f"\n{block.code}\n" in (ROOT / "examples" / str(block.quoted)).read_text("utf-8")


def test_links() -> None:
    """Each relative link leads to a file that exists, and each anchor to a heading."""
    targets = re.findall(
        r"\]\((?!https?:)([^)\s]*)\)", re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    )
    assert targets
    for target in targets:
        name, _, anchor = target.partition("#")
        path = ROOT / name if name else ROOT / "README.md"
        assert path.exists(), target
        headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}


def test_the_comparison_names_tests_that_exist() -> None:
    """Each cell about this package is a link; the title of each is a test, or a fact, in the file it leads to."""
    section = README.partition("\n## Compared with Microsoft's packages\n")[2].partition("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ")][1:]
    link = re.compile(r'\[[^]]+\]\((tests/\w+\.py) "(\w+)"\)')
    assert all(len(row) == 5 and link.fullmatch(row[-1]) for row in rows)
    links = link.findall(section)
    assert section.count("](") == len(links)
    for path, name in links:
        text = (ROOT / path).read_text("utf-8")
        assert re.search(rf'^(?:async )?def {name}\(|^    "{name}": ', text, re.MULTILINE), (path, name)


def test_try_it() -> None:
    """The commands under "Try it" leave the system's Python alone and name a command that exists."""
    main, *further = (block.code.splitlines() for block in blocks(README, "sh") if block.heading == "Try it")
    assert len(main) == 2
    install, *starts = map(shlex.split, chain(main, *further))
    assert install[:5] == ["python3", "-m", "venv", ".venv", "&&"]
    assert install[5:9] == [".venv/bin/python", "-m", "pip", "install"]
    extras = re.fullmatch(r"\.\[(.+)\]", install[-1])
    assert extras
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])
    for start in starts:
        command = Path(start[0])
        assert command.parent == Path(".venv/bin")
        module, _, function = PROJECT["scripts"][command.name].partition(":")
        script = f"import sys; from {module} import {function}; sys.exit({function}())"
        helped = subprocess.run([sys.executable, "-c", script, *start[1:], "--help"], capture_output=True, check=False)  # noqa: S603 - our own interpreter
        assert helped.returncode == 0, helped.stderr.decode()


def test_extras() -> None:
    assert set(table("Install", "Extra")) <= set(PROJECT["optional-dependencies"])


def test_methods() -> None:
    """Each method in the table is one of the credential's, and none that is public is missing."""
    methods = {name for name in dir(CommunicationTokenCredential) if not name.startswith("_")}
    assert set(table("Ways to get a token", "Call")) == methods - {"get_token_info", "raw_id"}


def test_sign_ins() -> None:
    assert set(table("Entra users", "Credential")) == set(entra.__all__)


def test_errors() -> None:
    """The table has every error that a program can meet: all but the base."""
    errors = {
        name
        for name in anyio_acs_credential.__all__
        if isinstance(value := getattr(anyio_acs_credential, name), type) and issubclass(value, CredentialError)
    }
    assert set(table("When the source fails", "Error")) == errors - {"CredentialError"}


def test_numbers() -> None:
    """The times that the README names are the defaults."""
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


def test_what_is_said_of_the_official_package() -> None:
    """Its credential has the same argument names, needs a first token, and is proactive only when asked to be."""
    official = pytest.importorskip("azure.communication.chat.aio").CommunicationTokenCredential
    with pytest.raises(TypeError, match="token"):
        official(token_refresher=ScriptedSource(3600))
    with pytest.raises(ValueError, match="token_refresher"):
        official(make_jwt(), proactive_refresh=True)
    assert official(make_jwt(), token_refresher=ScriptedSource(3600))
