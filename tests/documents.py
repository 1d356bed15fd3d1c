"""What the tests of the README and of the pages in docs/ share: code blocks, and what their names stand for."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx
from entra_users import skip_pauses

from anyio_acs_credential import AccessToken, CommunicationIdentityClient, CommunicationTokenCredential
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.entra import _device_code
from anyio_acs_credential.fleet import new_encryption_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    import pytest


class Block(NamedTuple):
    """A code block, the heading that it stands under, the paragraph before it, and the lines of the file before it."""

    heading: str
    paragraph: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.heading}, line {self.line}"

    @property
    def is_program(self) -> bool:
        return bool(re.search(r"^(anyio|trio)\.run\(", self.code, re.MULTILINE))

    @property
    def is_configured(self) -> bool:
        """Whether it finds the service by its environment, and is a process of its own."""
        return self.is_program and "os.environ" in self.code

    def is_printed(self, output: str, shown: str) -> bool:
        """Whether the output is what a page shows, where "…" is what differs each time."""
        pattern = "".join(re.escape(line).replace("…", ".*") + "\n" for line in shown.splitlines())
        return re.fullmatch(pattern, output) is not None


def blocks(text: str, language: str) -> Iterator[Block]:
    """The code blocks of a page."""
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = text[: found.start()]
        heading = re.findall(r"^#+ (.*)$", before, re.MULTILINE)[-1]
        yield Block(heading, before.rstrip().rpartition("\n\n")[2], before.count("\n") + 1, found[1])


# What stands before a program, in place of `anyio.run(main)`, and how the first program says that it may be run.
RUNNERS = {
    "as written": ("", "anyio.run(main)"),
    "backend=trio": ('anyio.run = partial(anyio.run, backend="trio")', 'anyio.run(main, backend="trio")'),
    "asyncio.run": ("anyio.run = lambda main: asyncio.run(main())", "asyncio.run(main())"),
    "trio.run": ("anyio.run = trio.run", "trio.run(main)"),
}


async def run_configured(program: Block, runner: str, page: str) -> str:
    """Run a program as it is written, against the emulator; gives what it printed. It warns of nothing."""
    preamble = f"import asyncio, sys; from functools import partial; import anyio, trio; {RUNNERS[runner][0]}"
    launcher = f"{preamble}\nexec(compile(sys.stdin.read(), {page!r}, 'exec'))"
    async with (
        open_emulator() as emulator,
        httpx.AsyncClient(verify=emulator.ssl_context) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as identity,
    ):
        user = await identity.create_user()
        named = {
            "ACS_CONNECTION_STRING": emulator.connection_string,
            "ACS_ENDPOINT": emulator.endpoint,
            "ACS_USER_ID": user.raw_id,
            "SSL_CERT_FILE": emulator.ca_file,
        }
        done = await anyio.run_process(
            [sys.executable, "-W", "error", "-c", launcher],
            input=program.code.encode(),
            env={**os.environ, **named},
            stderr=subprocess.STDOUT,
            check=False,
        )
    output = done.stdout.decode()
    assert done.returncode == 0, output
    return output


def headings(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in found}


def table(text: str, heading: str, column: str) -> list[str]:
    """The names in the first column of the table, under a heading, whose first column is called so."""
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = section.partition(f"\n| {column} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [re.findall(r"`(?:await )?(\w+)", row)[0] for row in rows]


class Call:
    """Something that keeps a token of its own, until it has been given one."""

    def __init__(self, credential: CommunicationTokenCredential) -> None:
        self._credential = credential
        self.used: list[str] = []

    async def use_token(self, token: str) -> None:
        self.used.append(token)
        await self._credential.close()


def entra_token(emulator: Emulator, *scopes: str) -> AccessToken:
    return AccessToken.from_jwt(emulator.issue_entra_token(*scopes))


class Person:
    """Somebody who has signed in to the emulator's tenant."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def get_token(self, *scopes: str) -> AccessToken:
        return entra_token(self._emulator, *scopes)


@asynccontextmanager
async def stand_ins(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[dict[str, Any]]:
    """The names that the snippets use, and an environment in which their HTTP clients trust the emulator."""
    with TemporaryDirectory() as folder:
        async with open_emulator() as emulator:
            monkeypatch.setenv("SSL_CERT_FILE", emulator.ca_file)
            monkeypatch.setattr(_device_code, "_print", lambda _uri, code, _expires_on: emulator.approve(code))
            skip_pauses(monkeypatch)
            async with CommunicationIdentityClient.from_connection_string(emulator.connection_string) as identity:
                user, token = await identity.create_user_and_token(["chat"])
                fetch_token = partial(identity.get_token, user, ["chat"])
                async with CommunicationTokenCredential(token, token_refresher=fetch_token) as credential:
                    yield {
                        "call": Call(credential),
                        "client_id": emulator.client_id,
                        "credential": credential,
                        "authority": emulator.authority,
                        "encryption_key": new_encryption_key(),
                        "tenant_id": emulator.tenant_id,
                        "endpoint": emulator.endpoint,
                        "fetch_token": fetch_token,
                        "manager": SimpleNamespace(get_token=partial(entra_token, emulator)),
                        "person": Person(emulator),
                        "user_object_id": emulator.add_user("user"),
                        "token_credential": SimpleNamespace(get_token=lambda *_scopes: token),
                        "identity": identity,
                        "store_path": f"{folder}/tokens.db",
                        "token": token,
                        "user": user,
                    }


async def run(snippet: Block, names: dict[str, Any], page: str) -> None:
    """Run a snippet as the body of an async function; its errors point into the page."""
    # The emulator is an authority of its own, where the page means Microsoft's.
    text = snippet.code.replace("tenant_id=tenant_id", "authority=authority")
    code = compile("\n" * snippet.line + text, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)  # noqa: S307 - the pages are ours
    if inspect.iscoroutine(result):
        await result
