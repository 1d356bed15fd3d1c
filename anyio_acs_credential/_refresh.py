"""The one task that renews a token, and the ways to wait for it.

It knows no HTTP and no sign-in: a token source is a callable that is awaited. The rules of this file:

1. One task asks the source, and it is nobody's caller: it runs in the context of the task that entered, under a
   shielded cancel scope that only closing cancels. Callers wait on an event; what happens to them stays with them.
2. The source is entered under the lock, after a second look at whether a round is still wanted.
3. A `Round` is used once. Its event is set last: the token, the next round, the log line and the observer's event are
   in place before anybody wakes. Events are replaced, never reset.
4. Whatever the source does fails its round at most. What must leave the task (see `_source.ask`) leaves it, and
   whoever waits is told that the credential is closed.
5. Each waiter gets an exception of its own: one object raised in many tasks would grow its traceback without end.
"""

from __future__ import annotations

from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, Event, Lock, move_on_after
from anyio.lowlevel import checkpoint, current_token

from ._errors import CredentialClosedError, CredentialError, CredentialUsageError, TokenRefreshError, TokenSourceError
from ._schedule import NO_REMAINDER, SLICE, TokenState
from ._source import ask
from ._state import is_permanent
from ._token import AccessToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._report import Reporter
    from ._source import TokenRefresher
    from ._state import Held, RefreshState

__all__ = ("RefreshTask", "Round")


class Round:
    """One question to the source, asked once, and its answer for all who wait."""

    __slots__ = ("_done", "began", "cause", "forced", "over", "rejected", "requested")

    def __init__(self) -> None:
        self.requested = False
        self.forced = False
        self.rejected: set[str] = set()
        self.began: float | None = None  # on the monotonic clock
        self.cause: BaseException | None = None  # why it brought no token
        self.over = False
        self._done: Event | None = None  # made for the first who waits: most rounds have nobody

    async def wait(self) -> None:
        """Wait until the round is over."""
        if self.over:
            return
        if self._done is None:
            self._done = Event()
        await self._done.wait()

    def end(self) -> None:
        """Wake all who wait."""
        self.over = True
        if self._done is not None:
            self._done.set()

    @property
    def waiting(self) -> int:
        """Tasks that wait."""
        return self._done.statistics().tasks_waiting if self._done is not None else 0


_asking: ContextVar[Round | None] = ContextVar("anyio_acs_credential.asking", default=None)
"""The round that the running code is the source of, in whatever task or thread the source has started."""


