"""A day of tokens that live 20 s, in virtual time, with one call in ten failing: availability, and what it leaks."""

from __future__ import annotations

import gc
import random
import tracemalloc
from typing import TYPE_CHECKING

import anyio

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialError
from anyio_acs_credential.testing import VirtualClock, virtual_time

from ._measure import BACKENDS, isolated
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISES = ("R15",)

HOUR = 3600
LIFE = 20
FAULTS = 0.1
SEED = 20
OTHERS = "official: not run; within its window it raises what its source raises"


class Faulty:
    """A source that fails at random, but never from one token's receipt to its end."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._random = random.Random(SEED)  # noqa: S311 - a scenario that can be repeated
        self._failed = 0

    async def __call__(self) -> AccessToken:
        if self._random.random() < FAULTS and self._failed < 3:
            self._failed += 1
            raise ConnectionError("the source is down")
        self._failed = 0
        expires_on = int(self._clock.time()) + LIFE
        return AccessToken(f"token-{expires_on}", expires_on)


def measure(quick: bool) -> Iterator[Row]:
    """Both figures on both backends."""
    hours = 3 if quick else 24
    for backend in BACKENDS:
        answered, told, slope = isolated(simulate, hours, backend)
        yield Row(
            figure=f"{hours} simulated hours of {LIFE} s tokens, asked each second, {FAULTS:.0%} of the source's calls "
            f"failing, {backend}",
            target="100 % answered",
            measured=f"{answered / (hours * HOUR):.4%} of {hours * HOUR:,}; {told}",
            reached=answered == hours * HOUR,
            floor="—",
            others=OTHERS,
        )
        yield Row(
            figure=f"memory gained in each simulated hour after the first, {backend}",
            target="≤ 1 MB",
            measured=f"{slope:.4f} MB, by `tracemalloc`",
            reached=slope <= 1,
            floor="0",
            others=OTHERS,
        )


def simulate(hours: int, backend: str) -> tuple[int, str, float]:
    """Polls that were answered, what the credential counted, and MB gained an hour."""
    return anyio.run(_poll, hours, **virtual_time(backend))


async def _poll(hours: int) -> tuple[int, str, float]:
    clock, answered, after_first = VirtualClock(), 0, 0.0
    tracemalloc.start()
    async with CommunicationTokenCredential(token_refresher=Faulty(clock), clock=clock) as credential:
        for hour in range(hours):
            for _ in range(HOUR):
                try:
                    token = await credential.get_token()
                except CredentialError:
                    pass
                else:
                    answered += token.expires_on > clock.time()
                await anyio.sleep(1)
            if hour == 0:
                after_first = _mb_now()
        told = credential.statistics()
    counts = f"{told.refreshes:,} refreshes, {told.failures:,} failed rounds"
    return answered, counts, (_mb_now() - after_first) / (hours - 1)


def _mb_now() -> float:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 1e6
