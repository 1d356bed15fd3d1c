"""What MSAL's answers mean: a token with the time to renew it, or the error that one is. No I/O."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._errors import InvalidTokenError, ServiceError, SignInRequiredError, TokenSourceError, explained
from .._exchange.entra_codes import Cure, cure_for
from .._tokens.access_token import AccessToken
from .._tokens.clock import Deadline
from ._secrets import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._tokens.service_clock import ServiceClock

_WINDOW = 300.0  # seconds before its end at which MSAL takes a token for expired
_PAUSE = 30.0  # seconds between attempts to renew a token that is still good

_ADVICE = {
    "invalid_client": "correct client_secret or client_certificate, and where public clients are meant to sign in, "
    "allow that in the application's registration",
    "invalid_scope": "correct the scopes",
    "unauthorized_client": "correct client_id and tenant_id, or allow this way to sign in in the application's "
    "registration",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """An Entra token, and when to get the next.

    Attributes:
        token: The token. Its expiry is a time of our clock, as MSAL and azure-identity count: who is given the token
            compares with that.
        due: When to renew it.
        end: When it ends.
        cached: Whether MSAL had it already.
        account: Whose it is (MSAL's home account id), as far as MSAL knows.
    """

    token: AccessToken
    due: Deadline
    end: Deadline
    cached: bool = False
    account: str | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether it can be handed out without another look."""
        return self.due.left(time) > 0

    @property
    def is_valid(self) -> bool:
        """Whether it can be handed out at all."""
        return self.end.left(time) > 0

    @property
    def is_ending(self) -> bool:
        """Whether MSAL would renew it, if it knew when it ends."""
        return self.end.left(time) < _WINDOW

    def later(self) -> Grant:
        """The same, to be renewed a little later, and not after its end."""
        return replace(self, due=Deadline.after(min(_PAUSE, self.end.left(time)), time))


def take(app: Any, result: Mapping[str, Any] | None, advice: str, clock: ServiceClock) -> Grant:
    """The token in what an MSAL application returned.

    Args:
        app: The application. Its cache knows whose token it is.
        result: What it returned.
        advice: What to do where only a person can help.
        clock: The authority's.

    Returns:
        The token. One that MSAL had already may have ended: MSAL compares with our clock, which may have been set.

    Raises:
        SignInRequiredError: when only a person can help.
        TokenSourceError: when there is no token, or none that can be used.
    """
    if result is None:
        raise explained("sign-in-required", SignInRequiredError(f"there is nobody to get an Entra token for: {advice}"))
    if "access_token" not in result:
        raise refusal(result, advice)
    cached = result.get("token_source") == "cache"
    try:
        token = _read(result, clock, cached=cached)
    except (InvalidTokenError, TypeError, ValueError, OverflowError):
        token = None
    life = 0.0 if token is None else token.expires_on - time.time()
    if token is None or (life <= 0 and not cached):
        raise explained(
            "entra-refused",
            TokenSourceError("Entra's answer has no token that is good now: see what the authority says, and the time"),
        )
    due = max(life - _WINDOW, life / 2)
    if isinstance(refresh_on := result.get("refresh_on"), int):  # of a token that lives for a day
        due = min(due, refresh_on - time.time())
    return Grant(token, Deadline.after(due, time), Deadline.after(life, time), cached, _owner(app, token))


def refusal(result: Mapping[str, Any], advice: str) -> TokenSourceError:
    """The error that stands in an answer, by what cures it.

    Args:
        result: What an MSAL application returned.
        advice: What to do where only a person can help.
    """
    error = str(result.get("error"))
    shown = hide(error)
    said = hide(str(result.get("error_description") or "nothing more"))
    cure = cure_for(result)
    if cure is Cure.PERSON:
        return explained(
            "sign-in-required", SignInRequiredError(f"only a person can help ({shown}): {advice}. Entra said: {said}")
        )
    transient = cure is Cure.TIME
    fix = "try again later" if transient else _ADVICE.get(error, "correct the application's registration")
    return explained(
        "entra-refused",
        ServiceError(
            f"Entra refused ({shown}): {fix}. It said: {said}",
            permanent=not transient,
            code=shown,
            request_id=hide(str(result.get("correlation_id", ""))) or None,
        ),
    )


def _read(result: Mapping[str, Any], clock: ServiceClock, *, cached: bool) -> AccessToken:
    # Two clocks say when it ends: the answer's, from now on, and the token's own, if it can be read. The earlier wins.
    now = time.time()
    life = float(result.get("expires_in", 600))
    token = AccessToken(result["access_token"], now + life)
    with suppress(InvalidTokenError):
        own = AccessToken.from_jwt(token.token)
        ends = clock.here(own.expires_on)
        if ends <= now and not cached and own.expires_on - own.claims.get("iat", math.inf) >= life:
            return token  # it agrees with the answer, and has not ended: our clock is ahead, and nothing else told
        return min(token, AccessToken(token.token, ends), key=lambda each: each.expires_on)
    return token


def _owner(app: Any, token: AccessToken) -> str | None:
    entries = app.token_cache.search(app.token_cache.CredentialType.ACCESS_TOKEN, query={"secret": token.token})
    return next((entry["home_account_id"] for entry in entries), None)
