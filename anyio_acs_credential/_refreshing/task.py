"""The one task that refreshes a token.

It knows no HTTP and no sign-in: a token source is a callable that is awaited. The rules of this file and of
`waiting`:

1. One task has the source asked, for no caller in particular: it runs in the context of the task that entered, under a
   shielded cancel scope that only closing cancels. The source has a task of its own for the length of a round, so that
   what it leaves behind ends there. Callers wait on an event, and no cancellation or timeout of theirs reaches a round.
2. The source is asked under the lock alone, after a second look at whether a round is still wanted. Only one task takes
   the lock today: both are there for whoever adds another. The second look keeps that one from asking anew for what the
   first has just brought.
3. A `Round` is used once. Its event is set last: the token, the next round, the log line and the observer's event are
   in place before anybody wakes. Events are replaced, never reset.
4. Whatever the source does fails its round at most. Only what ends a program leaves the task, whether the source or an
   observer raised it, and those who wait get `CredentialClosedError` then.
5. Each waiter gets an exception of its own: one object raised in many tasks would grow its traceback without end.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, Event, Lock, current_time, get_cancelled_exc_class, move_on_after

from .._common.errors import CredentialClosedError
from .._decisions.failures import verdict
from .._decisions.schedule import NO_REMAINDER, SLICE
from .._loops.home import Home
from .._tokens.access_token import AccessToken, life_of
from .._tokens.clock_warning import TOLERANCE
from .round import Round, wake
from .source import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._decisions.state import Held, RefreshState
    from .._tokens.token_source import TokenSource
    from .report import Reporter


class RefreshTask:
    """The refresh task of one entered credential.

    Args:
        source: The token source.
        state: The held token, and when the next round is due.
        reporter: Where events go.
        publish: Called with each token that is held from then on, and with None at the end.
    """

    def __init__(
        self,
        source: TokenSource,
        state: RefreshState,
        reporter: Reporter,
        publish: Callable[[Held | None], None],
    ) -> None:
        self.scope: Final = CancelScope(shield=True)
        self.round: Round = Round()
        self._changed: Event | None = None
        self.closed: bool = False
        self.crash: BaseException | None = None  # the exception that ended the task, unless closing did
        self._source = source
        self.state = state
        self._reporter = reporter
        self._publish = publish
        self.home: Final[Home] = Home(
            "credential",
            "the credential was entered in another event loop; from other threads use get_token_from_thread(), "
            "and in a second event loop enter a credential of its own",
        )
        self._lock = Lock()
        self._wake = Event()
        self._seen_expired: Held | None = None

    async def run(self) -> None:
        """Refresh the token until the task is closed."""
        try:
            with self.scope:
                while True:
                    await self._pause()
                    async with self._lock:
                        if self._delay() < NO_REMAINDER:
                            await self._renew()
        except get_cancelled_exc_class():  # noqa: ASYNC103 - not a scope's: asyncio's own Task.cancel() ends the task
            self._reporter.cancelled()
        except BaseException as error:
            self.crash = error
            raise
        finally:
            self.close()

    async def _pause(self) -> None:
        while True:
            # A request sets the event that stands here. The event is replaced before the observer is told of an expiry,
            # since an observer may ask for a round. Nothing may be awaited from `_delay()` until `wait()`: a request
            # that came in between would set an event on which nobody waits any more.
            delay, self._wake = self._delay(), Event()
            self._tell_expiry()  # after `_delay()`: a token that ends in between is reported now, not a slice later
            if delay < NO_REMAINDER:
                return
            with move_on_after(min(delay, SLICE)):
                await self._wake.wait()

    def _delay(self) -> float:
        """Seconds until there is something to do, by both clocks as they stand now."""
        if self.closed:
            return inf
        state = self.state
        delay = state.until_scheduled()
        if self.round.forced:
            delay = 0.0
        elif self.round.requested:
            delay = min(delay, state.until_callers() if state.remaining() == 0 else state.until_retry())
        remaining = state.remaining()
        return min(delay, remaining) if remaining > 0 else delay  # the expiry is an event to report

    def _tell_expiry(self) -> None:
        state = self.state
        if self.closed:
            return
        if state.held is not None and state.held is not self._seen_expired and state.remaining() == 0:
            self._seen_expired = state.held
            self._reporter.expired(state.held.token.expires_on, unrenewed=state.proactive or state.cause is not None)

    async def _renew(self) -> None:
        current, began = self.round, current_time()
        current.begin(began)
        self._reporter.started(current.forced)
        clock, limit = self.state.clock, self.state.policy.refresh_timeout
        ahead = clock.time() - clock.monotonic()
        outcome = await self._ask(current, limit)
        if clock.time() - clock.monotonic() - ahead > TOLERANCE and self._is_in_vain(outcome):
            # The clock was set ahead in between, or the machine slept, so that a token seems to have ended or an answer
            # was lost. The source is asked once more at once, which spares those who wait the error.
            outcome = await self._ask(current, max(began + limit - current_time(), 0.0))
        if not self.closed:
            self._settle(current, outcome)

    async def _ask(self, current: Round, limit: float) -> AccessToken | BaseException:
        return await ask(self._source, limit, self.scope, current, self.state.clock)

    def _is_in_vain(self, outcome: AccessToken | BaseException) -> bool:
        if isinstance(outcome, AccessToken):
            return life_of(outcome, self.state.clock) < NO_REMAINDER
        return not verdict(outcome)[0]

    def _settle(self, current: Round, outcome: AccessToken | BaseException) -> None:
        self._tell_expiry()
        before, shared = self.state.held, False
        if isinstance(outcome, AccessToken):
            shared = outcome._is_shared
            outcome = self.state.take(outcome, forced=current.forced, rejected=current.rejected)
        if isinstance(outcome, AccessToken):
            report = partial(self._reporter.succeeded, self.state, outcome.expires_on, shared=shared)
        else:
            current.fail(outcome)
            failure = self.state.fail(outcome, current.claims)
            report = partial(self._reporter.failed, self.state, failure, challenge=current.claims is not None)
        self.round = Round()
        if self.state.held is not before:
            self._publish(self.state.held)
            self._announce()
        try:
            report()
        finally:
            current.end()

    def _announce(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            wake(changed)

    async def wait_for_change(self) -> None:
        """Wait until another token is held, or the task is closed."""
        self.home.check()
        if self._changed is None:
            self._changed = Event()
        await self._changed.wait()

    def close(self) -> None:
        """End refreshing: cancel the task and wake everybody who waits. Doing it again does nothing."""
        self.scope.cancel("the credential is closing")
        if self.closed:
            return
        self.closed = True
        self._publish(None)
        self.round.fail(CredentialClosedError())  # a mark: each waiter sees `closed`, and raises an error of its own
        self.round.end()
        self._announce()
        self._reporter.closed()

    def request(self, asked: Round) -> None:
        """Have the round made, now or once the wait after the last one allows it."""
        asked.requested = True
        self._wake.set()
