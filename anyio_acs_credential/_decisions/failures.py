"""What a failed round means: whether trying again can help, and when. Each claims challenge is counted by itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from .._common.errors import TokenRefreshError, TokenSourceError
from .schedule import LATCH_PROBE, retry_delay, usable_retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._tokens.clock import Clock
    from .schedule import RefreshPolicy

_CHALLENGES = 16  # unmet challenges that are kept at most: each caller may bring another one
_SPEAKING = (TokenSourceError, TokenRefreshError)  # errors that say what kind of failure they are


class Failure(NamedTuple):
    """A round that failed.

    Attributes:
        cause: Why.
        streak: Failed rounds in a row, this one included. A round for a challenge counts those with the same claims.
        until: When the back-off after it is over, in seconds of the monotonic clock.
    """

    cause: BaseException
    streak: int
    until: float


class UnmetChallenges:
    """The newest claims challenges that a source was asked to meet and did not.

    Args:
        clock: The credential's clock.
        policy: The credential's policy.
        fraction: A source of random numbers in [0, 1).
    """

    def __init__(self, clock: Clock, policy: RefreshPolicy, fraction: Callable[[], float]) -> None:
        self._clock = clock
        self._policy = policy
        self._fraction = fraction
        self._failures: dict[str, Failure] = {}  # by their claims, the oldest first

    def why(self, claims: str) -> BaseException | None:
        """Why the last round with these claims failed, while the back-off after it lasts; None otherwise."""
        failure = self._failures.get(claims)
        return failure.cause if failure is not None and failure.until > self._clock.monotonic() else None

    def add(self, claims: str, cause: BaseException) -> Failure:
        """Count a failed round with these claims."""
        last = self._failures.pop(claims, None)
        streak = 1 if last is None else last.streak + 1
        permanent, wish = verdict(cause)
        wait = latch(cause)
        if not permanent:
            failures = counted(cause, streak)
            wait = retry_delay(failures, 0.0, 0.0, wish, fraction=self._fraction(), policy=self._policy)
        if len(self._failures) == _CHALLENGES:
            del self._failures[next(iter(self._failures))]
        failure = self._failures[claims] = Failure(cause, streak, self._clock.monotonic() + wait)
        return failure

    def clear(self) -> None:
        """Forget all challenges: what the source lacked for them may be there now."""
        self._failures.clear()

    def __len__(self) -> int:
        return len(self._failures)


def counted(cause: BaseException, streak: int) -> int:
    """The failures that a back-off counts: 1 for one that a fleet shares, whose `retry_after` counts the others."""
    return streak if _fleet_wait(cause) is None else 1


def latch(cause: BaseException) -> float:
    """Seconds from a permanent failure to the next attempt: fewer where another process met it some time ago."""
    known = _fleet_wait(cause)
    return LATCH_PROBE if known is None else known


def _fleet_wait(cause: BaseException) -> float | None:
    return cause._fleet_wait if isinstance(cause, TokenSourceError) else None


def verdict(cause: BaseException) -> tuple[bool, float | None]:
    """Whether a source's exception says that trying again cannot help, and how long it asks to wait.

    Only a `TokenSourceError` or `TokenRefreshError` can say so, and one whose attributes raise says neither. A
    `permanent` other than True itself, such as the text "no" from a settings file, counts as False: such a mistake must
    not stop refreshing.
    """
    if isinstance(cause, _SPEAKING):
        with suppress(Exception):
            return cause.permanent is True, usable_retry_after(cause.retry_after)
    return False, None