class RefreshTask:
    """The refresh task of one entered credential.

    Args:
        refresher: The token source.
        state: What is held and what is due.
        reporter: Where events go.
        publish: Called with what is held whenever that changes, and with None at the end.
    """

    def __init__(
        self,
        refresher: TokenRefresher,
        state: RefreshState,
        reporter: Reporter,
        publish: Callable[[Held | None], None],
    ) -> None:
        self.scope: Final = CancelScope(shield=True)
        self.round = Round()
        self._published: Event | None = None
        self.closed = False
        self.crash: BaseException | None = None  # what ended the task, where it was not closing
        self._refresher = refresher
        self._state = state
        self._reporter = reporter
        self._publish = publish
        self.loop = current_token()
        self._lock = Lock()
        self._wake = Event()
        self._seen_expired: Held | None = None

    async def run(self) -> None:
        """Renew the token until the task is closed."""
        try:
            with self.scope:
                while True:
                    await self._pause()
                    async with self._lock:
                        if self._delay() < NO_REMAINDER:
                            await self._renew()
        except BaseException as error:
            self.crash = error
            raise
        finally:
            self.close()

    async def _pause(self) -> None:
        while (delay := self._delay()) >= NO_REMAINDER:
            self._wake = Event()
            with move_on_after(min(delay, SLICE)):
                await self._wake.wait()

    def _delay(self) -> float:
        """Seconds until there is something to do, by both clocks as they stand now."""
        state = self._state
        delay = state.until_scheduled()
        if self.round.forced:
            delay = 0.0
        elif self.round.requested:
            delay = min(delay, state.until_callers() if state.remaining() == 0 else 0.0)
        if (remaining := state.remaining()) > 0:
            return min(delay, remaining)  # the expiry is something to tell
        if state.held is not None and self._seen_expired is not state.held:
            self._seen_expired = state.held
            self._reporter.expired(state.held.token.expires_on, unrenewed=state.proactive or state.cause is not None)
        return delay

    async def _renew(self) -> None:
        asked = self.round
        asked.began = self._state.clock.monotonic()
        self._reporter.started(asked.forced)
        _asking.set(asked)
        outcome = await ask(self._refresher, self._state.policy.refresh_timeout, self.scope)
        if not self.closed:
            self._settle(asked, outcome)

    def _settle(self, asked: Round, outcome: AccessToken | BaseException) -> None:
        before = self._state.held
        if isinstance(outcome, AccessToken):
            try:
                self._state.take(outcome, forced=asked.forced, rejected=asked.rejected)
            except TokenSourceError as error:
                outcome = error
        if isinstance(outcome, BaseException):
            asked.cause = outcome
            self._state.fail(outcome)
        self.round = Round()
        if self._state.held is not before:
            self._publish(self._state.held)
            self._announce()
        try:
            self._reporter.finished(self._state)
        finally:
            asked.end()

    def _announce(self) -> None:
        published, self._published = self._published, None
        if published is not None:
            published.set()

    async def publication(self) -> None:
        """Wait until another token is held, or the task is closed."""
        self.check_loop()
        if self._published is None:
            self._published = Event()
        await self._published.wait()

    def close(self) -> None:
        """End refreshing: cancel the task and wake everybody who waits. Doing it again does nothing."""
        if self.closed:
            return
        self.closed = True
        self.scope.cancel("the credential is closing")
        self._publish(None)
        self.round.cause = CredentialClosedError()
        self.round.end()
        self._announce()
        self._reporter.closed()

    async def token(self) -> AccessToken:
        """The held token, after a wait for a newer one where its state asks for that.

        Raises:
            TokenRefreshError: when none is valid and the round failed, or one failed too short a time ago.
            CredentialClosedError: when the credential closes meanwhile.
            CredentialUsageError: when called in another event loop, or by the source itself.
        """
        self.check_loop()
        yielded = False
        while True:
            asked = self.round
            patience = self._patience(asked)
            if patience <= 0:
                if not yielded:
                    await checkpoint()
                    yielded = True
                if (token := self._state.valid()) is not None:
                    return token
            elif patience == inf and asked.began is None and self._state.cause and self._state.until_callers() > 0:
                await checkpoint()
                raise self.error(self._state.cause)
            else:
                await self._join(asked, patience)
                yielded = True
                if asked.cause is not None and (self.closed or self._state.valid() is None):
                    raise self.error(asked.cause)

    def _patience(self, asked: Round) -> float:
        """Seconds that `get_token()` waits for the round; none where it has something to hand out instead."""
        match self._state.token_state():
            case TokenState.FRESH:
                return 0.0
            case TokenState.STALE if asked.began is not None:
                return asked.began + self._state.policy.on_demand_wait - self._state.clock.monotonic()
            case TokenState.STALE:
                return 0.0 if self._state.until_retry() > 0 else self._state.policy.on_demand_wait
            case TokenState.EXPIRED:
                return inf

    async def refresh(self, rejected: str | None = None) -> AccessToken:
        """The token of a round made now, or of the one in flight.

        Raises:
            TokenRefreshError: when the round failed, or a rejected token may not be replaced yet.
            CredentialClosedError: when the credential closes meanwhile.
            CredentialUsageError: when called in another event loop, or by the source itself.
        """
        self.check_loop()
        asked = self.round
        if rejected is not None:
            valid = self._state.valid()
            if valid is None or valid.token != rejected:
                return await self.token()
            if asked.began is None and not asked.forced:
                self._check_replaceable()
            asked.rejected.add(rejected)
        asked.forced = True
        await self._join(asked, inf)
        if asked.cause is None and (token := self._state.valid()) is not None:
            return token
        raise self.error(asked.cause)

    def _check_replaceable(self) -> None:
        if self._state.cause is not None and self._state.until_retry() > 0:
            raise self.error(self._state.cause)
        if not self._state.may_replace_rejected():
            raise TokenRefreshError(
                "the service turns tokens down as soon as they are fetched, so the next is not fetched at once; "
                "see why it refuses them (its answer's body, the token's scopes)"
            )

    async def _join(self, asked: Round, patience: float) -> None:
        if _asking.get() is asked:
            raise CredentialUsageError(
                "the token source asked its own credential for a token, which would wait for itself; "
                "give the source a credential of its own, or none"
            )
        asked.requested = True
        self._wake.set()
        if patience == inf:
            await asked.wait()
        else:
            with move_on_after(patience):
                await asked.wait()

    def check_loop(self) -> None:
        """Refuse to wait in another event loop than the one that the task runs in.

        Raises:
            CredentialUsageError: when called in another one.
        """
        if current_token() != self.loop:
            raise CredentialUsageError(
                "the credential was entered in another event loop; from other threads use get_token_from_thread(), "
                "and in a second event loop enter a credential of its own"
            )

    def error(self, cause: BaseException | None) -> CredentialError:
        """A new exception for one waiter."""
        if isinstance(cause, CredentialClosedError):
            return closed_error()
        permanent = cause is not None and is_permanent(cause)
        retry_after = cause.retry_after if isinstance(cause, TokenSourceError | TokenRefreshError) else None
        advice = "mend that and call refresh()" if permanent else "it is tried again at the next request"
        error = TokenRefreshError(
            f"no access token could be fetched ({type(cause).__name__}, see __cause__); {advice}",
            permanent=permanent,
            retry_after=retry_after,
        )
        error.__cause__ = cause
        return error


def closed_error() -> CredentialClosedError:
    """What callers of a closed credential get."""
    return CredentialClosedError("the credential is closed; use it inside its `async with` block, or enter it again")
