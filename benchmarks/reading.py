"""Reading a fresh token: what every request of a program pays."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from itertools import repeat
from timeit import Timer
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.testing import ScriptedSource, make_jwt

from ._measure import BACKENDS, Turns
from ._others import authlib, azure_core, azure_identity, official
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._others import Ask

PROMISES = ("R11",)

READS = 640  # a multiple of 64: of so many fresh reads, one is a full yield
CALLS = 20_000
LIMITS = {"asyncio": 0.50, "trio": 0.28}


def measure(quick: bool) -> Iterator[Row]:
    """Each figure on both backends."""
    for backend in BACKENDS:
        yield from anyio.run(_awaited, backend, 20 if quick else 300, backend=backend)
    yield anyio.run(_nowait, 20 if quick else 200)


async def _read(ask: Ask) -> None:
    for _ in repeat(None, READS):
        await ask()


async def _awaited(backend: str, count: int) -> list[Row]:
    turns = Turns()
    async with AsyncExitStack() as stack:
        credential = CommunicationTokenCredential(make_jwt(3600), token_refresher=ScriptedSource(3600))
        subjects: dict[str, Ask] = {
            "checkpoint": checkpoint,
            "ours": (await stack.enter_async_context(credential)).get_token,
            "official": official(3600, checkpoint).get_token,
            "azure-core": azure_core(checkpoint),
            "azure-identity": await azure_identity(checkpoint, stack),
            "Authlib": await authlib(3600, checkpoint, stack),
        }
        for name in turns.take(subjects, count):
            with turns.clock(name):
                await _read(subjects[name])
    return [_over_checkpoint(turns, backend, list(subjects)[2:]), _over_official(turns, backend)]


def _over_checkpoint(turns: Turns, backend: str, others: list[str]) -> Row:
    ratio, limit = turns.ratio("ours", "checkpoint"), LIMITS[backend]
    return Row(
        figure=f"fresh `get_token()` over `anyio.lowlevel.checkpoint()`, {backend}",
        target=f"≤ {limit:.2f}",
        measured=f"{ratio:.2f}",
        reached=ratio.median <= limit,
        floor=f"{turns.seconds('checkpoint').median / READS * 1e6:.1f} µs",
        others=", ".join(f"{name} {turns.ratio(name, 'checkpoint').median:.2f}" for name in others),
    )


def _over_official(turns: Turns, backend: str) -> Row:
    ratio = turns.ratio("ours", "official")
    return Row(
        figure=f"fresh `get_token()` over the official credential's, {backend}",
        target="≤ 0.70",
        measured=f"{ratio:.2f}",
        reached=ratio.median <= 0.70,
        floor=f"{turns.seconds('official').median / READS * 1e6:.1f} µs",
        others="the official one is 1",
    )


async def _nowait(count: int) -> Row:
    turns = Turns()
    async with CommunicationTokenCredential(make_jwt(3600), token_refresher=ScriptedSource(3600)) as credential:
        timers = {
            "time": Timer("time.time()", globals={"time": time}),
            "ours": Timer("credential.get_token_nowait()", globals={"credential": credential}),
        }
        for name in turns.take(timers, count):
            with turns.clock(name):
                timers[name].timeit(CALLS)
    ratio = turns.ratio("ours", "time")
    return Row(
        figure="`get_token_nowait()` over `time.time()`",
        target="≤ 4.5",
        measured=f"{ratio:.2f}",
        reached=ratio.median <= 4.5,
        floor=f"{turns.seconds('time').median / CALLS * 1e9:.0f} ns",
    )
