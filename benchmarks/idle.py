"""The processor time of credentials that have nothing to do, or only a source that fails: a real minute."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, NoReturn

import anyio
from anyio import Event, create_task_group, move_on_after, sleep, sleep_forever
from anyio.lowlevel import checkpoint

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialError, TokenSourceError
from anyio_acs_credential.testing import ScriptedSource

from ._measure import BACKENDS, at_the_same_time
from ._others import official
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from anyio_acs_credential._refreshing.source import TokenRefresher

PROMISES = ("R21",)

CREDENTIALS = 1000
SETTLING = 3.0
SLICE = 30.0
LIMIT = 0.01


def measure(quick: bool) -> Iterator[Row]:
    """Both figures on both backends, all of it in one minute: processes that idle leave room for each other."""
    wanted = [(work, backend) for backend in BACKENDS for work in WORKS if (work, backend) != ("official", "trio")]
    seconds = 5.0 if quick else 60.0
    shares = at_the_same_time(processor_share, [(*each, seconds) for each in wanted])
    share = dict(zip(wanted, shares, strict=True))
    for backend in BACKENDS:
        others = f"official {share['official', 'asyncio']:.2%}" if backend == "asyncio" else "official: asyncio only"
        floor = f"{share['bare tasks', backend]:.2%}: as many tasks that wake each {SLICE:g} s"
        nothing = f"{share['nothing', backend]:.2%}: an empty event loop"
        idle = f"{CREDENTIALS:,} entered credentials, idle for {seconds:g} s, {backend}"
        yield _row(idle, share["idle", backend], floor, others)
        failing = f"{len(FAILURES)} credentials, each with a source that fails in its own way and a caller that asks "
        failing += f"each second, together, {backend}"
        yield _row(failing, share["failing", backend], nothing, "official: its timer ends at the first failure")


def _row(figure: str, share: float, floor: str, others: str) -> Row:
    return Row(
        figure=figure,
        target=f"≤ {LIMIT:.0%} of a core",
        measured=f"{share:.2%}",
        reached=share <= LIMIT,
        floor=floor,
        others=others,
    )


def processor_share(work: str, backend: str, seconds: float) -> float:
    """The part of a core that some work takes over so many seconds."""
    return anyio.run(_share, WORKS[work], seconds, backend=backend)


async def _share(begin: Callable[[AsyncExitStack], Awaitable[None]], seconds: float) -> float:
    async with AsyncExitStack() as stack:
        await begin(stack)
        await sleep(SETTLING)
        began, used = time.perf_counter(), time.process_time()
        await sleep(seconds)
        return (time.process_time() - used) / (time.perf_counter() - began)


async def _nothing(_stack: AsyncExitStack) -> None:
    await checkpoint()


async def _idle(stack: AsyncExitStack) -> None:
    source = ScriptedSource(3600)
    for _ in range(CREDENTIALS):
        credential = CommunicationTokenCredential(token_refresher=source)
        await stack.enter_async_context(credential)
        await credential.get_token()


async def _bare_tasks(stack: AsyncExitStack) -> None:
    async def wait() -> None:
        while True:
            with move_on_after(SLICE):
                await Event().wait()

    group = await stack.enter_async_context(create_task_group())
    stack.callback(group.cancel_scope.cancel)
    for _ in range(CREDENTIALS):
        group.start_soon(wait)


async def _official(stack: AsyncExitStack) -> None:
    for _ in range(CREDENTIALS):
        await stack.enter_async_context(official(3600, checkpoint, proactive_refresh=True))


async def _failing(stack: AsyncExitStack) -> None:
    group = await stack.enter_async_context(create_task_group())
    stack.callback(group.cancel_scope.cancel)
    for source in FAILURES:
        credential = CommunicationTokenCredential(token_refresher=source)
        await stack.enter_async_context(credential)
        group.start_soon(_ask_each_second, credential)


async def _ask_each_second(credential: CommunicationTokenCredential) -> None:
    while True:
        with suppress(CredentialError):
            await credential.get_token()
        await sleep(1)


async def _same_again() -> AccessToken:
    return AccessToken("same-again", int(STARTED) + 45)


async def _silent() -> NoReturn:
    await sleep_forever()
    raise AssertionError


STARTED = time.time()

FAILURES: tuple[TokenRefresher, ...] = (
    ScriptedSource(ConnectionError("down")),
    ScriptedSource(TokenSourceError("refused", permanent=True)),
    ScriptedSource(TokenSourceError("busy", retry_after=0)),
    ScriptedSource(TokenSourceError("busy", retry_after=float("nan"))),
    ScriptedSource("not a token"),
    ScriptedSource(-60),
    ScriptedSource(0),
    ScriptedSource(2),
    ScriptedSource(3600, ConnectionError("down")),
    _same_again,
    _silent,
)

WORKS: dict[str, Callable[[AsyncExitStack], Awaitable[None]]] = {
    "nothing": _nothing,
    "idle": _idle,
    "bare tasks": _bare_tasks,
    "official": _official,
    "failing": _failing,
}
