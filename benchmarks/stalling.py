"""How long the event loop stands still while Entra's token endpoint is silent, each time in a new process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
from anyio import create_task_group, move_on_after, sleep

from anyio_acs_credential.entra import DeviceCodeCredential, OnBehalfOfCredential

from ._measure import BACKENDS, Spread, isolated
from ._report import Row
from ._tenant import SCOPE, Tenant, tenant_apart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

PROMISES = ("R56",)

BEAT = 0.001
AFTERWARDS = 2.0
LIMIT_MS = 50


def measure(quick: bool) -> Iterator[Row]:
    """Two ways to sign in on both backends."""
    silence, turns = (1.0, 1) if quick else (5.0, 5)
    with tenant_apart("delay", "/token$", silence) as tenant:
        msal = isolated(longest_stall, "asyncio", "msal", tenant, silence)
        for backend in BACKENDS:
            nothing = [isolated(longest_stall, backend, "nothing", tenant, silence) for _ in range(turns)]
            for work in ("on behalf of a user", "device code"):
                stalls = [isolated(longest_stall, backend, work, tenant, silence) for _ in range(turns)]
                yield _row(f"{work}, {backend}", silence, stalls, nothing, msal)


def _row(what: str, silence: float, stalls: list[float], nothing: list[float], msal: float) -> Row:
    stall, longest = Spread.of(stalls).scaled(1e3), max(stalls) * 1e3
    return Row(
        figure=f"the longest stall of the event loop while the token endpoint is silent for {silence:g} s, "
        f"MSAL's import and construction included, {what}",
        target=f"≤ {LIMIT_MS} ms, in each process",
        measured=f"{stall:.1f} ms, at most {longest:.1f} ms",
        reached=longest <= LIMIT_MS,
        floor=f"{Spread.of(nothing).scaled(1e3):.1f} ms: nothing but the clock",
        others=f"MSAL, called in a task: {msal:.1f} s",
    )


def longest_stall(backend: str, work: str, tenant: Tenant, silence: float) -> float:
    """Seconds by which a task that wakes each millisecond was late at worst."""
    return anyio.run(_watch, WORKS[work], tenant, silence + AFTERWARDS, backend=backend)


async def _watch(work: Callable[[Tenant], Awaitable[object]], tenant: Tenant, seconds: float) -> float:
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await sleep(BEAT)
            now = time.perf_counter()
            longest = max(longest, now - last - BEAT)
            last = now

    async with create_task_group() as group:
        group.start_soon(beat)
        await sleep(10 * BEAT)
        with move_on_after(seconds):
            await work(tenant)
        await sleep(10 * BEAT)
        group.cancel_scope.cancel()
    return longest


async def _nothing(_tenant: Tenant) -> None:
    await sleep(AFTERWARDS)


async def _on_behalf_of(tenant: Tenant) -> None:
    credential = OnBehalfOfCredential(
        tenant.client_id,
        user_assertion=tenant.assertion,
        client_secret=tenant.client_secret,
        authority=tenant.authority,
        verify=tenant.ca_file,
    )
    await credential.get_token(SCOPE)


async def _device_code(tenant: Tenant) -> None:
    """Nobody enters the code: it is asked about until the time is over."""
    credential = DeviceCodeCredential(
        tenant.client_id, prompt_callback=lambda *_: None, authority=tenant.authority, verify=tenant.ca_file
    )
    await credential.sign_in(SCOPE)


async def _msal(tenant: Tenant) -> None:
    import msal
    import requests

    with requests.Session() as session:
        session.trust_env, session.verify = False, tenant.ca_file
        application = msal.ConfidentialClientApplication(
            tenant.client_id, tenant.client_secret, oidc_authority=tenant.authority, http_client=session
        )
        application.acquire_token_on_behalf_of(tenant.assertion, [SCOPE])


WORKS: dict[str, Callable[[Tenant], Awaitable[object]]] = {
    "nothing": _nothing,
    "on behalf of a user": _on_behalf_of,
    "device code": _device_code,
    "msal": _msal,
}
