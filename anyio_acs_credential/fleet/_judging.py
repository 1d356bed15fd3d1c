"""What one process knows of its fleet, and which of what lies in the store is an answer for it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._decisions.failures import verdict
from .._decisions.schedule import RETRY_AFTER_CAP, RefreshPolicy, backoff, usable_retry_after
from .._errors import ServiceError, SignInRequiredError, TokenSourceError
from .._redaction import Secret, redact
from .._tokens.access_token import life_of
from ._record import Failure, Kept, Record

if TYPE_CHECKING:
    from .._tokens.access_token import AccessToken
    from .._tokens.clock import Clock
    from ._record import SharedToken

POLICY = RefreshPolicy()
_LAST_SECONDS = 10.0  # of a token's life, in which it is no use to a process that begins with it


class Found(NamedTuple):
    """What was in the store.

    Attributes:
        fence: That of the entry; 0 where there was none.
        record: The entry's.
    """

    fence: int = 0
    record: Record = Record()


class Judge:
    """Says what of a store's answers counts for this process, by what it has given to its credential."""

    def __init__(self) -> None:
        self.given: Secret = Secret("")
        """The text of the token that was given last: whoever asks wants another."""
        self._expires_on = 0
        self._fence = 0  # of that token's lease, or of the last one in which this process asked
        self._told = 0  # the fence of the failure that was raised last
        self._is_alone = False  # whether that token is not in the store, where older ones may seem newer

    def token(self, found: Found, claims: str | None, now: float, elapsed: float | None = None) -> SharedToken | None:
        """The token in the store, if it is newer than the one given last, and of use.

        The same text again is an answer as well, for as long as one process waits before it asks a source again that
        had nothing newer: the credential takes it for what it is, and the others need not ask for the same.

        Args:
            found: What is in the store.
            claims: The digest of those that it has to meet, if any.
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
        """The failure in the store, if it is an answer to this process.

        It is told to each process once. Who asks again does so because the wait is over, or because a person wants it
        tried now, and then it is tried.

        Args:
            found: What is in the store.
            claims: The digest of those that are asked for, if any. A challenge that was not met is nobody else's.
            elapsed: Seconds since the lease of that failure, by the store's clock.
        """
        failure = found.record.failure
        if failure is None or found.fence <= self._told or failure.claims not in (None, claims):
            return None
        left = min(failure.wait, RETRY_AFTER_CAP) - max(elapsed - failure.took, 0.0)
        return failure.error(left) if left > 0 else None

    def give(self, token: AccessToken, fence: int) -> None:
        """Take note of a token that is given to the credential.

        Args:
            token: The token.
            fence: That of its lease; 0 where it was fetched without one.
        """
        self.given, self._expires_on = Secret(token.token), token.expires_on
        # Not the greatest that was ever seen: a store that was emptied, and its clock set back, begins lower.
        self._fence, self._is_alone = fence or self._fence, fence == 0

    def tell(self, fence: int) -> None:
        """Take note of a failure that is raised."""
        self._told = fence


def kept_of(token: AccessToken, fence: int, claims: str | None, clock: Clock) -> Kept:
    """A token as it is kept."""
    life, raw_id = life_of(token, clock), getattr(token, "raw_id", None)
    return Kept(token.token, token.expires_on, life, fence, claims, raw_id, clock.time())


def failure_of(
    error: Exception, before: Failure | None, claims: str | None, took: float, fraction: float, *secrets: str
) -> Failure:
    """A failure as it is kept.

    Args:
        error: What the source raised.
        before: The failure before it, if the last round failed as well.
        claims: The digest of those that were asked for, if any.
        took: Seconds since the lease was taken.
        fraction: A random number in [0, 1).
        secrets: What the text must not show.
    """
    permanent, wish = verdict(error)
    streak = 1 if before is None else before.streak + 1
    wait = max(usable_retry_after(wish) or 0.0, backoff(streak, POLICY.retry_max, fraction, POLICY))
    return Failure(
        message=_text(error, secrets),
        wait=RETRY_AFTER_CAP if permanent else wait,
        took=took,
        streak=streak,
        claims=claims,
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
