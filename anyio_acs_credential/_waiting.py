"""Waiting for the refresh task: what callers get, and when. Nothing here asks the source."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from anyio import RunFinishedError, fail_after, move_on_after
from anyio.lowlevel import checkpoint

from ._errors import (
    CredentialClosedError,
    CredentialError,
    CredentialNotEnteredError,
    CredentialUsageError,
    TokenRefreshError,
    TokenUnavailableError,
    explained,
)
from ._schedule import TokenState
from ._state import verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.lowlevel import EventLoopToken

    from ._refresh import RefreshTask
    from ._round import Round
    from ._state import RefreshState
    from ._token import AccessToken

__all__ = (
    "closed_error",
    "join",
    "unavailable_error",
    "wait_for_claims",
    "wait_for_refresh",
    "wait_for_token",
    "wait_in_thread",
)


async def wait_for_token(task: RefreshTask) -> AccessToken:
    """The held token, after a wait for a newer one where its state asks for that.

    Raises:
        TokenRefreshError: when none is valid and the round failed, or one failed too short a time ago.
        CredentialClosedError: when the credential closes meanwhile.
        CredentialUsageError: when called in another event loop, or by the source itself.
    """
    task.check_loop()
    state = task.state
    while True:
        asked, cause = task.round, state.cause
        patience = _patience(state, asked)
        if patience is None:
            await checkpoint()
            if (token := state.valid()) is not None:
                return token
        elif patience == inf and asked.began is None and cause is not None and state.until_callers() > 0:
            await checkpoint()
            if state.valid() is None:  # else one came meanwhile, or the wall clock was set back
                raise _error(cause)
        else:
            await join(task, asked, patience)
            if (token := state.valid()) is not None and asked.is_answered:
                return token
            if asked.cause is not None and token is None:
                raise _error(asked.cause)
            if task.closed:
                raise closed_error()


def _patience(state: RefreshState, asked: Round) -> float | None:
    """Seconds that `get_token()` waits for the round; None where it has something to hand out instead."""
    now = state.token_state()
    if now is TokenState.EXPIRED:
        return inf
    if now is TokenState.FRESH or (asked.began is None and state.until_retry() > 0):
        return None
    if asked.began is None:
        return state.policy.on_demand_wait
    left = asked.began + state.policy.on_demand_wait - state.clock.monotonic()
    return left if left > 0 else None


async def wait_for_refresh(task: RefreshTask, rejected: str | None = None) -> AccessToken:
    """The token of a round made now, or of the one in flight.

    Args:
        task: The refresh task.
        rejected: The text of a token that a service turned down.

    Raises:
        TokenRefreshError: when the round failed, or a rejected token may not be replaced yet.
        CredentialClosedError: when the credential closes meanwhile.
        CredentialUsageError: when called in another event loop, or by the source itself.
    """
    task.check_loop()
    asked = task.round
    if rejected is not None:
        held = task.state.valid()
        if held is None or held.token != rejected:
            await checkpoint()
            return task.state.valid() or await wait_for_token(task)
        if asked.began is None and not asked.forced:
            _check_backoff(task.state)
            _check_pace(task.state)
        asked.rejected.add(rejected)
    return await _join_forced(task, asked)


async def wait_for_claims(task: RefreshTask, claims: str) -> AccessToken:
    """The token of a round whose source is given the claims of a challenge; one in flight with the same is joined.

    Raises:
        TokenRefreshError: when the round failed, or may not be made yet, as for a rejected token.
        CredentialClosedError: when the credential closes meanwhile.
        CredentialUsageError: when called in another event loop, or by the source itself.
    """
    task.check_loop()
    waited = False
    while (asked := task.round).claims != claims and (asked.began is not None or asked.claims is not None):
        await join(task, asked, inf)  # it answers another question
        waited = True
        if task.closed:
            raise closed_error()
    if asked.began is None and not asked.forced:
        _check_backoff(task.state)
        if not waited:
            _check_pace(task.state)
    asked.claims = claims
    return await _join_forced(task, asked)


async def _join_forced(task: RefreshTask, asked: Round) -> AccessToken:
    asked.forced = True
    await join(task, asked, inf)
    if asked.cause is not None:
        raise _error(asked.cause)
    # What the round brought may have ended before this task had its turn.
    return task.state.valid() or await wait_for_token(task)


def wait_in_thread(
    loop: EventLoopToken, get_token: Callable[[], Awaitable[AccessToken]], timeout: float | None
) -> AccessToken:
    """Have the event loop wait for a token, while this thread waits for the event loop.

    Raises:
        TimeoutError: when the time is up.
        CredentialClosedError: when the event loop has ended.
    """
    from anyio import from_thread

    async def get_within_time() -> AccessToken:
        with fail_after(timeout):
            return await get_token()

    try:
        return from_thread.run(get_within_time, token=loop)
    except RunFinishedError:
        raise closed_error() from None


def _check_backoff(state: RefreshState) -> None:
    if state.cause is not None and state.until_retry() > 0:
        raise _error(state.cause)


def _check_pace(state: RefreshState) -> None:
    if not state.may_replace_rejected():
        raise TokenRefreshError(
            explained(
                "rejected-at-once",
                "the service turns tokens down as soon as they are fetched, so the next is not fetched at once; "
                "see why it refuses them (its answer's body, the token's scopes)",
            )
        )


async def join(task: RefreshTask, asked: Round, patience: float) -> None:
    """Have a round made, and wait until it is over or the patience is."""
    if asked.is_asking:
        raise CredentialUsageError(
            explained(
                "own-source",
                "the token source asked its own credential for a token, which would wait for itself; "
                "give the source a credential of its own, or none",
            )
        )
    task.request(asked)
    if patience == inf:
        await asked.done().wait()
    else:
        with move_on_after(patience):
            await asked.done().wait()


def _error(cause: BaseException) -> CredentialError:
    """A new exception for one waiter."""
    if isinstance(cause, CredentialClosedError):
        return closed_error()
    permanent, retry_after = verdict(cause)
    advice = "mend that and call refresh()" if permanent else "it is tried again at the next request"
    error = TokenRefreshError(
        explained(
            "refresh-failed", f"no access token could be fetched ({type(cause).__name__}, see __cause__); {advice}"
        ),
        permanent=permanent,
        retry_after=retry_after,
    )
    error.__cause__ = cause
    return error


def closed_error() -> CredentialClosedError:
    """What callers of a closed credential get."""
    return CredentialClosedError(
        explained("closed", "the credential is closed; use it inside its `async with` block, or enter it again")
    )


def unavailable_error(*, closed: bool, refreshes: bool, entered: bool) -> CredentialError:
    """What callers get of a credential that has no valid token for them."""
    if closed:
        return closed_error()
    if not refreshes:
        return TokenUnavailableError(
            explained(
                "static-expired",
                "the static access token has expired: make a credential with a newer one, or with a token_refresher",
            )
        )
    if not entered:
        return CredentialNotEnteredError(
            explained(
                "not-entered",
                "the credential renews its token only inside its block: use `async with credential:` first, and open "
                "it once, where the program starts, such as a web framework's lifespan",
            )
        )
    return TokenUnavailableError(
        explained("token-unavailable", "no valid access token is held at this moment: await get_token() for one")
    )
