"""The memory of an entered credential, its task and its token included.

What Python allocates is taken after 100 s of virtual time: until then, asyncio keeps the timers of time limits that are
over. What the process holds, OpenSSL's share with it, is what Linux counts as written to and shared with nobody, once
each credential has its token: over TLS from an emulated service, where it is an Entra user's.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import time
import tracemalloc
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio
import certifi
from anyio import Event, create_task_group, sleep
from anyio.lowlevel import checkpoint

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialPool
from anyio_acs_credential.testing import ScriptedSource, make_jwt, virtual_time

from ._measure import BACKENDS, REAL_TIME, isolated
from ._others import authlib, azure_identity, official
from ._report import Row
from ._tenant import Tenant, tenant_apart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Opener = Callable[[AsyncExitStack], Awaitable[None]]

PROMISES = ("R48",)

CREDENTIALS = 1000
LIMIT = 12.0
SETTLING = 100.0  # no multiple of the 30 s after which each refresh task looks at the clock: at 100 s all of them wait
HELD = 200
HELD_LIMIT = 50.0  # KB


async def fresh() -> str:
    return make_jwt(exp=int(time.time()) + 3600)  # the credentials go by the real clock, also in virtual time


SOURCE = ScriptedSource(fresh)  # one for all: what it takes is the program's


def measure(quick: bool) -> Iterator[Row]:  # noqa: ARG001 - it takes seconds
    """Two figures on each backend; what the process holds on Linux alone."""
    for backend in BACKENDS:
        ours, floor = (isolated(kib_each, name, backend) for name in ("ours", "bare task"))
        others = {name: isolated(kib_each, name, backend) for name in ("azure-identity", "Authlib")}
        if backend == "asyncio":
            others["official"] = isolated(kib_each, "official", backend)
        yield Row(
            figure=f"memory of an entered credential, {backend}",
            target=f"≤ {LIMIT:g} KiB",
            measured=f"{ours:.1f} KiB",
            reached=ours <= LIMIT,
            floor=f"{floor:.1f} KiB: a task that waits, in a task group of its own",
            others=", ".join(f"{name} {kib:.1f}" for name, kib in others.items()),
        )
        if sys.platform == "linux":
            with tenant_apart() as tenant:
                held = {form: isolated(kb_held, form, backend, tenant) for form in FORMS}
            yield Row(
                figure=f"what the process holds for each of {HELD} credentials with a token, {backend}",
                target=f"≤ {HELD_LIMIT:g} KB",
                measured=", ".join(f"{form} {kb:.1f} KB" for form, kb in held.items()),
                reached=max(held.values()) <= HELD_LIMIT,
                floor="above",
            )


def kib_each(name: str, backend: str) -> float:
    """KiB that each of many takes, once its task waits and its token is held."""
    return anyio.run(_traced, OPENERS[name], **virtual_time(backend))


async def _traced(open_one: Opener) -> float:
    async with AsyncExitStack() as stack:
        # The first brings modules and caches that the later ones find.
        await open_one(stack)
        await sleep(SETTLING)
        tracemalloc.start()
        before = _now()
        for _ in range(CREDENTIALS):
            await open_one(stack)
            await checkpoint()
        await sleep(SETTLING)
        after = _now()
        tracemalloc.stop()
    return (after - before) / CREDENTIALS / 1024


def _now() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def _ours(stack: AsyncExitStack) -> None:
    credential = CommunicationTokenCredential(token_refresher=SOURCE, clock=REAL_TIME)
    await stack.enter_async_context(credential)
    await credential.get_token()


async def _bare_task(stack: AsyncExitStack) -> None:
    group = await stack.enter_async_context(create_task_group())
    group.start_soon(Event().wait)
    stack.callback(group.cancel_scope.cancel)


async def _official(stack: AsyncExitStack) -> None:
    await stack.enter_async_context(official(3600, checkpoint, proactive_refresh=True))


async def _azure_identity(stack: AsyncExitStack) -> None:
    await (await azure_identity(checkpoint, stack))()


async def _authlib(stack: AsyncExitStack) -> None:
    await (await authlib(3600, checkpoint, stack))()


OPENERS: dict[str, Opener] = {
    "ours": _ours,
    "bare task": _bare_task,
    "official": _official,
    "azure-identity": _azure_identity,
    "Authlib": _authlib,
}


def kb_held(form: str, backend: str, tenant: Tenant) -> float:
    """KB that the process holds for each of many credentials of a form, once each has its token."""
    with TemporaryDirectory() as folder:
        # The emulator's authority, among as many others as a machine usually trusts.
        bundle = Path(folder) / "ca.pem"
        bundle.write_bytes(Path(certifi.where()).read_bytes() + Path(tenant.ca_file).read_bytes())
        os.environ["SSL_CERT_FILE"] = str(bundle)
        return anyio.run(_held, FORMS[form], tenant, backend=backend)


async def _held(open_form: Callable[[AsyncExitStack, Tenant], Awaitable[Opener]], tenant: Tenant) -> float:
    async with AsyncExitStack() as stack:
        open_one = await open_form(stack, tenant)
        for _ in range(20):  # they bring modules, caches, threads and free lists that the later ones find
            await open_one(stack)
        before = _dirty()
        for _ in range(HELD):
            await open_one(stack)
        return (_dirty() - before) * 1.024 / HELD


def _dirty() -> int:
    """KiB of this process that it has written to and shares with nobody, without what it could give back."""
    gc.collect()
    with suppress(AttributeError):  # another C library than GNU's
        ctypes.CDLL(None).malloc_trim(0)
    return int(re.findall(r"Private_Dirty: +(\d+)", Path("/proc/self/smaps_rollup").read_text())[0])


async def _static(_stack: AsyncExitStack, _tenant: Tenant) -> Opener:
    return lambda stack: _enter(stack, CommunicationTokenCredential(make_jwt(3600)))


async def _refresher(_stack: AsyncExitStack, _tenant: Tenant) -> Opener:
    return lambda stack: _enter(stack, CommunicationTokenCredential(token_refresher=SOURCE))


async def _entra(_stack: AsyncExitStack, tenant: Tenant) -> Opener:
    return lambda stack: _enter(stack, _entra_user(tenant))


async def _entra_in_a_pool(stack: AsyncExitStack, tenant: Tenant) -> Opener:
    pool = await stack.enter_async_context(CredentialPool[object](lambda _user: _entra_user(tenant)))

    async def open_one(_stack: AsyncExitStack) -> None:
        async with pool.use(object()) as credential:
            await credential.get_token()

    return open_one


async def _enter(stack: AsyncExitStack, credential: CommunicationTokenCredential) -> None:
    await (await stack.enter_async_context(credential)).get_token()


class _SignedIn:
    """Somebody whose Entra token is there."""

    def __init__(self, token: str) -> None:
        self._token = AccessToken.from_jwt(token)

    async def get_token(self, *_scopes: str) -> AccessToken:
        return self._token


def _entra_user(tenant: Tenant) -> CommunicationTokenCredential:
    return CommunicationTokenCredential(
        resource_endpoint=tenant.endpoint, token_credential=_SignedIn(tenant.entra_token)
    )


FORMS = {"static": _static, "refresher": _refresher, "Entra": _entra, "Entra in a pool": _entra_in_a_pool}
