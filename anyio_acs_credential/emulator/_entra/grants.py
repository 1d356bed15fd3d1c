"""What people agreed to, and the codes and refresh tokens that redeem it. No I/O."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from .errors import OAuthError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._settings import Clock

# Seconds: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
_CODE_LIFETIME = 600


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a person agreed to.

    Attributes:
        user: The person's name.
        scope: The scopes, separated by spaces.
        claims: The claims that were asked for.
        nonce: The nonce that the id token repeats.
        signed_in_at: When the person signed in, in Unix seconds.
    """

    user: str
    scope: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    nonce: str | None = None
    signed_in_at: float


@dataclass
class _Code:
    grant: Grant
    redirect_uri: str
    challenge: str | None
    expires_on: float
    redeemed: bool = False


class AuthorizationCodes:
    """The authorization code grant, with its proof key (RFC 6749, section 4.1; RFC 7636)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._codes: dict[str, _Code] = {}

    def issue(self, grant: Grant, redirect_uri: str, challenge: str | None) -> str:
        """A code, to be redeemed with the same redirect URI and, if there is a challenge, with its verifier."""
        code = token_urlsafe(32)
        self._codes[code] = _Code(grant, redirect_uri, challenge, self._clock.time() + _CODE_LIFETIME)
        return code

    def redeem(self, text: str, redirect_uri: str | None, verifier: str | None) -> Grant:
        """What the person agreed to. A code is redeemed once.

        Raises:
            OAuthError: when the code is unknown, redeemed or expired, or does not go with the redirect URI or verifier.
        """
        code = self._codes.get(text)
        if code is None:
            raise OAuthError("invalid_grant", 70000, "The authorization code is malformed or unknown.")
        if code.redeemed:
            raise OAuthError("invalid_grant", 54005, "The authorization code was already redeemed.")
        code.redeemed = True
        if code.expires_on <= self._clock.time():
            raise OAuthError("invalid_grant", 70008, "The authorization code has expired.")
        if code.redirect_uri != redirect_uri:
            raise OAuthError("invalid_grant", 500112, "The reply address is not the one that the code was sent to.")
        if code.challenge is not None and code.challenge != _challenge(verifier or ""):
            raise OAuthError("invalid_grant", 501481, "The code verifier does not match the code challenge.")
        return code.grant


class RefreshTokens:
    """Refresh tokens. Each use brings another one. The old one stays valid, as in Entra, unless `single_use` is set.

    Attributes:
        single_use: Whether a used refresh token is refused.
    """

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self._ended: set[str] = set()
        self.single_use: bool = False

    def issue(self, grant: Grant) -> str:
        """A refresh token."""
        token = f"1.{token_urlsafe(48)}"
        self._grants[token] = grant
        return token

    def redeem(self, token: str) -> Grant:
        """What the person agreed to.

        Raises:
            OAuthError: when the token is unknown, revoked or used up.
        """
        grant = self._grants.get(token)
        if grant is None:
            raise OAuthError("invalid_grant", 9002313, "The refresh token is malformed or unknown.")
        if token in self._ended:
            raise OAuthError("invalid_grant", 50173, "The refresh token was revoked or used.", suberror="bad_token")
        if self.single_use:
            self._ended.add(token)
        return grant

    def revoke(self, user: str) -> None:
        """Refuse all refresh tokens that were issued for a user so far."""
        self._ended.update(token for token, grant in self._grants.items() if grant.user == user)


def _challenge(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
