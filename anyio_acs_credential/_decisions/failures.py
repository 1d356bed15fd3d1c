"""What a failed round means: whether trying again can help, and when; of claims challenges, each by itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from .._errors import TokenRefreshError, TokenSourceError
from .schedule import LATCH_PROBE, retry_delay, usable_retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._tokens.clock import Clock
    from .schedule import RefreshPolicy

_CHALLENGES = 16  # that were not met and are kept; each caller may bring another
_SPEAKING = (TokenSourceError, TokenRefreshError)  # errors that say what kind of failure they are


class Failure(NamedTuple):
    """A round that failed.

    Attributes:
        cause: Why.
        streak: How many have in a row, this one included; of those with the same claims, where it had some.
        until: When the wait after it is over, on the monotonic clock.
    """

    cause: BaseException
    streak: int
    until: float


class UnmetChallenges:
    """The claims challenges that a source was asked to meet and did not, the newest of them.

    Args:
        clock: Where the times come from.
        policy: The waits.
        fraction: A source of random numbers in [0, 1).
    """

    def __init__(self, clock: Clock, policy: RefreshPolicy, fraction: Callable[[], float]) -> None:
        self._clock = clock
        self._policy = policy
        self._fraction = fraction
        self._failures: dict[str, Failure] = {}  # by their claims, the oldest first

    def why(self, claims: str) -> BaseException | None:
        """Why the last round with these claims failed, where the wait after it is not over."""
        failure = self._failures.get(claims)
        return failure.cause if failure is not None and failure.until > self._clock.monotonic() else None

    def add(self, claims: str, cause: BaseException) -> Failure:
        """Take note of a round with these claims that failed."""
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
        """Forget them: what was wanting may be there now."""
        self._failures.clear()

    def __len__(self) -> int:
        return len(self._failures)


def counted(cause: BaseException, streak: int) -> int:
    """How many failures a back-off counts.

    It is 1 where another process of a fleet met it: the fleet has counted, and asks for the wait that came out.
    """
    return streak if _fleet_wait(cause) is None else 1


def latch(cause: BaseException) -> float:
    """Seconds from a permanent failure to the next attempt: fewer where another process met it some time ago."""
    known = _fleet_wait(cause)
    return LATCH_PROBE if known is None else known


def _fleet_wait(cause: BaseException) -> float | None:
    return cause._fleet_wait if isinstance(cause, TokenSourceError) else None


def verdict(cause: BaseException) -> tuple[bool, float | None]:
    """Whether a source's exception says that trying again cannot help, and how long it asks to wait.

    Only an error made to say so can; one that fails at being asked says neither. What is not True itself, such as the
    text "no" of somebody's settings, is not permanent: a mistake is tried again, and does not stop refreshing.
    """
    if isinstance(cause, _SPEAKING):
        with suppress(Exception):
            return cause.permanent is True, usable_retry_after(cause.retry_after)
    return False, None
