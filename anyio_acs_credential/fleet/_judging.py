"""What one process knows of its fleet, and which entries of the store answer it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._common.errors import ServiceError, SignInRequiredError, TokenSourceError
from .._common.redaction import Secret, redact
from .._decisions.failures import verdict
from .._decisions.schedule import RETRY_AFTER_CAP, RefreshPolicy, backoff, usable_retry_after
from .._tokens.access_token import life_of
from ._record import Failure, Kept, Record

if TYPE_CHECKING:
    from .._tokens.access_token import AccessToken
    from .._tokens.clock import Clock
    from ._record import SharedToken

POLICY = RefreshPolicy()
_LAST_SECONDS = 10.0  # seconds of life below which a process does not begin with a token from the store


class Found(NamedTuple):
    """What was in the store.

    Attributes:
        fence: The entry's fence; 0 where there was no entry.
        record: The entry's record; empty where there was no entry.
    """

    fence: int = 0
    record: Record = Record()


class Judge:
    """Decides which entries of the store count for this process, by what it has given to its credential so far."""

    def __init__(self) -> None:
        self.given: Secret = Secret("")
        """The text of the token that was given last. Whoever asks again wants another one."""
        self._expires_on = 0  # of the token that was given last
        self._fence = 0  # of that token's lease; of the last lease before it where it was fetched without one
        self._raised = 0  # the fence of the failure that was raised last
        self._is_alone = False  # whether that token was fetched without the store, whose tokens may then be older

    def token(self, found: Found, claims: str | None, now: float, elapsed: float | None = None) -> SharedToken | None:
        """The token in the store, if it is newer than the one given last and lives long enough; else None.

        The same text again is an answer as well, for as long as a process waits before it asks a source again that had
        nothing newer: the other processes need not ask for the same.

        Args:
            found: What is in the store.
            claims: The digest of the claims that the token has to meet, or None.
            now: Unix seconds.
            elapsed: Seconds since its lease, by the store's clock, where that is known.
        """
        kept = found.record.token
        if kept is None or kept.fence <= self._fence:
            return None
        if kept.text == self.given.value and (elapsed is None or elapsed > POLICY.retry_initial):
            return None
        if claims is not None and kept.claims != claims:
            return None
        if kept.left(now) < min(_LAST_SECONDS, kept.life / 10):
            return None
        return None if self._is_alone and kept.expires_on <= self._expires_on else kept.token(now)

    def failure(self, found: Found, claims: str | None, elapsed: float) -> TokenSourceError | None:
        """The failure in the store, if it answers this process; else None.

        Each failure is raised once in each process. A process asks again because the wait is over or because somebody
        called `refresh()`, and then the source is asked.

        Args:
            found: What is in the store.
            claims: The digest of the claims that are asked for, or None. A failure to meet a challenge answers only
                those who ask with the same claims.
            elapsed: Seconds since that failure's lease was taken, by the store's clock.
        """
        failure = found.record.failure
        if failure is None or found.fence <= self._raised or failure.claims not in (None, claims):
            return None
        left = min(failure.wait, RETRY_AFTER_CAP) - max(elapsed - failure.took, 0.0)
        return failure.error(left) if left > 0 else None

    def note_given(self, token: AccessToken, fence: int) -> None:
        """Take note of a token that is given to the credential.

        Args:
            token: The token.
            fence: Its lease's fence; 0 where it was fetched without a lease.
        """
        self.given, self._expires_on = Secret(token.token), token.expires_on
        # Not the greatest fence ever seen: a store that was emptied, and whose clock was set back, begins lower.
        self._fence, self._is_alone = fence or self._fence, fence == 0

    def note_raised(self, fence: int) -> None:
        """Take note of the failure that is raised to the credential.

        Args:
            fence: The fence of its lease.
        """
        self._raised = fence


def kept_of(token: AccessToken, fence: int, claims: str | None, clock: Clock) -> Kept:
    """A token in the form in which the store keeps it."""
    life, raw_id = life_of(token, clock), getattr(token, "raw_id", None)
    return Kept(token.token, token.expires_on, life, fence, claims, raw_id, clock.time())


def failure_of(
    error: Exception, before: Failure | None, claims: str | None, took: float, fraction: float, *secrets: str
) -> Failure:
    """A failure in the form in which the store keeps it.

    Args:
        error: What the source raised.
        before: The failure before it; None where the last round did not fail.
        claims: The digest of the claims that were asked for, or None.
        took: Seconds since the lease was taken.
        fraction: A random number in [0, 1), for the jitter of the back-off.
        secrets: Texts that the message must not show.
    """
    permanent, wish = verdict(error)
    plain = 0 if before is None else before.plain if before.claims is not None else before.streak
    challenged = before.streak if before is not None and before.claims == claims else 0
    streak = 1 + (plain if claims is None else challenged)
    wait = max(usable_retry_after(wish) or 0.0, backoff(streak, POLICY.retry_max, fraction, POLICY))
    return Failure(
        message=_text(error, secrets),
        wait=RETRY_AFTER_CAP if permanent else wait,
        took=took,
        streak=streak,
        claims=claims,
        plain=0 if claims is None else plain,
        permanent=permanent,
        kind=next((kind.__name__ for kind in (SignInRequiredError, ServiceError) if isinstance(error, kind)), ""),
        status_code=error.status_code if isinstance(error, ServiceError) else None,
        code=error.code if isinstance(error, ServiceError) else None,
        request_id=error.request_id if isinstance(error, ServiceError) else None,
    )


def _text(error: Exception, secrets: tuple[str, ...]) -> str:
    try:
        text = str(error) if isinstance(error, TokenSourceError) else f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - other people's exceptions may fail at being shown
        text = type(error).__name__
    return redact(text, *secrets)
