"""What a store costs a round: one that finds the token there, and one that finds the store out of order."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import AsyncExitStack, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint

from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.fleet import _agreement, shared
from anyio_acs_credential.testing import make_jwt

from ._fleet_stores import RedisServer, redis_apart, store_at
from ._measure import BACKENDS, Spread, Turns
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

    from anyio_acs_credential.fleet import TokenStore

    Question = Callable[[], Awaitable[Any]]

PROMISES = ("R68",)

MARKS = _agreement.NAME  # where a store keeps the marks of its keys, beside the token
AT_ONCE = 20  # rounds in each turn, one after the other
LIMIT = 3.0
LATE = 1.0  # seconds by which a store may make a token late
SLACK = 0.05  # seconds in which an event loop wakes a task, on a machine that does other things as well
AFTERWARDS = 5  # rounds within the time in which a store that has failed is left alone


def measure(quick: bool) -> Iterator[Row]:
    """Both stores, and both backends."""
    with redis_apart() as redis, TemporaryDirectory() as folder:
        for backend in BACKENDS:
            for bare in (_bare_get, _bare_select):
                place = redis.url if bare is _bare_get else str(Path(folder) / f"{backend}.db")
                yield anyio.run(_found, bare, place, backend, 10 if quick else 100, backend=backend)
        for backend in BACKENDS:
            for what, place, broken in _bad_days(redis, Path(folder)):
                with broken:
                    yield anyio.run(_late, what, place, backend, 2 if quick else 7, backend=backend)


async def source() -> str:
    await checkpoint()
    return make_jwt(3600)


async def never() -> str:
    raise RuntimeError("the token is not in the store")


async def _found(
    bare: Callable[[str, AsyncExitStack], Awaitable[Question]], place: str, backend: str, count: int
) -> Row:
    turns = Turns()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_at(place))
        await shared(source, store, key="ana")()
        ask = await bare(place, stack)
        for name in turns.take(("bare", "ours", "credential"), count):
            await _one_turn(turns, name, ask, store)
    ratio, whole = turns.ratio("ours", "bare"), turns.ratio("credential", "bare")
    return Row(
        figure=f"a round that finds the token in the store, over {NAMES[bare]} of the same bytes, {backend}",
        target=f"≤ {LIMIT:g}",
        measured=f"{ratio:.2f}; with the credential around it {whole.median:.2f}",
        reached=ratio.median <= LIMIT,
        floor=f"{turns.seconds('bare').median / AT_ONCE * 1e6:.0f} µs",
    )


async def _one_turn(turns: Turns, name: str, ask: Question, store: TokenStore) -> None:
    """Each round is the first of another process: whoever has the token already would wait for a newer one."""
    sources = [shared(never, store, key="ana") for _ in range(AT_ONCE)]
    async with AsyncExitStack() as stack:
        questions: list[Question] = [ask] * AT_ONCE if name == "bare" else list(sources)
        if name == "credential":
            credentials = [
                CommunicationTokenCredential(token_refresher=each, proactive_refresh=False) for each in sources
            ]
            questions = [(await stack.enter_async_context(each)).get_token for each in credentials]
        with turns.clock(name):
            for question in questions:
                await question()


async def _bare_get(url: str, stack: AsyncExitStack) -> Question:
    from coredis import Redis

    client = await stack.enter_async_context(Redis.from_url(url))
    (key,) = [key for key in await client.keys("acs:*:entry") if MARKS not in str(key)]
    sealed = await client.hget(key, "value")
    assert sealed is not None
    await client.set("bare", sealed)
    return lambda: client.get("bare")


async def _bare_select(path: str, stack: AsyncExitStack) -> Question:
    connection = sqlite3.connect(path, check_same_thread=False)
    stack.callback(connection.close)
    (name,) = connection.execute("SELECT name FROM slots WHERE name != ?", (MARKS,)).fetchone()
    return lambda: to_thread.run_sync(
        lambda: connection.execute("SELECT value FROM slots WHERE name = ?", (name,)).fetchone()
    )


NAMES: dict[object, str] = {_bare_get: "a bare `GET` (coredis)", _bare_select: "a bare `SELECT` in a worker thread"}


def _bad_days(redis: RedisServer, folder: Path) -> Iterator[tuple[str, str, AbstractContextManager[None]]]:
    locked = folder / "locked.db"
    yield "Redis does not run", "redis://127.0.0.1:1/0", nullcontext()
    yield "Redis hangs (`SIGSTOP`)", redis.url, _stopped(redis.pid)
    yield "SQLite's folder is gone", str(folder / "gone" / "tokens.db"), nullcontext()
    yield "another program has locked the SQLite file", str(locked), _locked(locked)


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    anyio.run(_make, str(path))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.close()


async def _make(path: str) -> None:
    async with store_at(path) as store:
        await shared(source, store, key="ana")()


async def _late(what: str, place: str, backend: str, count: int) -> Row:
    """A round beside one of a credential without a store, each time with a store that has not failed yet."""
    bare, first, afterwards = [], [], []
    for _ in range(count):
        async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
            bare.append(await _seconds(credential.get_token))
        async with (
            store_at(place) as store,
            CommunicationTokenCredential(
                token_refresher=shared(source, store, key="ana"), proactive_refresh=False
            ) as credential,
        ):
            first.append(await _seconds(credential.get_token))
            afterwards += [await _seconds(credential.refresh) for _ in range(AFTERWARDS)]
    floor = Spread.of(bare).median
    late, later = max(first) - floor, max(afterwards) - floor
    return Row(
        figure=f"a round with a store that is out of order, beside one without a store: {what}, {backend}",
        target=f"≤ {LATE:g} s more, once, and {SLACK * 1e3:.0f} ms in which the task wakes; then as without a store",
        measured=f"{Spread.of(first).median - floor:.3f} s more, at most {late:.3f} s; then "
        f"{(Spread.of(afterwards).median - floor) * 1e3:.2f} ms more, at most {later * 1e3:.1f} ms",
        reached=late <= LATE + SLACK and later <= SLACK,
        floor=f"{floor * 1e3:.2f} ms",
    )


async def _seconds(question: Question) -> float:
    began = perf_counter()
    await question()
    return perf_counter() - began
