"""A day of refreshing, with an outage: from the events of a real credential, in virtual time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import anyio
from _svg import keep, picture, rectangle, words

from anyio_acs_credential import (
    CommunicationTokenCredential,
    CredentialEvent,
    RefreshFailed,
    RefreshSucceeded,
    TokenState,
)
from anyio_acs_credential.testing import VirtualClock, make_jwt, virtual_time

HOUR = 3600
DAY = 24 * HOUR
OUTAGE = (11 * HOUR, 13 * HOUR)
LEFT, WIDTH, HEIGHT = 116, 720, 268
SCALE = (WIDTH - LEFT - 16) / DAY


@dataclass
class Day:
    """What happened, in seconds from its beginning."""

    begun: float
    good: list[float] = field(default_factory=list)
    bad: list[float] = field(default_factory=list)
    answered: list[tuple[float, bool]] = field(default_factory=list)

    def observe(self, event: CredentialEvent, now: float) -> None:
        """Take down an attempt."""
        match event:
            case RefreshSucceeded():
                self.good.append(now - self.begun)
            case RefreshFailed():
                self.bad.append(now - self.begun)


async def live() -> Day:
    """A day of tokens that live an hour; somebody looks each minute whether there is one."""
    random.seed(1)  # the jitter
    clock = VirtualClock()
    day = Day(clock.time())

    async def fetch_token() -> str:
        await anyio.sleep(0.2)
        if OUTAGE[0] <= clock.time() - day.begun < OUTAGE[1]:
            raise ConnectionError
        return make_jwt(HOUR, clock=clock)

    async with CommunicationTokenCredential(
        token_refresher=fetch_token, clock=clock, observer=lambda event: day.observe(event, clock.time())
    ) as credential:
        await credential.get_token()
        while (now := clock.time() - day.begun) < DAY:
            day.answered.append((now, credential.statistics().state is not TokenState.EXPIRED))
            await anyio.sleep(60)
    return day


def draw() -> str:
    """The picture."""
    day: Day = anyio.run(live, **virtual_time("asyncio"))
    without = [now for now, valid in day.answered if not valid]

    def at(seconds: float) -> float:
        return LEFT + seconds * SCALE

    parts = [words(16, 30, "A day of one-hour tokens, with an outage of two hours", "strong")]
    for row, label in ((64, "service"), (108, "attempts"), (152, "get_token()")):
        parts.append(words(16, row + 15, label))
    parts.append(rectangle(at(0), 64, DAY * SCALE, 20, "soft"))
    parts.append(rectangle(at(OUTAGE[0]), 64, (OUTAGE[1] - OUTAGE[0]) * SCALE, 20, "bad"))
    parts.extend(rectangle(at(now) - 1.5, 108, 3, 20, "good") for now in day.good)
    parts.extend(rectangle(at(now) - 0.5, 112, 1, 12, "bad") for now in day.bad)
    parts.append(rectangle(at(0), 152, DAY * SCALE, 20, "good"))
    if without:
        parts.append(rectangle(at(without[0]), 152, (without[-1] - without[0] + 60) * SCALE, 20, "lost"))
    for hour in range(0, 25, 4):
        parts.append(rectangle(at(hour * HOUR), 184, 1, 6, "line"))
        anchor = {0: "start", 24: "end"}.get(hour, "middle")
        parts.append(words(at(hour * HOUR), 206, f"{hour}:00", "small", anchor))
    text = f"{len(day.good)} tokens were fetched; {len(day.bad)} attempts failed, a minute apart at most."
    parts.append(words(16, 234, text, "small"))
    gap = (without[-1] - without[0] + 60) / 60 if without else 0
    text = f"The held token was handed out to its end; then callers got errors, for {gap:.0f} minutes, and never hung."
    parts.append(words(16, 254, text, "small"))
    return picture(
        __file__,
        "A day of refreshing, with an outage",
        "A token is renewed ten minutes before each end. In an outage the held one is handed out to its end, and the "
        "source is asked again and again, so that all is well soon after it.",
        (WIDTH, HEIGHT),
        parts,
    )


if __name__ == "__main__":
    keep(__file__, draw())
