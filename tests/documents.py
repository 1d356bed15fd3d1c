"""What the tests of the README and of the pages in docs/ share: code blocks, and what their names stand for."""

from __future__ import annotations

import ast
import inspect
import re
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx  # noqa: F401 - importing reads files: not first in an event loop, by a client that is made there
from entra_users import skip_pauses

from anyio_acs_credential import AccessToken, CommunicationIdentityClient, CommunicationTokenCredential
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.entra import _device_code

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
    def quoted(self) -> str | None:
        """The example that the paragraph before it says it is from."""
        found = re.findall(r"\(examples/(\w+\.py)\)", self.paragraph)
        return found[-1] if found else None

    @property
    def is_program(self) -> bool:
        return "\nanyio.run(" in self.code


def blocks(text: str, language: str) -> Iterator[Block]:
    """The code blocks of a page."""
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = text[: found.start()]
        heading = re.findall(r"^#+ (.*)$", before, re.MULTILINE)[-1]
        yield Block(heading, before.rstrip().rpartition("\n\n")[2], before.count("\n") + 1, found[1])


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
                    "tenant_id": emulator.tenant_id,
                    "endpoint": emulator.endpoint,
                    "fetch_token": fetch_token,
                    "manager": SimpleNamespace(get_token=partial(entra_token, emulator)),
                    "person": Person(emulator),
                    "user_object_id": emulator.add_user("user"),
                    "token_credential": SimpleNamespace(get_token=lambda *_scopes: token),
                    "identity": identity,
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
