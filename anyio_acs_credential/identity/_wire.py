"""Wire format of the identity REST API: what to send, and what an answer holds."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from .._answer import malformed, read_object
from .._errors import InvalidTokenError
from .._token import AccessToken, read_expiry
from ..identifiers import CommunicationUserIdentifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._answer import Answer

__all__ = ("SupportsRawId", "check_scopes", "expiry", "path_of", "read_token", "read_user")

_MINUTE = timedelta(minutes=1)


class SupportsRawId(Protocol):
    """Any identifier, of this package or of another."""

    @property
    def raw_id(self) -> str:
        """The raw id, such as "8:acs:<resource>_<user>"."""
        ...


def path_of(user: SupportsRawId | str) -> str:
    raw_id = user if isinstance(user, str) else getattr(user, "raw_id", None)
    if not isinstance(raw_id, str) or not raw_id:
        raise TypeError(f"user is an identifier or its raw id, a non-empty text, not {type(user).__name__}")
    return f"/identities/{quote(raw_id, safe='')}"


def check_scopes(scopes: Iterable[str]) -> list[str]:
    if isinstance(scopes, str):
        raise TypeError("scopes are a list of texts: write [scope] instead of scope")
    checked = list(scopes)
    if not all(isinstance(scope, str) for scope in checked):
        raise TypeError('scopes are a list of texts, such as ["chat"]')
    if not checked or not all(checked):
        raise ValueError('name at least one scope, such as ["chat"], and no empty one')
    return checked


def expiry(lifetime: timedelta | None) -> dict[str, int]:
    if lifetime is None:
        return {}
    if not isinstance(lifetime, timedelta):
        raise TypeError(f"token_expires_in is a timedelta, such as timedelta(hours=2), not {type(lifetime).__name__}")
    if lifetime <= timedelta():
        raise ValueError("token_expires_in is not positive: give at least timedelta(minutes=60)")
    return {"expiresInMinutes": max(1, lifetime // _MINUTE)}


def read_user(answer: Answer) -> CommunicationUserIdentifier:
    identity = read_object(answer).get("identity")
    raw_id = identity.get("id") if isinstance(identity, dict) else None
    if not isinstance(raw_id, str) or not raw_id:
        malformed(answer, "it names no identity")
    return CommunicationUserIdentifier(raw_id)


def read_token(answer: Answer, content: object) -> AccessToken:
    token = None
    if isinstance(content, dict):
        with suppress(InvalidTokenError):  # raised as malformed below, outside this block
            token = AccessToken(content.get("token", ""), read_expiry(content.get("expiresOn")))
    if token is None:
        malformed(answer, "it holds no access token with an expiry")
    return token
