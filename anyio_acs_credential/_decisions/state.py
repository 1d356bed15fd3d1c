"""What a credential holds, and what its past rounds mean for the next: decisions, without a single await.

The rules of this file:

* The token, its two deadlines and its refresh window are one immutable value, `Held`, which is replaced as a whole.
* The remaining life is the lesser of what the wall clock and the monotonic clock say, the latter from the moment of
  receipt. A wall clock that is set back cannot keep a token alive, and one that is set ahead ends it.
* An expiry is the service's time, and our clocks need not agree with the service's. So a token that says how long it
  lives is believed, and both of our clocks only measure what has passed since its receipt.
* A claims challenge that was not met concerns nobody but the callers who bring it: `unmet` keeps it, and the back-off
  and the last error of all other rounds stay as they are.
* A wait is kept as a point on the monotonic clock. A wait that was cut to end with the held token is over when the
  token is, whatever the monotonic clock says: it may have stood still while the machine slept.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final

from .._common.errors import TokenSourceError, explained
from .._tokens.access_token import AccessToken, hint_of_a_life, life_of
from .failures import Failure, UnmetChallenges, counted, latch, verdict
from .schedule import (
    NO_REMAINDER,
    RefreshPolicy,
    TokenState,
    backoff,
    due_at,
    no_progress_delay,
    retry_delay,
    stale_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .._common.redaction import Secret
    from .._tokens.clock import Clock
    from .events import CredentialStatistics

_KNOWN = 4  # newest tokens that are cut out of log lines: an error may quote one that was just rejected
_CALLER_PACE = 1.0  # seconds between rounds that callers start while there is nothing valid to hand out
_NOISE = 2.0  # seconds of difference that come from times in whole seconds alone
_REJECTED_YOUNG = 60.0  # seconds: a token that is rejected so soon after its receipt says that the next may be, too


class Held:
    """A token as it was received: its deadlines on both clocks, and when it is to be renewed.

    Args:
        token: The token.
        received: When it was received, in seconds of the monotonic clock.
        life: Seconds that it had to live then.
        ends: When it ends, in Unix seconds of our wall clock.
        window: Seconds of remaining life at which it is refreshed.
        stale: Seconds of remaining life at which callers wait for the next token.

    Attributes:
        fresh_until: The time on the wall clock until which callers get it at once.
        fresh_until_monotonic: The same on the monotonic clock.
        valid_until: The time on the wall clock until which any caller gets it.
        valid_until_monotonic: The same on the monotonic clock.
    """

    # Not a data class, whose import takes as long as all else in this module; and not a named tuple, whose fields take
    # twice as long to read.
    __slots__ = (
        "ends", "fresh_until", "fresh_until_monotonic", "life", "received", "token", "valid_until",
        "valid_until_monotonic", "window",
    )  # fmt: skip

    def __init__(
        self, token: AccessToken, *, received: float, life: float, ends: float, window: float, stale: float
    ) -> None:
        self.token: Final = token
        self.received: Final = received
        self.life: Final = life
        self.ends: Final = ends
        self.window: Final = window
        self.fresh_until: Final = ends - stale
        self.fresh_until_monotonic: Final = received + life - stale
        self.valid_until: Final = ends - NO_REMAINDER
        self.valid_until_monotonic: Final = received + life - NO_REMAINDER


class RefreshState:
    """The held token and the outcome of past rounds.

    Args:
        clock: The credential's clock.
        policy: The credential's policy.
        proactive: Whether tokens are refreshed in the background.
        fraction: A source of random numbers in [0, 1).
    """

    def __init__(
        self, clock: Clock, policy: RefreshPolicy, proactive: bool, fraction: Callable[[], float] = random.random
    ) -> None:
        self.clock = clock
        self.policy = policy
        self.proactive = proactive
        self.held: Held | None = None
        self.known: tuple[AccessToken, ...] = ()
        """The newest tokens that have been held, which no log line may show."""
        self.refreshes: int = 0
        self.failures: int = 0
        self.clock_offset: float | None = None
        """Seconds that our clock was ahead when the last token was received; None where no difference is known."""
        self.shared: int = 0
        self._fraction = fraction
        self.begin()

    def begin(self) -> None:
        """Forget every wait and failure in a row, as when the credential is entered."""
        self.streak: int = 0
        self.cause: BaseException | None = None
        self._retry_at = self._callers_at = self._reject_at = -math.inf
        self._ends_with_token = False
        self._rejections = 0
        self.unmet: UnmetChallenges = UnmetChallenges(self.clock, self.policy, self._fraction)

    def hold(self, token: AccessToken, most: float = math.inf) -> Held:
        """Replace the held token.

        Args:
            token: The token that takes its place.
            most: Seconds that it lives at most, whatever it says.
        """
        self.known = (token, *self.known)[:_KNOWN]
        left = min(self._life(token), most)
        now, life = self.clock.monotonic(), max(left, 0.0)
        # Where only the expiry is known, it is taken as it is: our time plus the difference to it would be rounded.
        plain = self.clock_offset is None and token.expires_in is None and left < most
        ends = token.expires_on if plain else self.clock.time() + left
        window, stale = due_at(life, self._fraction(), self.policy), stale_at(life, self.policy)
        self.held = Held(token, received=now, life=life, ends=ends, window=window, stale=stale)
        return self.held

    def _life(self, token: AccessToken) -> float:
        """Seconds that a token lives from now on. It also sets `clock_offset`.

        A token that another process fetched says nothing of our clock: it came by that process's clock as well.
        """
        life = life_of(token, self.clock)
        offset = life - (token.expires_on - self.clock.time())
        self.clock_offset = offset if abs(offset) > _NOISE and not token._is_shared else None
        return life

    def _most(self, token: AccessToken) -> float:
        """Seconds that a token lives at most: the held token, given once more, has what it had left and no more."""
        held = self.held
        return math.inf if held is None or token != held.token else held.received + held.life - self.clock.monotonic()

    def remaining(self) -> float:
        """R: the held token's remaining life in seconds; 0 without one, and from its last millisecond on."""
        if self.held is None:
            return 0.0
        held, time, monotonic = self.held, self.clock.time(), self.clock.monotonic()
        if time > held.valid_until or monotonic > held.valid_until_monotonic:
            return 0.0
        return min(held.ends - time, held.received + held.life - monotonic)

    def valid(self) -> AccessToken | None:
        """The held token, unless it has expired."""
        return self.held.token if self.held is not None and self.remaining() > 0 else None

    def token_state(self) -> TokenState:
        """How the held token stands now."""
        remaining = self.remaining()
        if self.held is None or remaining == 0:
            return TokenState.EXPIRED
        return TokenState.STALE if remaining <= stale_at(self.held.life, self.policy) else TokenState.FRESH

    def until_scheduled(self) -> float:
        """Seconds until the source is to be asked in the background; `math.inf` where that waits for a caller."""
        if not self.proactive:
            return math.inf
        due = self.remaining() - self.held.window if self.held is not None else 0.0
        return max(due, self.until_retry())

    def until_retry(self) -> float:
        """Seconds until the wait after the last round is over, its back-off or its latch."""
        return self._left(self._retry_at)

    def until_callers(self) -> float:
        """Seconds until a caller may start a round while no valid token is held."""
        return self._left(self._callers_at)

    def _left(self, moment: float) -> float:
        if self._ends_with_token and self.remaining() == 0:
            return 0.0
        return max(moment - self.clock.monotonic(), 0.0)

    def take(self, token: AccessToken, *, forced: bool, rejected: Collection[Secret]) -> AccessToken | TokenSourceError:
        """Replace the held token by the result of a round, if it may be replaced.

        Args:
            token: The result.
            forced: Whether `refresh()` asked for it: then it replaces the held token also where it ends earlier.
            rejected: The texts of tokens that services have rejected.

        Returns:
            The token that is held now; or the error of the round, whose result has expired or is a rejected token. The
            held token stays then.
        """
        most = self._most(token)
        life = min(self._life(token), most)
        if life < NO_REMAINDER:
            hint = hint_of_a_life(token.expires_on)
            return explained(
                "source-stale",
                TokenSourceError(f"the token source returned a token that has expired{hint}: let it fetch a new one"),
            )
        if any(token.token == each.value for each in rejected):
            return explained(
                "source-stale",
                TokenSourceError("the token source returned the token that was turned down: let it fetch a new one"),
            )
        remaining, held = self.remaining(), self.valid()
        # Lives are compared, not expiries: after the wall clock was set back, an expiry says less than the monotonic
        # clock. Expiries are whole seconds; half of one is for the clocks' own differences.
        newer = held is None or (token != held if forced else life > remaining + 0.5)
        if held is None or newer or (token.expires_on == held.expires_on and token != held):
            held = self.hold(token, most).token
        self.refreshes += 1
        self.shared += token._is_shared
        self.streak, self.cause = 0, None
        if forced:
            self.unmet.clear()  # a program refreshes after a new sign-in, which may meet them
        wait = self.policy.retry_initial if newer else no_progress_delay(remaining)
        self._wait(wait, _CALLER_PACE, ends_with_token=not newer)
        return held

    def fail(self, cause: BaseException, claims: str | None = None) -> Failure:
        """Count a failed round, and begin the wait after it.

        Args:
            cause: Why it failed.
            claims: The claims of the challenge that the round was for; None for a plain one.
        """
        self.failures += 1
        if claims is not None:
            return self.unmet.add(claims, cause)
        self.streak += 1
        self.cause = cause
        permanent, wish = verdict(cause)
        if permanent:
            self._wait(latch(cause), latch(cause), ends_with_token=False)
        else:
            remaining, life = self.remaining(), self.held.life if self.held is not None else 0.0
            failures = counted(cause, self.streak)
            wait = retry_delay(failures, remaining, life, wish, fraction=self._fraction(), policy=self.policy)
            self._wait(wait, max(_CALLER_PACE, wish or 0.0), ends_with_token=remaining > 0)
        return Failure(cause, self.streak, self._retry_at)

    def _wait(self, retry: float, callers: float, *, ends_with_token: bool) -> None:
        now = self.clock.monotonic()
        self._retry_at, self._callers_at, self._ends_with_token = now + retry, now + callers, ends_with_token

    def may_replace_rejected(self) -> bool:
        """Whether the held token, which a service has just rejected, may be replaced now. Counts the rejection if so.

        The first rejected token may always be replaced. Tokens that are rejected within a minute of their receipt, one
        after the other, are replaced at the pace of the back-off: a service that refuses every token must not cause a
        fetch at each request.
        """
        now = self.clock.monotonic()
        if self.held is None or now - self.held.received > _REJECTED_YOUNG:
            self._rejections = 0
        elif self._rejections and now < self._reject_at:
            return False
        self._rejections += 1
        self._reject_at = now + backoff(self._rejections, self.policy.retry_max, self._fraction(), self.policy)
        return True

    def statistics(self, *, closed: bool, refreshing: bool, waiting: int) -> CredentialStatistics:
        """A snapshot. The credential itself knows whether it is closed, whether its task runs, and how many wait."""
        from .events import CredentialStatistics

        return CredentialStatistics(
            state=TokenState.EXPIRED if closed else self.token_state(),
            expires_on=self.held.token.expires_on if self.held is not None else None,
            next_refresh_at=self.at(self.until_scheduled()) if refreshing else None,
            refreshes=self.refreshes,
            failures=self.failures,
            consecutive_failures=self.streak,
            last_error=self.cause,
            waiting=waiting,
            clock_offset=self.clock_offset,
            shared=self.shared,
        )

    def at(self, wait: float) -> float | None:
        """The time that lies `wait` seconds ahead, in Unix seconds; None where the wait is infinite."""
        return self.clock.time() + wait if math.isfinite(wait) else None
