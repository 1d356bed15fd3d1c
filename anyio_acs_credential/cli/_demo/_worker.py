"""A worker's process in a demonstration: it reads its assignment as a line, and writes what happens as further lines.

It ends when its standard input does, so that it never outlives the demonstration.
"""

from __future__ import annotations

import json
import signal
import ssl
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import anyio
import httpx

from ... import (
    TEAMS_PHONE_SCOPE,
    BearerAuth,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    EntraTokenExchange,
    RefreshFailed,
    RefreshSucceeded,
)
from ..._loops.own_thread import in_own_thread
from ...fleet import SQLiteTokenStore, shared, shared_token_cache
from .._output import OutputError, in_a_line, say
from ._calling import keep_calling, policy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from ... import AccessToken, CredentialEvent

    Source: TypeAlias = Callable[[], Awaitable[AccessToken]]
    Tell: TypeAlias = Callable[[dict[str, object]], object]

PROGRAM = f"from {__name__} import main; main()"
"""The program for `python -c`. Nothing in it is secret, since other processes see arguments."""


@dataclass(frozen=True)
class Assignment:
    """A worker's assignment.

    Attributes:
        backend: "asyncio" or "trio".
        connection_string: Names the service, and has its key.
        endpoint: The service's address.
        ca_file: The path of the certificate authority to trust.
        store: The path of the file that all workers share.
        encryption_key: The key of that file.
        user: The user's raw id, or the name of a person who has signed in.
        lifetime: Seconds that a token lives.
        pause: Seconds between two requests.
        client_id: The application that the person signed in to; empty for a user of the resource.
        authority: The authority where the person signed in.
    """

    backend: str
    connection_string: str = field(repr=False)
    endpoint: str
    ca_file: str
    store: str
    encryption_key: str = field(repr=False)
    user: str
    lifetime: float
    pause: float
    client_id: str = ""
    authority: str = ""

    def to_line(self) -> bytes:
        """The assignment as a line of JSON."""
        return f"{json.dumps(asdict(self))}\n".encode()


def main() -> None:
    """Work until standard input ends. An error is reported as the last line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the demonstration decides
    _tell({"told": "ready"})
    line = sys.stdin.readline()
    if not line:  # the demonstration has ended before this process was ready
        return
    assignment = Assignment(**json.loads(line))
    end = partial(in_own_thread, sys.stdin.read)
    try:
        anyio.run(work, assignment, end, _tell, backend=assignment.backend)
    except Exception as error:  # noqa: BLE001 - the demonstration tells it
        with suppress(OutputError):  # the demonstration has ended
            _tell({"told": "fault", "error": _described(error)})


async def work(assignment: Assignment, end: Callable[[], Awaitable[object]], tell: Tell) -> None:
    """Send requests with a shared token, until the end.

    Args:
        assignment: The assignment.
        end: Returns when it is time to end.
        tell: Called with what happens.
    """
    is_working = True
    trust = ssl.create_default_context(cafile=assignment.ca_file)
    async with (
        httpx.AsyncClient(verify=trust) as http,
        SQLiteTokenStore(assignment.store, encryption_keys=[assignment.encryption_key]) as store,
        _user(assignment, store, http) as source,
        CommunicationTokenCredential(
            token_refresher=shared(source, store, key=assignment.user),
            policy=policy(assignment.lifetime, refresh_timeout=assignment.lifetime / 2),
            observer=partial(_observe, tell),
        ) as credential,
        httpx.AsyncClient(base_url=assignment.endpoint, verify=trust, auth=BearerAuth(credential)) as calls,
        anyio.create_task_group() as group,
    ):

        def answered(problem: str) -> None:
            tell({"told": "answer", "problem": problem})

        group.start_soon(keep_calling, calls, assignment.pause, lambda: is_working, answered)
        await end()
        is_working = False  # the request in flight is finished first


@asynccontextmanager
async def _user(assignment: Assignment, store: SQLiteTokenStore, http: httpx.AsyncClient) -> AsyncGenerator[Source]:
    """The user's token source: as in `_users`, but with a person's sign-in from the store."""
    if not assignment.client_id:
        async with CommunicationIdentityClient.from_connection_string(
            assignment.connection_string, http_client=http
        ) as identities:
            yield partial(identities.get_token, assignment.user, ["chat"])
        return
    from ...entra import DeviceCodeCredential

    async with DeviceCodeCredential(
        assignment.client_id,
        authority=assignment.authority,
        verify=ssl.create_default_context(cafile=assignment.ca_file),
        token_cache=shared_token_cache(store, key=assignment.user),
    ) as entra:
        yield EntraTokenExchange(assignment.endpoint, entra, scopes=(TEAMS_PHONE_SCOPE,), http_client=http)


def _observe(tell: Tell, event: CredentialEvent) -> None:
    match event:
        case RefreshSucceeded(expires_on=expires_on, next_refresh_at=next_refresh_at, shared=is_shared):
            renew_on = next_refresh_at or expires_on
            tell({"told": "token", "expires_on": expires_on, "renew_on": renew_on, "shared": is_shared})
        case RefreshFailed(error=error):
            tell({"told": "failure", "error": _described(error)})


def _tell(message: dict[str, object]) -> None:
    say(json.dumps(message))


def _described(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return in_a_line(f"{type(error).__name__}: {error}")
