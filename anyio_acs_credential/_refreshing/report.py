"""What a refresh task says: events for the observer and lines for the log, neither of which can stop it."""

from __future__ import annotations

import logging
from contextlib import suppress
from contextvars import copy_context
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .._common.chains import cut_repeats
from .._common.redaction import redact
from .._decisions.events import CredentialClosed, RefreshFailed, RefreshStarted, RefreshSucceeded, TokenExpired
from .._decisions.failures import verdict
from .._loops.cancellation import ends_program
from .._tokens.clock_warning import TOLERANCE, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._decisions.events import CredentialEvent
    from .._decisions.failures import Failure
    from .._decisions.state import RefreshState

_logger = logging.getLogger("anyio_acs_credential")


class Reporter:
    """Tells an observer and the log, in order, what happens to a credential.

    Each log line also has fields for programs, as attributes of its `logging.LogRecord`: `acs_event`, the kind of line,
    and others that begin with `acs_`. Times are in Unix seconds.

    Args:
        observer: Called with each event. What it raises is logged, and the refresh goes on.
        secrets: Gives the texts that are cut out of the messages of other people's exceptions.
    """

    def __init__(
        self, observer: Callable[[CredentialEvent], object] | None, secrets: Callable[[], Iterable[str]]
    ) -> None:
        self._observer = observer
        self._context = copy_context()  # of the task that enters, also where another one closes
        self._secrets = secrets
        self._streak = 0
        self._clock_wrong = False

    def started(self, forced: bool) -> None:
        """The source is about to be asked."""
        self._emit(RefreshStarted(forced))

    def succeeded(self, state: RefreshState, expires_on: int, *, shared: bool) -> None:
        """A round has brought a token; the one that is held now ends at `expires_on`."""
        if self._streak:
            message = "access token renewed after %d failed attempts; it ends at %s"
            extra = {"acs_event": "refresh_recovered", "acs_failures": self._streak, "acs_expires_on": expires_on}
            self._log(logging.INFO, extra, message, self._streak, _iso(expires_on))
        self._streak = 0
        self._tell_clock(state.clock_offset)
        self._emit(RefreshSucceeded(expires_on, state.at(state.until_scheduled()), shared))

    def _tell_clock(self, offset: float | None) -> None:
        wrong = offset is not None and abs(offset) > TOLERANCE
        if wrong or self._clock_wrong:  # a source that has not found the clock wrong does not call it right either
            tell("a token source", offset)
        self._clock_wrong = wrong

    def failed(self, state: RefreshState, failure: Failure, *, challenge: bool = False) -> None:
        """A round has failed. `challenge`: it was for a claims challenge, and says nothing of plain rounds."""
        cause, streak, until = failure
        next_attempt_at = state.clock.time() + max(0.0, until - state.clock.monotonic())
        if not challenge:
            self._streak = streak
        what = "claims challenge was not met" if challenge else "access token refresh failed"
        permanent = verdict(cause)[0]
        self._log(
            logging.WARNING if streak == 1 else logging.DEBUG,
            {
                "acs_event": "refresh_failed",
                "acs_error_type": type(cause).__name__,
                "acs_failures": streak,
                "acs_permanent": permanent,
                "acs_next_attempt_at": next_attempt_at,
            },
            "%s (%s); next attempt at %s",
            what,
            self._describe(cause),
            _iso(next_attempt_at),
        )
        self._emit(RefreshFailed(cause, streak, permanent, next_attempt_at))

    def expired(self, expires_on: int, unrenewed: bool) -> None:
        """The held token has ended. `unrenewed`: it should have been replaced before."""
        if unrenewed:
            message = "the access token expired unrenewed at %s; callers wait for the next"
            extra = {"acs_event": "token_expired", "acs_expires_on": expires_on}
            self._log(logging.WARNING, extra, message, _iso(expires_on))
        self._emit(TokenExpired(expires_on))

    def cancelled(self) -> None:
        """The refresh task has been cancelled from outside the credential."""
        message = "the refresh task was cancelled by Task.cancel(); the credential is closed"
        self._log(logging.WARNING, {"acs_event": "refresh_cancelled"}, message)

    def closed(self) -> None:
        """The credential has closed."""
        self._emit(CredentialClosed())

    def _emit(self, event: CredentialEvent) -> None:
        if self._observer is None:
            return
        try:
            self._context.run(self._observer, event)
        except BaseException as error:  # noqa: ASYNC103 - no cancellation that comes out of a plain function is ours
            if ends_program(error):
                raise
            cut_repeats(error)
            extra = {"acs_event": "observer_failed", "acs_error_type": type(error).__name__}
            message = "the observer raised at %s: %s"
            self._log(logging.ERROR, extra, message, type(event).__name__, self._describe(error))

    def _describe(self, error: BaseException) -> str:
        try:
            text = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 - other people's exceptions may fail at being shown
            text = "an exception that cannot be shown"
        return redact(text, *self._secrets())

    def _log(self, level: int, extra: Mapping[str, object], message: str, *args: object) -> None:
        with suppress(Exception):  # a log handler that raises must not end the refreshing
            _logger.log(level, message, *args, extra=extra)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
