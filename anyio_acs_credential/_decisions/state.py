"""What a credential holds, and what its past rounds mean for the next: decisions, without a single await.

The rules of this file:

* The token, its two deadlines and the moment of its renewal are one immutable value, `Held`, replaced as a whole.
* The remaining life is the lesser of what the wall clock and the monotonic clock say, the latter from the moment of
  receipt. A wall clock that is set back cannot keep a token alive, and one that is set ahead ends it.
* An expiry is the service's time, and our clocks need not agree with its. So the life at receipt is what the token says
  of it, where it says something; both of our clocks only measure what has passed since.
* A claims challenge that was not met is its challengers' alone: `unmet` keeps it, and plain tokens go on as before.
* A wait is kept as a point on the monotonic clock. One that was cut to end with the held token is over when the token
  is, whatever the monotonic clock says: it may have stood still while the machine slept.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final

from .._errors import TokenSourceError, explained
from .._tokens.access_token import AccessToken, ended, life_of
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

    from .._redaction import Secret
    from .._tokens.clock import Clock
    from .events import CredentialStatistics

_KNOWN = 4  # tokens that are cut out of the log: the held one, and what a service may just have turned down
_CALLER_PACE = 1.0  # seconds between rounds that callers start while there is nothing valid to hand out
_NOISE = 2.0  # seconds of difference that whole seconds make
_REJECTED_YOUNG = 60.0  # a token turned down so soon after its receipt says that the next may be, too


class Held:
    """A token as it was received: its deadlines on both clocks, and when it is to be renewed.

    Args:
        token: The token.
        received: When it was, on the monotonic clock.
        life: Seconds that it lived then.
        ends: When it ends, on our wall clock.
        window: The remaining life at which it is renewed.
        stale: The remaining life at which callers wait for the next.

    Attributes:
        fresh_until: Until when callers get it at once, on the wall clock; what ends in `_monotonic` is on the other.
        valid_until: Until when anybody gets it.
    """

    # No data class: to make one takes an import as long as all else in this module, and a named tuple's fields take a
    # read twice as long.
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
        clock: Where both times come from.
        policy: The windows and waits.
        proactive: Whether tokens are renewed without being asked for.
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
        """The newest tokens that were held, which no log line may show."""
        self.refreshes: int = 0
        self.failures: int = 0
        self.clock_offset: float | None = None
        """Seconds that our clock was ahead at the last receipt, where the token told."""
        self.shared: int = 0
        self._fraction = fraction
        self.begin()

    def begin(self) -> None:
        """Forget every wait, as when the credential is entered."""
        self.streak: int = 0
        self.cause: BaseException | None = None
        self._retry_at = self._callers_at = self._reject_at = -math.inf
        self._ends_with_token = False
        self._rejections = 0
        self.unmet: UnmetChallenges = UnmetChallenges(self.clock, self.policy, self._fraction)

    def hold(self, token: AccessToken, most: float = math.inf) -> Held:
        """Replace what is held.

        Args:
            token: What takes its place.
            most: Seconds that it lives at most, whatever it says.
        """
        self.known = (token, *self.known)[:_KNOWN]
        left = min(self._life(token), most)
        now, life = self.clock.monotonic(), max(left, 0.0)
        # Not our time and the difference to it again, where the token says no more than its expiry: that rounds.
        plain = self.clock_offset is None and token.expires_in is None and left < most
        ends = token.expires_on if plain else self.clock.time() + left
        window, stale = due_at(life, self._fraction(), self.policy), stale_at(life, self.policy)
        self.held = Held(token, received=now, life=life, ends=ends, window=window, stale=stale)
        return self.held

    def _life(self, token: AccessToken) -> float:
        """Seconds that a token lives from now on. Notes what it tells of our clock."""
        life = life_of(token, self.clock)
        offset = life - (token.expires_on - self.clock.time())
        self.clock_offset = offset if abs(offset) > _NOISE else None
        return life

    def _most(self, token: AccessToken) -> float:
        """Seconds that a token lives at most: the same again is no younger, whatever it says and our wall clock is."""
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
        """Seconds until the source is to be asked in the background; infinite where that waits for a caller."""
        if not self.proactive:
            return math.inf
        due = self.remaining() - self.held.window if self.held is not None else 0.0
        return max(due, self.until_retry())

    def until_retry(self) -> float:
        """Seconds until the wait after the last round is over."""
        return self._left(self._retry_at)

    def until_callers(self) -> float:
        """Seconds until a caller with nothing valid may start a round."""
        return self._left(self._callers_at)

    def _left(self, moment: float) -> float:
        if self._ends_with_token and self.remaining() == 0:
            return 0.0
        return max(moment - self.clock.monotonic(), 0.0)

    def take(self, token: AccessToken, *, forced: bool, rejected: Collection[Secret]) -> AccessToken | TokenSourceError:
        """Let the result of a round replace what is held, if it may.

        Returns:
            What is held now; or why the result was none: it has expired, or is a rejected one. What is held stays.
        """
        most = self._most(token)
        life = min(self._life(token), most)
        if life < NO_REMAINDER:
            hint = ended(token.expires_on)
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
            self.unmet.clear()  # the person may have signed in, with what was wanting
        wait = self.policy.retry_initial if newer else no_progress_delay(remaining)
        self._wait(wait, _CALLER_PACE, ends_with_token=not newer)
        return held

    def fail(self, cause: BaseException, claims: str | None = None) -> Failure:
        """Take note of a failed round.

        Args:
            cause: Why it failed.
            claims: Those of the challenge that it was to meet.
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
        """Whether the held token, which was just turned down, may be replaced now; counts it if so.

        The first time, always. Where tokens are turned down within a minute of their receipt one after the other, at
        the pace of the back-off: a service that refuses every token is not fed one a request.
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
        """A snapshot, with what only the credential knows: whether it is closed, its task runs, and how many wait."""
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
        """The wall-clock time that lies `wait` seconds ahead; None where that is never."""
        return self.clock.time() + wait if math.isfinite(wait) else None
