"""When a token is renewed: numbers in, numbers out.

The rules of this file:

* R is the remaining life of the held token and L the life that it had when it was received, both in seconds. A life or
  a wait of less than a millisecond counts as over: Unix time in a float resolves 0.2 µs, and a task that waits for less
  than that spins, since its clock does not move.
* No window is wider than a part of L: else a source that only gives short tokens would be asked at each call.
* A wait ends with the held token at the latest, unless a permanent failure began it; and it is never so short that
  waiting becomes spinning.
* Randomness is an argument, `fraction`, in [0, 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum

from .._common.checks import is_number
from .._common.errors import explained, wrong_type
from .._common.public import public

SLICE = 30.0
"""Seconds that the refresh task sleeps at most before it looks at the wall clock again."""

NO_REMAINDER = 0.001
"""Seconds below which nothing is left."""

LATCH_PROBE = 300.0
"""Seconds between attempts after a permanent failure."""

RETRY_AFTER_CAP = 300.0
"""The longest `retry_after` of a source that is honoured, in seconds."""

_WIDEST = 86_400.0  # the longest life of an access token (Identity API, `expiresInMinutes`: 1440 at most)


class TokenState(StrEnum):
    """How the held token stands: it decides whether `get_token()` waits."""

    FRESH = "fresh"
    """Handed out at once."""
    STALE = "stale"
    """Handed out after a short wait for a newer one at most."""
    EXPIRED = "expired"
    """Missing or ended: `get_token()` waits for the next round."""


@dataclass(frozen=True, kw_only=True)
class RefreshPolicy:
    """When a token is refreshed, and at what pace after failures.

    Args:
        proactive_window: Seconds of remaining life at which the background refresh begins; at most half of the token's
            life, and at least 1/24 of it (a token of a day is refreshed an hour ahead).
        on_demand_window: Seconds of remaining life at which `get_token()` asks for a newer token; at most a quarter of
            the token's life.
        on_demand_wait: Seconds after the beginning of a round for which `get_token()` waits for it while the held token
            is still valid.
        refresh_timeout: Seconds that one call of the token source may take.
        retry_initial: Seconds of the first back-off after a failure, with up to as much again at random; each further
            one is twice as long.
        retry_max: Seconds of the longest back-off. A source's `retry_after` may ask for more, up to 300; after a
            permanent failure it is 300.
        jitter: The part of the proactive window, from 0 to 1, by which a refresh is brought forward at most, drawn once
            for each token, so that many processes do not ask at the same moment.

    Raises:
        TypeError: when a value is not a number.
        ValueError: when a value is negative, not finite, longer than a day, or contradicts another.
    """

    proactive_window: float = 600.0
    on_demand_window: float = 120.0
    on_demand_wait: float = 5.0
    refresh_timeout: float = 30.0
    retry_initial: float = 1.0
    retry_max: float = 60.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_seconds(field.name, getattr(self, field.name))
        if self.jitter > 1:
            raise explained("policy", ValueError(f"jitter is a part of the window, from 0 to 1, not {self.jitter!r}"))
        if self.refresh_timeout == 0:
            raise explained(
                "policy", ValueError("refresh_timeout is how long a token source may take: give it more than 0 seconds")
            )
        if self.retry_initial < 0.01:
            raise explained(
                "policy",
                ValueError("retry_initial keeps a failing source from being asked in a loop: at least 0.01 seconds"),
            )
        if self.retry_max < self.retry_initial:
            raise explained("policy", ValueError("retry_max is the longest wait: it cannot be below retry_initial"))


def _check_seconds(name: str, value: object) -> None:
    if not is_number(value):
        raise wrong_type("policy", f"{name} is a number", value)
    if not 0 <= value <= _WIDEST:  # false for NaN as well
        raise explained("policy", ValueError(f"{name} is between 0 and a day (86400 seconds), not {value!r}"))


def _window(life: float, policy: RefreshPolicy) -> float:
    return min(max(policy.proactive_window, life / 24), life / 2)


def due_at(life: float, fraction: float, policy: RefreshPolicy) -> float:
    """The remaining life, in seconds, at which a token is refreshed in the background."""
    return _window(life, policy) * (1 + policy.jitter * fraction)


def stale_at(life: float, policy: RefreshPolicy) -> float:
    """The remaining life, in seconds, from which a token is STALE."""
    return min(policy.on_demand_window, life / 4)


def no_progress_delay(remaining: float) -> float:
    """Seconds to wait after a source gave nothing newer."""
    return max(1.0, remaining / 2)


def usable_retry_after(value: object) -> float | None:
    """Seconds that a source asked to wait, `RETRY_AFTER_CAP` at most; None unless they are finite and positive."""
    if not is_number(value) or not 0 < value < math.inf:
        return None
    return float(min(value, RETRY_AFTER_CAP))


def backoff(failures: int, longest: float, fraction: float, policy: RefreshPolicy) -> float:
    """Exponential back-off with jitter: seconds to wait after so many failures in a row.

    Each wait is drawn from the range between one power of two and the next, so that waits never shrink within a
    streak. Once they reach the longest they stay there: by then the draws before have spread many clients over it.

    The waits between rejected tokens, between a fleet's attempts, and between those of its store go by it as well.
    """
    doublings = min(failures - 1, 40)  # beyond, a float overflows long after every cap is reached
    return min(policy.retry_initial * 2.0**doublings * (1 + fraction), max(longest, policy.retry_initial))


def retry_delay(
    failures: int, remaining: float, life: float, retry_after: float | None, *, fraction: float, policy: RefreshPolicy
) -> float:
    """The wait after a failed round.

    Args:
        failures: Failed rounds in a row, this one included.
        remaining: R in seconds, or 0 without a valid token.
        life: L in seconds, or 0 without a token.
        retry_after: Seconds that the source asked to wait, as `usable_retry_after` gives them.
        fraction: A random number in [0, 1).
        policy: The credential's policy.

    Returns:
        Seconds until the next attempt. While a token is held, they end no later than it does, and a tenth of the
        window is the longest back-off, so that a source that comes back just before the expiry is still asked in time.
    """
    longest = policy.retry_max if remaining <= 0 else min(policy.retry_max, max(1.0, _window(life, policy) / 10))
    # `retry_after` may lengthen the back-off and not shorten it: else a source that says "half a second" each time is
    # asked at that pace for as long as it is down.
    wait = max(backoff(failures, longest, fraction, policy), retry_after or 0.0)
    if 0 < remaining < wait + policy.retry_initial:
        # One last try while the token still answers callers, and then one as it ends.
        before_expiry = remaining - policy.retry_initial
        return before_expiry if before_expiry >= policy.retry_initial else remaining
    return wait


public(RefreshPolicy, TokenState)
