"""What the emulated authority knows: its users, and what they agreed to. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .client_secrets import ClientSecrets
from .devices import DeviceCodes
from .errors import OAuthError
from .grants import AuthorizationCodes, Grant, RefreshTokens
from .scopes import read_scopes
from .tokens import EntraTokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._settings import Clock
    from .._signing import SigningKey


class Entra:
    """One tenant of Entra, with one application in it.

    Args:
        key: Signs the tokens.
        clock: The emulator's clock.
        endpoint: The address at which it is served.

    Attributes:
        users: The object ids of the users, by name.
        secrets: How the application authenticates.
        tokens: Issues and checks tokens.
        sign_in_as: The user who signs in without being asked; None to ask.
        redirect_uris: The addresses to which people may be sent back, besides loopback.
    """

    def __init__(self, key: SigningKey, clock: Clock, endpoint: str) -> None:
        self.clock: Clock = clock
        self.endpoint: str = endpoint
        self.tenant_id: str = str(uuid4())
        self.authority: str = f"{endpoint}/{self.tenant_id}"
        self.client_id: str = str(uuid4())
        self.client_secret: str = f"emulator-{uuid4()}"
        self.secrets: ClientSecrets = ClientSecrets(self.client_id, self.client_secret, clock)
        self.tokens: EntraTokens = EntraTokens(key, clock, self.authority, self.client_id)
        self.jwk: Mapping[str, Any] = key.jwk
        self.devices: DeviceCodes = DeviceCodes(clock)
        self.codes: AuthorizationCodes = AuthorizationCodes(clock)
        self.refresh_tokens: RefreshTokens = RefreshTokens()
        self.users: dict[str, str] = {}
        self.sign_in_as: str | None = None
        self.redirect_uris: set[str] = set()
        self._required: dict[str, Mapping[str, Any]] = {}

    def add_user(self, name: str) -> str:
        """Add a user, if the name is new. The user's object id."""
        return self.users.setdefault(name, self.tokens.object_id(name))

    def grant(self, user: str, scope: str, claims: Mapping[str, Any], nonce: str | None = None) -> Grant:
        """What a person agrees to at this moment."""
        self.add_user(user)
        return Grant(user=user, scope=scope, claims=claims, nonce=nonce, signed_in_at=self.clock.time())

    def redeem(self, grant: Grant, form: Mapping[str, str]) -> dict[str, Any]:
        """Tokens, as the body of an answer.

        Args:
            grant: What the person agreed to.
            form: The client's request, which may ask for other scopes and for claims.

        Raises:
            OAuthError: when its scopes or claims are wrong.
        """
        agreed = read_scopes(grant.scope, self.client_id)
        permission = read_scopes(form.get("scope") or grant.scope, self.client_id)
        permission = permission._replace(openid=permission.openid | agreed.openid)
        answer = self.tokens.answer(grant, permission, read_claims(form) or grant.claims)
        if "offline_access" in permission.openid:
            answer["refresh_token"] = self.refresh_tokens.issue(grant)
        if form.get("client_info"):
            answer["client_info"] = self.tokens.client_info(grant.user)
        return answer

    def on_behalf_of(self, assertion: str, form: Mapping[str, str]) -> Grant:
        """What the user agreed to whose token the application presents (Entra's on-behalf-of flow).

        Raises:
            OAuthError: when the token is not valid, or was not issued for this application.
        """
        try:
            claims = self.tokens.check(assertion, frozenset({self.client_id}))
        except ValueError as error:
            raise OAuthError("invalid_grant", 500131, f"The assertion is not accepted: {error}.") from error
        if "name" not in claims:
            raise OAuthError("invalid_grant", 50000, "The assertion is an application's own token, not a user's.")
        return self.grant(claims["name"], form.get("scope", ""), read_claims(form))

    def check_client(self, client_id: str | None) -> None:
        """Let a request of the application pass.

        Raises:
            OAuthError: when another application is named.
        """
        if client_id != self.client_id:
            raise OAuthError("unauthorized_client", 700016, "The application was not found in the directory.")

    def answer_device(self, user_code: str, user: str | None) -> None:
        """Have a person enter the code that another device shows, and sign in, or decline where `user` is None.

        Raises:
            ValueError: when the code is unknown, has expired or was answered before.
        """
        self.devices.answer(user_code, user)
        if user is not None:
            self.add_user(user)

    def require_claims(self, user: str, claims: Mapping[str, Any]) -> None:
        """From now on, accept no token of a user that was not requested with these claims."""
        self._required[user] = claims

    def claims_missing(self, token_claims: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The required claims that a token lacks, or None. A token that has them ends the requirement."""
        user = token_claims.get("name", self.client_id)
        required = self._required.get(user)
        if required is None or not _covers(token_claims["asked"], required):
            return required
        del self._required[user]
        return None


def read_claims(form: Mapping[str, str]) -> dict[str, Any]:
    """The claims that a request asks for (OpenID Connect Core, section 5.5).

    Raises:
        OAuthError: when they are not a JSON object.
    """
    try:
        claims: Any = json.loads(form.get("claims") or "{}")
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise OAuthError("invalid_request", 900236, "The claims are not a JSON object.")
    return claims


def _covers(asked: object, required: object) -> bool:
    """Whether all required claims were asked for. More may have been: MSAL adds its application's capabilities."""
    if not isinstance(required, dict):
        return asked == required
    return isinstance(asked, dict) and all(name in asked and _covers(asked[name], required[name]) for name in required)
