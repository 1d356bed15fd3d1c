"""What MSAL's answers mean: a token with the time to renew it, or the error that one is. No I/O."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._errors import InvalidTokenError, ServiceError, SignInRequiredError, TokenSourceError, explained
from .._exchange.entra_codes import Cure, cure_for
from .._tokens.access_token import AccessToken
from ._secrets import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        token: The token.
        due: When to renew it, in Unix seconds.
        cached: Whether MSAL had it already.
        account: Whose it is (MSAL's home account id), as far as MSAL knows.
    """

    token: AccessToken
    due: float
    cached: bool = False
    account: str | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether it can be handed out without another look."""
        return time.time() < self.due

    @property
    def is_valid(self) -> bool:
        """Whether it can be handed out at all."""
        return time.time() < self.token.expires_on

    @property
    def is_ending(self) -> bool:
        """Whether MSAL would renew it, if it knew when it ends."""
        return self.token.expires_on - time.time() < _WINDOW

    def later(self) -> Grant:
        """The same, to be renewed a little later, and not after its end."""
        return replace(self, due=min(time.time() + _PAUSE, self.token.expires_on))


def take(app: Any, result: Mapping[str, Any] | None, advice: str) -> Grant:
    """The token in what an MSAL application returned.

    Args:
        app: The application. Its cache knows whose token it is.
        result: What it returned.
        advice: What to do where only a person can help.

    Raises:
        SignInRequiredError: when only a person can help.
        TokenSourceError: when there is no token, or none that can be used.
    """
    if result is None:
        raise explained("sign-in-required", SignInRequiredError(f"there is nobody to get an Entra token for: {advice}"))
    if "access_token" not in result:
        raise refusal(result, advice)
    try:
        token = _read(result)
    except (InvalidTokenError, TypeError, ValueError, OverflowError):
        token = None
    if token is None or token.expires_on <= time.time():
        raise explained(
            "entra-refused",
            TokenSourceError("Entra's answer has no token that is good now: see what the authority says, and the time"),
        )
    due = token.expires_on - min(_WINDOW, (token.expires_on - time.time()) / 2)
    if isinstance(refresh_on := result.get("refresh_on"), int):  # of a token that lives for a day
        due = min(due, refresh_on)
    return Grant(token, due, result.get("token_source") == "cache", _owner(app, token))


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


def _read(result: Mapping[str, Any]) -> AccessToken:
    # Two clocks say when it ends: the answer's, from now on, and the token's own, if it can be read. The earlier wins.
    token = AccessToken(result["access_token"], time.time() + float(result.get("expires_in", 600)))
    with suppress(InvalidTokenError):
        own = AccessToken.from_jwt(token.token)
        return min(token, own, key=lambda each: each.expires_on)
    return token


def _owner(app: Any, token: AccessToken) -> str | None:
    entries = app.token_cache.search(app.token_cache.CredentialType.ACCESS_TOKEN, query={"secret": token.token})
    return next((entry["home_account_id"] for entry in entries), None)
