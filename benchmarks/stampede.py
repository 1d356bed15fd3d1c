"""10,000 callers at once on an expired token, beside the same callers on a bare event."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio
from anyio import create_task_group, fail_after
from anyio.lowlevel import checkpoint

from anyio_acs_credential import AccessToken, CommunicationTokenCredential

from ._crowd import CALLERS, Crowd
from ._measure import BACKENDS, Turns, finishes
from ._others import authlib, azure_core, azure_identity, official
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._others import Ask

PROMISES = ("R5", "R6")

DEADLINE = 120.0
FROZEN = 10.0
EXPIRED = AccessToken("expired", 0)


def measure(quick: bool) -> Iterator[Row]:
    """A source that answers and one that fails, on both backends."""
    for backend in BACKENDS:
        for fails in (False, True):
            turns = anyio.run(_ours, fails, 3 if quick else 15, backend=backend)
            others = "not run with --quick" if quick else _others(backend, fails)
            yield _over_event(turns, backend, fails, others)
            yield _seconds(turns, backend, fails)


async def _ours(fails: bool, count: int) -> Turns:
    turns = Turns()
    for name in turns.take(("event", "ours"), count):
        await _one_turn(turns, name, fails)
    return turns


async def _one_turn(turns: Turns, name: str, fails: bool) -> None:
    crowd = Crowd(fails)
    if name == "event":
        with turns.clock(name):
            await crowd.come_to_event()
        return
    async with CommunicationTokenCredential(
        EXPIRED, token_refresher=crowd.source, proactive_refresh=False
    ) as credential:
        with turns.clock(name):
            await crowd.come(credential.get_token)
    if crowd.calls != 1 or len(crowd.answers) != 1:
        raise RuntimeError(f"{crowd.calls} source calls and {len(crowd.answers)} kinds of answers, where 1 was due")


def _over_event(turns: Turns, backend: str, fails: bool, others: str) -> Row:
    ratio, limit = turns.ratio("ours", "event"), 2.0 if fails else 1.3
    what = "whose source fails, over them" if fails else "over the same"
    answer = "one length of traceback" if fails else "one token"
    return Row(
        figure=f"{CALLERS:,} callers on an expired token {what} on a bare `anyio.Event`, {backend}",
        target=f"≤ {limit:.1f}, one source call, {answer}",
        measured=f"{ratio:.2f}, one source call, {answer}",
        reached=ratio.median <= limit,
        floor=f"{turns.seconds('event').median:.2f} s",
        others=others,
    )


def _seconds(turns: Turns, backend: str, fails: bool) -> Row:
    seconds = turns.seconds("ours")
    return Row(
        figure=f"the same, until the last has its {'error' if fails else 'token'}, starting them included, {backend}",
        target="≤ 2 s",
        measured=f"{seconds:.2f} s",
        reached=turns.longest("ours") <= 2,
        floor=f"{turns.seconds('event').median:.2f} s",
        others="above",
    )


def _others(backend: str, fails: bool) -> str:
    results = [
        anyio.run(_other, name, fails, backend=backend)
        for name in ("azure-core", "azure-identity", "Authlib")
    ]  # fmt: skip
    return "; ".join([*results, _official(backend, fails)])


async def _other(name: str, fails: bool) -> str:
    """One turn, and no more: some make a request for each caller."""
    crowd, turns = Crowd(fails), Turns()
    try:
        async with AsyncExitStack() as stack:
            ask = await _ask(name, crowd, stack)
            with fail_after(DEADLINE), turns.clock(name):
                await crowd.come(ask)
        with turns.clock("event"):
            await Crowd(fails).come_to_event()
    except TimeoutError:
        return f"{name} did not finish in {DEADLINE:g} s, {crowd.calls:,} source calls by then"
    return f"{name} {turns.ratio(name, 'event').median:.2f}, source calls: {crowd.calls:,}"


async def _ask(name: str, crowd: Crowd, stack: AsyncExitStack) -> Ask:
    if name == "azure-core":
        return azure_core(crowd.source)
    if name == "azure-identity":
        return await azure_identity(crowd.source, stack)
    return await authlib(-60, crowd.source, stack)


def _official(backend: str, fails: bool) -> str:
    if backend != "asyncio":
        return "official: asyncio only"
    if fails:
        return "official: see above"
    if finishes(two_official_callers, FROZEN):
        return "official: two callers finish"
    return f"official: two callers did not finish in {FROZEN:g} s"


def two_official_callers() -> None:
    """Let two tasks ask the official credential for an expired token."""

    async def main() -> None:
        credential = official(-60, checkpoint)
        async with create_task_group() as group:
            group.start_soon(credential.get_token)
            group.start_soon(credential.get_token)

    anyio.run(main)
