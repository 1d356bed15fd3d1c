"""Waiting for the refresh task: what callers get, and when. Nothing here asks the source."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from anyio import move_on_after
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from .._common.errors import (
    CredentialClosedError,
    CredentialError,
    CredentialNotEnteredError,
    TokenRefreshError,
    TokenUnavailableError,
    explained,
)
from .._decisions.failures import verdict
from .._decisions.schedule import TokenState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._common.redaction import Secret
    from .._decisions.state import RefreshState
    from .._tokens.access_token import AccessToken
    from .round import Round
    from .task import RefreshTask


async def wait_for_token(task: RefreshTask) -> AccessToken:
    """The held token, after a wait for a newer one where it is STALE or EXPIRED.

    Raises:
        TokenRefreshError: when no token is valid and the round failed, or the last one failed too short a time ago.
        CredentialClosedError: when the credential closes meanwhile.
        CredentialUsageError: when called in another event loop, or by the source itself.
    """
    task.home.check()
    await checkpoint()
    while True:
        asked, found = task.round, look(task)
        if isinstance(found, float | int):
            asked.refuse_its_source()
            await join(task, asked, found)
            answer = answer_of(task, asked)
        else:
            answer = found
        if isinstance(answer, CredentialError):
            raise answer
        if answer is not None:
            return answer


def look(task: RefreshTask) -> AccessToken | CredentialError | float:
    """What `get_token()` gives now, or the seconds that it waits for the round that is next or in flight."""
    if task.closed:
        return closed_error()
    state, asked = task.state, task.round
    token = state.valid()
    if token is None:
        if asked.began is None and state.cause is not None and state.until_callers() > 0:
            return refresh_error(state.cause)
        return inf
    if state.token_state() is TokenState.FRESH or (asked.began is None and state.until_retry() > 0):
        return token
    if asked.began is None:
        return state.policy.on_demand_wait  # a wait of 0 starts the round, too
    left = asked.began + state.policy.on_demand_wait - task.home.time()
    return left if left > 0 else token


def answer_of(task: RefreshTask, asked: Round) -> AccessToken | CredentialError | None:
    """What `get_token()` gives after it has waited for a round; None where it has to look again."""
    if task.closed:
        return closed_error()
    if (token := task.state.valid()) is not None:
        return token
    # A failed challenge concerns only the callers who brought it.
    return refresh_error(asked.cause) if asked.cause is not None and asked.claims is None else None


async def join_each(task: RefreshTask, rounds: Iterator[Round]) -> AccessToken:
    """The token after all the rounds that `rounds_for_refresh()` or `rounds_for_claims()` has asked for.

    Raises:
        TokenRefreshError: when the round failed, or may not be made yet.
        CredentialClosedError: when the credential closes meanwhile.
        CredentialUsageError: when called in another event loop, or by the source itself.
    """
    task.home.check()
    await checkpoint_if_cancelled()
    asked = None
    for asked in rounds:
        await join(task, asked, inf)
    if asked is None:
        await checkpoint()
    # What the round brought may have ended before this task had its turn.
    return task.state.valid() or await wait_for_token(task)


def rounds_for_refresh(task: RefreshTask, rejected: Secret | None = None) -> Iterator[Round]:
    """Have a round made now, or use the one in flight, and give what the caller has to wait for, one after the other.

    Args:
        task: The refresh task.
        rejected: The text of a token that a service turned down. Where another is held by now, no round is made.

    Raises:
        TokenRefreshError: when the round failed, or a rejected token may not be replaced yet.
        CredentialClosedError: when the credential closes meanwhile.
        CredentialUsageError: when the source itself asks.
    """
    asked = task.round
    if rejected is not None:
        held = task.state.valid()
        if held is None or held.token != rejected.value:
            return
        asked.refuse_its_source()
        if asked.began is None and not asked.forced:
            _check_backoff(task.state)
            _check_pace(task.state)
    while True:
        asked.refuse_its_source()
        asked.force(rejected=rejected)
        yield asked
        if asked.cause is None or asked.claims is None or task.closed:
            break
        asked = task.round  # the round failed at the challenge of another caller, and says nothing of a plain one
    _check_answer(task, asked)


def rounds_for_claims(task: RefreshTask, claims: str) -> Iterator[Round]:
    """Have a round made whose source is given the claims of a challenge. A round with the same claims is joined.

    Raises:
        TokenRefreshError: when the round failed, or may not be made yet, as for a rejected token.
        CredentialClosedError: when the credential closes meanwhile.
        CredentialUsageError: when the source itself asks.
    """
    waited = False
    while (asked := task.round).claims != claims and (asked.began is not None or asked.claims is not None):
        asked.refuse_its_source()
        yield asked  # it is for other claims, or for none
        waited = True
        if task.closed:
            raise closed_error()
    asked.refuse_its_source()
    if asked.began is None and not asked.forced:
        _check_backoff(task.state)
        if (cause := task.state.unmet.why(claims)) is not None:
            raise refresh_error(cause)
        if not waited:
            _check_pace(task.state)
    asked.force(claims=claims)
    yield asked
    _check_answer(task, asked)


def _check_answer(task: RefreshTask, asked: Round) -> None:
    if asked.cause is not None:
        raise closed_error() if task.closed else refresh_error(asked.cause)


def _check_backoff(state: RefreshState) -> None:
    if state.cause is not None and state.until_retry() > 0:
        raise refresh_error(state.cause)


def _check_pace(state: RefreshState) -> None:
    """Refuse to replace tokens that are rejected as soon as they are fetched. Each call counts as a rejection."""
    if not state.may_replace_rejected():
        raise explained(
            "rejected-at-once",
            TokenRefreshError(
                "the service turns tokens down as soon as they are fetched, so the next is not fetched at once; "
                "see why it refuses them (its answer's body, the token's scopes)"
            ),
        )


async def join(task: RefreshTask, asked: Round, patience: float) -> None:
    """Have a round made, and wait until it is over, or for `patience` seconds. Cancelling it leaves the round be."""
    task.request(asked)
    if patience == inf:
        await asked.wait()
    else:
        with move_on_after(patience):
            await asked.wait()


def refresh_error(cause: BaseException) -> TokenRefreshError:
    """The error of a failed round, a new one for each waiter."""
    permanent, retry_after = verdict(cause)
    advice = "mend that and call refresh()" if permanent else "it is tried again at the next request"
    error = explained(
        "refresh-failed",
        TokenRefreshError(
            f"no access token could be fetched ({type(cause).__name__}, see __cause__); {advice}",
            permanent=permanent,
            retry_after=retry_after,
        ),
    )
    error.__cause__ = cause
    return error


def closed_error() -> CredentialClosedError:
    """The error for callers of a closed credential."""
    return explained(
        "closed",
        CredentialClosedError("the credential is closed; use it inside its `async with` block, or enter it again"),
    )


def unavailable_error(*, closed: bool, refreshes: bool, entered: bool, hint: str) -> CredentialError:
    """The error for callers of a credential that has no valid token for them."""
    if closed:
        return closed_error()
    if not refreshes:
        return explained(
            "static-expired",
            TokenUnavailableError(
                f"the static access token has expired{hint}: make a credential with a newer one, or with a "
                "token_refresher"
            ),
        )
    if not entered:
        return explained(
            "not-entered",
            CredentialNotEnteredError(
                "the credential renews its token only inside its block: use `async with credential:` first, and open "
                "it once, where the program starts, such as a web framework's lifespan"
            ),
        )
    return explained(
        "token-unavailable",
        TokenUnavailableError("no valid access token is held at this moment: await get_token() for one"),
    )
