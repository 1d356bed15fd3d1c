"""What MSAL's answers mean: a token with the time to renew it, or an error. No I/O."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._common.errors import InvalidTokenError, ServiceError, SignInRequiredError, TokenSourceError, explained
from .._exchange.entra_codes import Cure, cure_for
from .._exchange.kept_token import KeptToken
from .._tokens.access_token import AccessToken
from .._tokens.clock import Deadline
from ._secrets import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._tokens.service_clock import ServiceClock

_WINDOW = 300.0  # seconds before its expiry at which MSAL takes a cached token for expired

_ADVICE = {
    "invalid_client": "correct client_secret or client_certificate, and where public clients are meant to sign in, "
    "allow that in the application's registration",
    "invalid_scope": "correct the scopes",
    "unauthorized_client": "correct client_id and tenant_id, or allow this way to sign in in the application's "
    "registration",
}


@dataclass(frozen=True, slots=True)
class Grant(KeptToken):
    """An Entra token that MSAL gave, whose `expires_on` is a time of this machine's clock, as with azure-identity.

    Attributes:
        cached: Whether it comes from MSAL's cache.
        account: MSAL's home account id of its user; None where MSAL knows no account.
    """

    cached: bool = False
    account: str | None = None

    @property
    def is_ending(self) -> bool:
        """Whether it is within the window in which MSAL takes it for expired, by the authority's time."""
        return self.left < _WINDOW


def take(app: Any, result: Mapping[str, Any] | None, advice: str, clock: ServiceClock) -> Grant:
    """The token in what an MSAL application returned.

    Args:
        app: The application, whose cache knows whose token it is.
        result: What it returned.
        advice: What to do where only a person can help, for the message.
        clock: The authority's clock.

    Returns:
        The token. One from MSAL's cache may have expired, since MSAL reads a wall clock that may have been set.

    Raises:
        SignInRequiredError: when only a person can help.
        TokenSourceError: when there is no usable token in it.
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
    if isinstance(refresh_on := result.get("refresh_on"), int):  # Entra sends `refresh_in` with tokens of a long life
        due = min(due, refresh_on - time.time())
    owner = _owner(app, token)
    return Grant(token, Deadline.after(due, time), Deadline.after(life, time), time, cached=cached, account=owner)


def refusal(result: Mapping[str, Any], advice: str) -> TokenSourceError:
    """The error for a refusal, chosen by what cures it.

    Args:
        result: What an MSAL application returned.
        advice: What to do where only a person can help, for the message.
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
    # The answer's `expires_in` and, where it is readable, the token's `exp` say when it expires. The earlier wins.
    now = time.time()
    life = float(result.get("expires_in", 600))
    token = AccessToken(result["access_token"], now + life)
    with suppress(InvalidTokenError):
        own = AccessToken.from_jwt(token.token)
        ends = clock.here(own.expires_on)
        if ends <= now and not cached and own.expires_on - own.claims.get("iat", math.inf) >= life:
            return token  # iat, exp and expires_in agree, so the token is valid and our clock is ahead
        return min(token, AccessToken(token.token, ends), key=lambda each: each.expires_on)
    return token


def _owner(app: Any, token: AccessToken) -> str | None:
    entries = app.token_cache.search(app.token_cache.CredentialType.ACCESS_TOKEN, query={"secret": token.token})
    return next((entry["home_account_id"] for entry in entries), None)
