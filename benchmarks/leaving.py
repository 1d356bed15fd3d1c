"""Leaving a credential whose source hangs, beside leaving a bare task group with a task that hangs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import anyio
from anyio import Event, create_task_group, sleep_forever, wait_all_tasks_blocked

from anyio_acs_credential import CommunicationTokenCredential, CredentialClosedError

from ._measure import BACKENDS, Turns
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ._others import Ask

PROMISES = ("R41", "R42")

WAITERS = 1000
LIMIT_MS = 100


class Hanging:
    """A source that never answers."""

    def __init__(self) -> None:
        self.asked = Event()

    async def __call__(self) -> NoReturn:
        self.asked.set()
        await sleep_forever()
        raise AssertionError


class Subject(NamedTuple):
    """What is entered and left, and how callers wait for it meanwhile."""

    block: AbstractAsyncContextManager[object]
    ask: Ask
    source: Hanging


def measure(quick: bool) -> Iterator[Row]:
    """Both figures on both backends."""
    for backend in BACKENDS:
        turns = anyio.run(_leave, 0, 50 if quick else 1000, backend=backend)
        yield _row(f"leaving while the source hangs, {backend}", turns)
        turns = anyio.run(_leave, WAITERS, 3 if quick else 30, backend=backend)
        yield _row(f"leaving with {WAITERS:,} callers waiting, until the last has its error, {backend}", turns)


def _row(figure: str, turns: Turns) -> Row:
    longest = turns.longest("ours") * 1e3
    return Row(
        figure=figure,
        target=f"≤ {LIMIT_MS} ms, the longest",
        measured=f"{turns.seconds('ours').scaled(1e3):.2f} ms, the longest {longest:.2f} ms",
        reached=longest <= LIMIT_MS,
        floor=f"{turns.seconds('bare').scaled(1e3):.2f} ms",
        others="none has a task that it waits for",
    )


async def _leave(waiters: int, count: int) -> Turns:
    turns = Turns()
    subjects = {"bare": _bare, "ours": _ours}
    for name in turns.take(subjects, count):
        await _one_turn(turns, name, subjects[name](Hanging()), waiters)
    return turns


async def _one_turn(turns: Turns, name: str, subject: Subject, waiters: int) -> None:
    woken, all_woken = 0, Event()

    async def wait() -> None:
        nonlocal woken
        with suppress(CredentialClosedError):
            await subject.ask()
        woken += 1
        if woken == waiters:
            all_woken.set()

    async with create_task_group() as group, AsyncExitStack() as stack:
        await stack.enter_async_context(subject.block)
        await subject.source.asked.wait()
        for _ in range(waiters):
            group.start_soon(wait)
        await wait_all_tasks_blocked()
        with turns.clock(name):
            await stack.aclose()
            if waiters:
                await all_woken.wait()


def _ours(source: Hanging) -> Subject:
    credential = CommunicationTokenCredential(token_refresher=source)
    return Subject(credential, credential.get_token, source)


def _bare(source: Hanging) -> Subject:
    """The floor: a task group whose task hangs, and an event."""
    event = Event()

    @asynccontextmanager
    async def block() -> AsyncIterator[None]:
        async with create_task_group() as group:
            group.start_soon(source)
            yield
            event.set()
            group.cancel_scope.cancel()

    return Subject(block(), event.wait, source)
