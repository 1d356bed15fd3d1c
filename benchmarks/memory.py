"""The memory of an entered credential, its task and its token included.

It is taken after 100 s of virtual time: until then, asyncio keeps the timers of time limits that are over.
"""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio
from anyio import Event, create_task_group, sleep
from anyio.lowlevel import checkpoint

from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.testing import ScriptedSource, virtual_time

from ._measure import BACKENDS, isolated
from ._others import authlib, azure_identity, official
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Opener = Callable[[AsyncExitStack], Awaitable[None]]

PROMISES = ("R48",)

CREDENTIALS = 1000
LIMIT = 12.0
SETTLING = 100.0  # no multiple of the 30 s after which each refresh task looks at the clock: at 100 s all of them wait
SOURCE = ScriptedSource(3600)  # one for all: what it takes is the program's


def measure(quick: bool) -> Iterator[Row]:  # noqa: ARG001 - it takes seconds
    """One figure on each backend."""
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
    credential = CommunicationTokenCredential(token_refresher=SOURCE)
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
