"""A year of one-hour tokens in virtual time, polled each 20 s, with the source down for most of each window."""

from __future__ import annotations

import random
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
from anyio import sleep_forever

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialError, RefreshPolicy
from anyio_acs_credential.testing import VirtualClock, virtual_time

from ._measure import BACKENDS, at_the_same_time
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISES = ("R15",)

DAY = 86_400
LIFE = 3600
POLL = 20
WINDOW = RefreshPolicy().proactive_window
WORST = 0.9  # the part of the window for which the source is down at most
SEED = 20_260_101


class Outages:
    """A source that is down from each token it gives until some way into that token's window.

    Half of its failures are errors and half are silence, which the credential ends after its own time limit.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.calls = 0
        self._clock = clock
        self._random = random.Random(SEED)  # noqa: S311 - a scenario that can be repeated
        self._up_at = 0.0

    async def __call__(self) -> AccessToken:
        self.calls += 1
        if (now := self._clock.time()) < self._up_at:
            if self._random.random() < 0.5:
                await sleep_forever()
            raise ConnectionError("the source is down")
        self._up_at = now + LIFE - WINDOW * (1 - WORST * self._random.random())
        return AccessToken(f"token-{self.calls}", int(now + LIFE))


@dataclass
class Tally:
    """What a simulated stretch came to."""

    polls: int
    answered: int
    refreshes: int
    failures: int
    seconds: float


def measure(quick: bool) -> Iterator[Row]:
    """The whole stretch on each backend."""
    days = 30 if quick else 365
    tallies = at_the_same_time(simulate, [(days, backend) for backend in BACKENDS])
    for backend, tally in zip(BACKENDS, tallies, strict=True):
        yield Row(
            figure=f"{days} simulated days of one-hour tokens, polled each {POLL} s, the source down for up to "
            f"{WORST:.0%} of each window, {backend}",
            target="100 % answered",
            measured=f"{tally.answered / tally.polls:.4%} of {tally.polls:,} polls; {tally.refreshes:,} refreshes, "
            f"{tally.failures:,} failed rounds; {tally.seconds:.0f} s of real time",
            reached=tally.answered == tally.polls > 0,
            floor="—",
            others="official: not run; within its window it raises what its source raises",
        )


def simulate(days: int, backend: str) -> Tally:
    """Run so many days, with the real credential on the real backend in virtual time."""
    return anyio.run(_poll, days, **virtual_time(backend))


async def _poll(days: int) -> Tally:
    clock, began = VirtualClock(), perf_counter()
    answered = 0
    polls = days * DAY // POLL
    async with CommunicationTokenCredential(token_refresher=Outages(clock), clock=clock) as credential:
        for _ in range(polls):
            try:
                token = await credential.get_token()
            except CredentialError:
                pass
            else:
                answered += token.expires_on > clock.time()
            await anyio.sleep(POLL)
        told = credential.statistics()
    return Tally(polls, answered, told.refreshes, told.failures, perf_counter() - began)
