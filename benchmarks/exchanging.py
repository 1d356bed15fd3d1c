"""The exchange of an Entra token: what a crowd costs, and what exchanges leave behind that were cancelled anywhere."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import create_task_group, sleep

from anyio_acs_credential import AccessToken, CommunicationTokenCredential
from anyio_acs_credential._exchange.source import EntraTokenExchange
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import OnBehalfOfCredential

from ._measure import BACKENDS, isolated
from ._report import Row
from ._tenant import Tenant, assertion_of, tenant_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio_acs_credential.emulator import Emulator

PROMISES = ("R38",)

CALLERS = 50
EXCHANGES = 1000
SOCKETS = 2
SEED = 38


def measure(quick: bool) -> Iterator[Row]:
    """Both figures on both backends."""
    count = 100 if quick else EXCHANGES
    for backend in BACKENDS:
        counted = anyio.run(_crowd, backend=backend)
        yield Row(
            figure=f"{CALLERS} callers at once without a token, who act on behalf of a user, {backend}",
            target="1 Entra request, 1 exchange",
            measured=f"{counted[0]} Entra request, {counted[1]} exchange, {counted[2]} token",
            reached=counted == (1, 1, 1),
            floor="1, 1",
        )
        with tenant_apart() as tenant:
            ended, succeeds, sockets = isolated(cancel_anywhere, backend, tenant, count)
        yield Row(
            figure=f"{count:,} exchanges over TLS cancelled at random points, {backend}",
            target=f"the next succeeds, ≤ {SOCKETS} open sockets",
            measured=f"{count - ended:,} were cancelled, {ended:,} done before; the next "
            f"{'succeeds' if succeeds else 'fails'}, open sockets: {sockets}",
            reached=succeeds and sockets <= SOCKETS and ended < count,
            floor="1 socket, which is kept",
        )


async def _crowd() -> tuple[int, int, int]:
    """How many requests for Entra tokens, exchanges and different tokens there are."""
    async with open_emulator() as emulator:
        signed_in = OnBehalfOfCredential(
            emulator.client_id,
            user_assertion=assertion_of(emulator, "alice"),
            client_secret=emulator.client_secret,
            authority=emulator.authority,
            verify=emulator.ssl_context,
        )
        tokens = await _ask_at_once(emulator, signed_in)
        asked = [request.path.rpartition("/")[2] for request in emulator.requests]
    return asked.count("token"), asked.count(":exchangeAccessToken"), len(tokens)


async def _ask_at_once(emulator: Emulator, signed_in: OnBehalfOfCredential) -> set[str]:
    import httpx

    tokens = set()
    async with (
        httpx.AsyncClient(verify=emulator.ssl_context) as client,
        CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint, token_credential=signed_in, http_client=client
        ) as credential,
    ):

        async def call() -> None:
            tokens.add((await credential.get_token()).token)

        async with create_task_group() as group:
            for _ in range(CALLERS):
                group.start_soon(call)
    return tokens


class SignedIn:
    """Somebody whose Entra token is there."""

    def __init__(self, token: str) -> None:
        self._token = AccessToken.from_jwt(token)

    async def get_token(self, *_scopes: str) -> AccessToken:
        return self._token


def cancel_anywhere(backend: str, tenant: Tenant, count: int) -> tuple[int, bool, int]:
    """How many exchanges ended by themselves, whether the next one did, and how many sockets are open then."""
    return anyio.run(_cancel_anywhere, tenant, count, backend=backend)


async def _cancel_anywhere(tenant: Tenant, count: int) -> tuple[int, bool, int]:
    import ssl

    import httpx

    chance, ended, before = random.Random(SEED), 0, _sockets()  # noqa: S311 - the same points each time
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=tenant.ca_file)) as client:
        source = EntraTokenExchange(tenant.endpoint, SignedIn(tenant.entra_token), http_client=client)
        takes = min([await _seconds_of(source) for _ in range(3)])

        async def exchange() -> None:
            nonlocal ended
            await source()
            ended += 1

        for _ in range(count):
            async with create_task_group() as group:
                group.start_soon(exchange)
                await sleep(chance.uniform(0, 3 * takes))
                group.cancel_scope.cancel()
        succeeds = isinstance(await source(), AccessToken)
        return ended, succeeds, _sockets() - before


async def _seconds_of(source: EntraTokenExchange) -> float:
    """How long an exchange takes that is not cancelled."""
    began = time.perf_counter()
    await source()
    return time.perf_counter() - began


def _sockets() -> int:
    """The sockets of this process, on Linux."""
    return sum(entry.is_socket() for entry in Path("/proc/self/fd").iterdir())
