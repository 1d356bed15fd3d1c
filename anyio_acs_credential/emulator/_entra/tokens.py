"""The tokens of the emulated authority: what they say, and which of them are valid. No I/O."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._settings import Clock
    from .._signing import SigningKey
    from .grants import Grant
    from .scopes import Api, Permission


class EntraTokens:
    """Tokens of one tenant's users, for one application.

    Args:
        key: Signs the tokens.
        clock: The emulator's clock.
        authority: The tenant's address.
        client_id: The application's id.

    Attributes:
        lifetime: Seconds that a token lives.
        refresh_in: Seconds after which clients are told to renew a token; None for half of its life where that is two
            hours or more, as Entra does.
    """

    def __init__(self, key: SigningKey, clock: Clock, authority: str, client_id: str) -> None:
        self._key = key
        self._clock = clock
        self._client_id = client_id
        self.issuer: str = f"{authority}/v2.0"
        self.tenant_id: str = authority.rpartition("/")[2]
        self.lifetime: float = 3600
        self.refresh_in: float | None = None

    def object_id(self, user: str) -> str:
        """The object id of a user: always the same for the same name."""
        return str(uuid5(NAMESPACE_URL, f"{self.issuer}/{user}"))

    def access_token(self, user: str, permission: Permission, claims: Mapping[str, Any]) -> str:
        """A token for the permission's service. Its own claim `asked` has the claims that it was requested with."""
        names = " ".join(permission.names)
        return self._sign(self._person(user), **self._access(permission, claims), scp=names)

    def application_token(self, permission: Permission, claims: Mapping[str, Any]) -> str:
        """A token of the application itself, without a user."""
        object_id = self.object_id(self._client_id)
        return self._sign({"oid": object_id, "sub": object_id}, **self._access(permission, claims), idtyp="app")

    def answer(self, grant: Grant, permission: Permission, claims: Mapping[str, Any]) -> dict[str, Any]:
        """Tokens, as the body of an answer (RFC 6749, section 5.1)."""
        granted = (*permission.scopes, *sorted(permission.openid - {"offline_access"}))
        answer = self._answer(self.access_token(grant.user, permission, claims)) | {"scope": " ".join(granted)}
        if "openid" in permission.openid:
            answer["id_token"] = self._id_token(grant)
        return answer

    def application_answer(self, permission: Permission, claims: Mapping[str, Any]) -> dict[str, Any]:
        """A token of the application itself, as the body of an answer (RFC 6749, section 4.4.3)."""
        return self._answer(self.application_token(permission, claims))

    def client_info(self, user: str) -> str:
        """The `client_info` of a user, by which MSAL knows who signed in."""
        return encode({"uid": self.object_id(user), "utid": self.tenant_id})

    def check(self, token: str, audiences: frozenset[str]) -> dict[str, Any]:
        """The claims of a valid access token.

        Raises:
            ValueError: when it is malformed, signed with another key, for another service or expired.
        """
        claims = self._key.verify(token)
        if claims.get("iss") != self.issuer:
            raise ValueError("the token was issued by another authority")
        if claims["aud"] not in audiences:
            raise ValueError("the token is for another audience")
        if claims["exp"] <= self._clock.time():
            raise ValueError("the token has expired")
        return claims

    def check_for(self, token: str, api: Api) -> dict[str, Any]:
        """The claims of a valid access token for an API.

        Raises:
            ValueError: as for `check`, or when it has none of the API's scopes.
        """
        claims = self.check(token, api.audiences)
        if claims.get("idtyp") == "app":
            if not api.applications:
                raise ValueError("the token is an application's own, not a user's")
        elif api.names.isdisjoint(claims["scp"].split()):
            raise ValueError(f"the token has none of the scopes {', '.join(sorted(api.names))}")
        return claims

    def _answer(self, token: str) -> dict[str, Any]:
        lifetime = int(self.lifetime)
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": token,
        }
        if (refresh_in := self._refresh_in()) is not None:
            answer["refresh_in"] = int(refresh_in)
        return answer

    def _access(self, permission: Permission, claims: Mapping[str, Any]) -> dict[str, Any]:
        return {"aud": permission.audience, "azp": self._client_id, "uti": token_urlsafe(16), "asked": claims}

    def _refresh_in(self) -> float | None:
        if self.refresh_in is None and self.lifetime >= 7200:
            return self.lifetime / 2
        return self.refresh_in

    def _id_token(self, grant: Grant) -> str:
        nonce = {} if grant.nonce is None else {"nonce": grant.nonce}
        about = {"aud": self._client_id, "auth_time": int(grant.signed_in_at), **nonce}
        return self._sign(self._person(grant.user), **about)

    def _person(self, user: str) -> dict[str, str]:
        return {
            "oid": self.object_id(user),
            "sub": str(uuid5(NAMESPACE_URL, f"{self._client_id}/{user}")),
            "name": user,
            "preferred_username": user if "@" in user else f"{user}@contoso.example",
        }

    def _sign(self, subject: Mapping[str, str], **claims: object) -> str:
        now = int(self._clock.time())
        times = {"iat": now, "nbf": now, "exp": int(self._clock.time() + self.lifetime)}
        issuer = {"iss": self.issuer, "tid": self.tenant_id, "ver": "2.0"}
        return self._key.sign({**issuer, **times, **subject, **claims})


def encode(value: object) -> str:
    """JSON in base64url, without padding."""
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
