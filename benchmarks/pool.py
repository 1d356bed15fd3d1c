"""Many users in one pool: the memory of each, and the time to their first tokens and to each further use.

The source answers after as long as a request to the service takes. All users come at once, and so do the bare tasks
that are the floor: each of them asks the same source, and has no credential. What either side takes beyond that time
is the processor's.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import TYPE_CHECKING

import anyio
from anyio import create_task_group, sleep
from anyio.lowlevel import checkpoint

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialPool
from anyio_acs_credential.testing import ScriptedSource, make_jwt, virtual_time

from ._measure import BACKENDS, REAL_TIME, Spread, Turns, isolated
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

USERS = 2000
LATENCY = 1.0
KIB = 14.0
RATIO = 2.0
SETTLING = 100.0  # as in memory.py


async def fresh() -> str:
    return make_jwt(exp=int(time.time()) + 3600)  # the credentials go by the real clock, also in virtual time


SHARED = ScriptedSource(fresh)  # one for all: what it takes is the program's


def measure(quick: bool) -> Iterator[Row]:
    """Three figures on each backend."""
    for backend in BACKENDS:
        kib = isolated(kib_each, backend)
        yield Row(
            figure=f"memory of each of {USERS:,} users in a pool, {backend}",
            target=f"≤ {KIB:g} KiB",
            measured=f"{kib:.1f} KiB",
            reached=kib <= KIB,
            floor="above, under Memory",
        )
        first, floor, ratio, use = isolated(times, backend, 3 if quick else 11)
        yield Row(
            figure=f"first tokens of {USERS:,} users who come at once, the source taking {LATENCY:g} s, over as many "
            f"bare tasks that ask it, {backend}",
            target=f"≤ {RATIO:g}",
            measured=f"{ratio:.2f}; {first.scaled(1e6 / USERS):.0f} µs of work for each user, closing included",
            reached=ratio.median <= RATIO,
            floor=f"{floor.scaled(1e6 / USERS):.0f} µs of work for each task",
        )
        yield Row(
            figure=f"`async with pool.use(key)` of an open credential, over a bare `checkpoint()`, {backend}",
            target="—",
            measured=f"{use:.1f}",
            reached=True,
            floor="1",
        )


def kib_each(backend: str) -> float:
    """KiB that each user takes, once the credential is open and nobody uses it."""
    return anyio.run(_traced, **virtual_time(backend))


async def _traced() -> float:
    async with CredentialPool(_sharing(SHARED)) as pool:
        # The first brings modules and caches that the later ones find.
        await _use(pool, -1)
        await sleep(SETTLING)
        tracemalloc.start()
        before = _now()
        for user in range(USERS):
            await _use(pool, user)
        await sleep(SETTLING)
        after = _now()
        tracemalloc.stop()
    return (after - before) / USERS / 1024


def _now() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def times(backend: str, count: int) -> tuple[Spread, Spread, Spread, Spread]:
    """Seconds of work to all first tokens, for the pool and the floor; their ratio; a further use over its floor."""
    turns = Turns()
    for name in turns.take(("pool", "tasks", "use", "checkpoint"), count):
        anyio.run(SUBJECTS[name], turns, backend=backend)
    first, floor = (_without_latency(turns.seconds(name)) for name in ("pool", "tasks"))
    return first, floor, turns.ratio("pool", "tasks"), turns.ratio("use", "checkpoint")


def _without_latency(seconds: Spread) -> Spread:
    return Spread(*(value - LATENCY for value in seconds))


async def _pool(turns: Turns) -> None:
    with turns.clock("pool"):
        async with CredentialPool(_sharing(_answer)) as pool, create_task_group() as group:
            for user in range(USERS):
                group.start_soon(_use, pool, user)


async def _tasks(turns: Turns) -> None:
    with turns.clock("tasks"):
        async with create_task_group() as group:
            for _ in range(USERS):
                group.start_soon(_answer)


async def _uses(turns: Turns) -> None:
    async with CredentialPool(_sharing(SHARED)) as pool:
        await _use(pool, 0)
        with turns.clock("use"):
            for _ in range(USERS):
                async with pool.use(0):
                    pass


async def _checkpoints(turns: Turns) -> None:
    with turns.clock("checkpoint"):
        for _ in range(USERS):
            await checkpoint()


async def _answer() -> AccessToken:
    await sleep(LATENCY)
    return AccessToken("first", int(time.time()) + 3600)


def _sharing(source: Callable[[], Awaitable[AccessToken]]) -> Callable[[int], CommunicationTokenCredential]:
    return lambda _: CommunicationTokenCredential(token_refresher=source, clock=REAL_TIME)


async def _use(pool: CredentialPool[int], user: int) -> None:
    async with pool.use(user) as credential:
        await credential.get_token()


SUBJECTS: dict[str, Callable[[Turns], Awaitable[None]]] = {
    "pool": _pool,
    "tasks": _tasks,
    "use": _uses,
    "checkpoint": _checkpoints,
}
