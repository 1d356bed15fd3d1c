"""What a credential tells about itself: the events for an observer, and a snapshot of its statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from .._common.public import public

if TYPE_CHECKING:
    from .schedule import TokenState


@dataclass(frozen=True)
class RefreshStarted:
    """The token source is about to be asked.

    Attributes:
        forced: Whether `refresh()` asked for it, rather than the schedule or a waiting `get_token()`.
    """

    forced: bool


@dataclass(frozen=True)
class RefreshSucceeded:
    """The token source gave a valid token.

    Attributes:
        expires_on: When the token that is now held ends, in Unix seconds.
        next_refresh_at: When the next refresh is due, in Unix seconds; None where refreshing waits for a caller.
        shared: Whether another process of a fleet has fetched it; see `fleet.shared()`.
    """

    expires_on: int
    next_refresh_at: float | None
    shared: bool = False


@dataclass(frozen=True)
class RefreshFailed:
    """The token source raised, took too long, or gave nothing valid.

    Attributes:
        error: What it raised.
        consecutive_failures: Failures in a row, this one included.
        permanent: Whether the source said that trying again cannot help.
        next_attempt_at: When the source will be asked again, in Unix seconds; on demand, with the first request after
            this time.
    """

    error: BaseException = field(repr=False)  # its text is somebody else's, and may quote a token
    consecutive_failures: int
    permanent: bool
    next_attempt_at: float


@dataclass(frozen=True)
class TokenExpired:
    """The held token ended before a newer one was there.

    Attributes:
        expires_on: When it ended, in Unix seconds.
    """

    expires_on: int


@dataclass(frozen=True)
class CredentialClosed:
    """The credential's block has ended or `close()` was called: the last event."""


CredentialEvent: TypeAlias = RefreshStarted | RefreshSucceeded | RefreshFailed | TokenExpired | CredentialClosed
"""What an observer is called with."""


@dataclass(frozen=True)
class CredentialStatistics:
    """A consistent snapshot of a credential.

    Attributes:
        state: Whether the held token is FRESH, STALE or EXPIRED. It is EXPIRED also without a token, and while the
            credential is closed.
        expires_on: When the held token ends, in Unix seconds; None without one. A closed credential keeps its token
            for the next time that it is entered.
        next_refresh_at: When the source will be asked next in the background, in Unix seconds; None where it will not.
        refreshes: Rounds that brought a valid token since the credential was made.
        failures: Rounds that failed since the credential was made.
        consecutive_failures: Rounds that failed since the last that succeeded.
        last_error: What the source raised in the last round; None when that succeeded.
        waiting: Tasks and threads that wait for a round at this moment.
        clock_offset: Seconds that this machine's clock was ahead of the service's when the last token came, negative
            where it was behind; None where no difference is known. It does not change how long the token lives.
        shared: How many of the refreshes were another process's fetch; see `fleet.shared()`.
    """

    state: TokenState
    expires_on: int | None
    next_refresh_at: float | None
    refreshes: int
    failures: int
    consecutive_failures: int
    last_error: BaseException | None = field(repr=False)
    waiting: int
    clock_offset: float | None = None
    shared: int = 0


public(CredentialClosed, CredentialStatistics, RefreshFailed, RefreshStarted, RefreshSucceeded, TokenExpired)
