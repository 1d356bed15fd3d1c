"""What the emulated service knows: its identities, and which of their tokens it accepts. No I/O."""

from __future__ import annotations

import math
from base64 import b64encode
from datetime import UTC, datetime
from secrets import token_bytes, token_hex
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from .errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._settings import Clock
    from .._signing import SigningKey

SCOPES = frozenset({"chat", "chat.join", "chat.join.limited", "voip", "voip.join"})


class Assignment(NamedTuple):
    """A principal's right to use Teams Phone.

    Attributes:
        is_user: Whether the principal is a person; else it is a resource account.
        client_ids: The applications that the person may use; empty for all.
    """

    is_user: bool
    client_ids: tuple[str, ...]

    def allows(self, client_id: str) -> bool:
        """Whether the person may use Teams Phone with this application."""
        named = {named.lower() for named in self.client_ids}
        return self.is_user and (not named or client_id.lower() in named)


class Service:
    """One Communication Services resource.

    Args:
        key: Signs the tokens.
        clock: The emulator's clock.
        token_lifetime: Seconds that every token lives, or None for what each request asks.

    Attributes:
        access_key: The access key of the resource, as bytes.
        assignments: Who may use Teams Phone, by tenant id and object id in lower case.
        requires_assignment: Whether the exchange refuses everybody else.
    """

    def __init__(self, key: SigningKey, *, clock: Clock, token_lifetime: float | None = None) -> None:
        self.clock = clock
        self.token_lifetime = token_lifetime
        self.access_key: bytes = token_bytes(64)
        self.resource_id: str = str(uuid4())
        self.assignments: dict[tuple[str, str], Assignment] = {}
        self.requires_assignment = False
        self._key = key
        # The generation of each user's tokens, by raw id. Revoking begins a new one, since the whole seconds of a
        # token's `iat` could not tell a token issued just before from one issued just after.
        self._generations: dict[str, str] = {}

    @property
    def access_key_text(self) -> str:
        """The access key as the Azure portal shows it."""
        return b64encode(self.access_key).decode()

    def identities(self) -> list[str]:
        """The raw ids of the known users."""
        return list(self._generations)

    def create_identity(self) -> str:
        """Make a user, and return its raw id."""
        identity = f"8:acs:{self.resource_id}_{uuid4()}"
        self._generations[identity] = token_hex(8)
        return identity

    def register_identity(self, identity: str) -> None:
        """Add a user with this raw id, if it is unknown."""
        self._generations.setdefault(identity, token_hex(8))

    def delete_identity(self, identity: str) -> None:
        """Remove a user, and refuse its tokens.

        Raises:
            ServiceError: 404, when there is no such user.
        """
        self._generation(identity)
        del self._generations[identity]

    def revoke_tokens(self, identity: str) -> None:
        """Refuse the tokens that were issued to a user so far.

        Raises:
            ServiceError: 404, when there is no such user.
        """
        self._generation(identity)
        self._generations[identity] = token_hex(8)

    def issue_token(
        self, identity: str, scopes: Iterable[str], lifetime: float, *, until: float = math.inf
    ) -> dict[str, str]:
        """An access token, as the body of an answer.

        Args:
            identity: The user's raw id.
            scopes: What the token is good for.
            lifetime: Seconds that it lives, unless the service has a `token_lifetime`.
            until: Its latest expiry, in Unix seconds.

        Raises:
            ServiceError: 404, when there is no such user.
        """
        now = self.clock.time()
        expires = min(until, now + (lifetime if self.token_lifetime is None else self.token_lifetime))
        claims = {
            "skypeid": identity.removeprefix("8:"),
            "scp": 1792,
            "csi": str(int(now)),
            "exp": int(expires),
            "acsScope": ",".join(scopes),
            "resourceId": self.resource_id,
            "iat": int(now),
            "jti": f"{self._generation(identity)}.{token_hex(8)}",
        }
        return {"token": self._key.sign(claims), "expiresOn": _timestamp(expires)}

    def check_assignment(self, claims: Mapping[str, Any]) -> None:
        """Let a person pass who may use Teams Phone.

        Args:
            claims: The claims of the person's Entra token.

        Raises:
            ServiceError: 403, when an assignment is required, and there is none for this person and application.
        """
        assignment = self.assignments.get((claims["tid"], claims["oid"]))
        is_allowed = assignment is not None and assignment.allows(claims["azp"])
        if self.requires_assignment and not is_allowed:
            raise ServiceError(403, "Forbidden", "The user is not allowed to use Teams Phone through this resource.")

    def check_token(self, token: str) -> Mapping[str, Any]:
        """The claims of a valid access token.

        Args:
            token: The text that the client sent.

        Raises:
            ServiceError: 401, when it is malformed, signed with another key, expired or revoked, or its user is gone.
        """
        try:
            claims = self._key.verify(token)
        except ValueError as error:
            raise refused(str(error)) from error
        generation = self._generations.get(f"8:{claims.get('skypeid')}")
        if generation is None:
            raise refused("the user of the token does not exist")
        if not claims["jti"].startswith(f"{generation}."):
            raise refused("the token was revoked")
        if claims["exp"] <= self.clock.time():
            raise refused("the token has expired")
        return claims

    def _generation(self, identity: str) -> str:
        try:
            return self._generations[identity]
        except KeyError:
            raise ServiceError(404, "IdentityNotFound", "The identity does not exist.") from None


def refused(reason: str) -> ServiceError:
    """The refusal of an invalid token (RFC 6750, section 3.1)."""
    challenge = f'Bearer error="invalid_token", error_description="{reason}"'
    headers = {"WWW-Authenticate": challenge}
    return ServiceError(401, "Unauthorized", f"The access token is not accepted: {reason}.", headers)


def _timestamp(when: float) -> str:
    # The service writes seven fractional digits, as .NET does; Python's %f has six.
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%dT%H:%M:%S.%f}0+00:00"
