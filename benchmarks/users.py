"""Two users in one process, with one token cache: whose token each gets, and what one's throttling costs the other."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import anyio
from anyio import create_task_group
from anyio.lowlevel import checkpoint

from anyio_acs_credential import CommunicationTokenCredential, ServiceError
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import OnBehalfOfCredential

from ._measure import BACKENDS, Turns, at_the_same_time
from ._report import Row
from ._tenant import SCOPE, assertion_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio_acs_credential.emulator import Emulator

PROMISES = ("R60",)

TEAMS = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"
CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'
INTERLEAVINGS = 10_000
SEED = 60
NAMES = ("alice", "bob")


class User(NamedTuple):
    """Somebody, as an Entra user and as one of Communication Services."""

    name: str
    entra: OnBehalfOfCredential
    acs: CommunicationTokenCredential


def measure(quick: bool) -> Iterator[Row]:
    """Both figures on both backends, which run at the same time."""
    count = 200 if quick else INTERLEAVINGS
    mixed = at_the_same_time(interleave, [(backend, count) for backend in BACKENDS])
    for backend, (crossed, tokens, requests) in zip(BACKENDS, mixed, strict=True):
        yield Row(
            figure=f"{count:,} interleavings of two users in one process, with one token cache, {backend}",
            target="no token crosses over",
            measured=f"{crossed} of {tokens:,} tokens of both services; {requests:,} fetched anew from Entra",
            reached=crossed == 0,
            floor="0",
        )
    for backend in BACKENDS:
        turns = anyio.run(_throttle, 5 if quick else 100, backend=backend)
        ratio, longest = turns.ratio("throttled", "not throttled"), turns.longest("throttled")
        yield Row(
            figure=f"a user's new Entra token while another is answered 429 with `Retry-After: 300`, over one while "
            f"nobody is, {backend}",
            target="≤ 1.1, the longest ≤ 1 s",
            measured=f"{ratio:.2f}, the longest {longest:.2f} s",
            reached=ratio.median <= 1.1 and longest <= 1,
            floor=f"{turns.seconds('not throttled').scaled(1e3):.1f} ms",
            others="MSAL: 429 for everybody with the same application and scopes",
        )


def interleave(backend: str, count: int) -> tuple[int, int, int]:
    """How many tokens were another's, how many there were, and how many of them Entra was asked for."""
    return anyio.run(_interleave, count, backend=backend)


async def _interleave(count: int) -> tuple[int, int, int]:
    chance, crossed, tokens = random.Random(SEED), 0, 0  # noqa: S311 - the same order each time
    async with open_emulator() as emulator, AsyncExitStack() as stack:
        users = await _enter(emulator, stack)
        identities = {user.name: (await user.acs.refresh()).claims["skypeid"] for user in users}
        requests = 0

        async def ask(user: User, pauses: int, choice: float) -> None:
            nonlocal crossed, requests, tokens
            for _ in range(pauses):
                await checkpoint()
            if choice < 0.25:
                is_own = (await user.acs.refresh()).claims["skypeid"] == identities[user.name]
            else:
                scope = SCOPE if choice < 0.6 else TEAMS
                is_forced = choice < 0.35 or choice > 0.85
                requests += is_forced
                token = await user.entra.get_token(scope, claims=CLAIMS if is_forced else None)
                is_own = token.claims["name"] == user.name
            tokens += 1
            crossed += not is_own

        for _ in range(count):
            async with create_task_group() as group:
                for user in chance.sample(users, len(users)):
                    group.start_soon(ask, user, chance.randrange(12), chance.random())
        return crossed + (identities["alice"] == identities["bob"]), tokens, requests


async def _enter(emulator: Emulator, stack: AsyncExitStack) -> list[User]:
    import httpx
    import msal

    cache = msal.TokenCache()
    client = await stack.enter_async_context(httpx.AsyncClient(verify=emulator.ssl_context))
    users = []
    for name in NAMES:
        entra = OnBehalfOfCredential(
            emulator.client_id,
            user_assertion=assertion_of(emulator, name),
            client_secret=emulator.client_secret,
            authority=emulator.authority,
            verify=emulator.ssl_context,
            token_cache=cache,
        )
        await stack.enter_async_context(entra)
        acs = CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint, token_credential=entra, http_client=client, proactive_refresh=False
        )
        users.append(User(name, entra, await stack.enter_async_context(acs)))
    return users


async def _throttle(count: int) -> Turns:
    turns = Turns()
    async with open_emulator() as emulator, AsyncExitStack() as stack:
        alice, bob = await _enter(emulator, stack)
        for user in (alice, bob):
            await user.entra.get_token(SCOPE)
        for name in turns.take(("throttled", "not throttled"), count):
            if name == "throttled":
                await _refuse(emulator, alice)
            else:
                await alice.entra.get_token(SCOPE, claims=CLAIMS)
            with turns.clock(name):
                await bob.entra.get_token(SCOPE, claims=CLAIMS)
    return turns


async def _refuse(emulator: Emulator, user: User) -> None:
    emulator.fail("/token$", status=429, retry_after=300, times=1)
    try:
        await user.entra.get_token(SCOPE, claims=CLAIMS)
    except ServiceError as error:
        if error.retry_after == 300:
            return
    raise RuntimeError("the user was not throttled")
