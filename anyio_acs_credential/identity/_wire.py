"""Wire format of the identity REST API: what to send, and what an answer holds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from .._common.errors import explained, wrong_type
from .._common.redaction import Secret
from .._http.answer import malformed, read_object
from .._tokens.jwt import check_text
from ..identifiers._kinds import CommunicationUserIdentifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._http.answer import Answer

_MINUTE = timedelta(minutes=1)
# expiresInMinutes: https://learn.microsoft.com/rest/api/communication/communication-identity/issue-access-token
_LEAST, _MOST = timedelta(minutes=60), timedelta(minutes=1440)


class SupportsRawId(Protocol):
    """Any identifier, of this package or of another."""

    @property
    def raw_id(self) -> str:
        """The raw id, such as `8:acs:<resource>_<user>`."""
        ...


class SupportsToken(Protocol):
    """An Entra token, as token credentials give it."""

    @property
    def token(self) -> str:
        """The text of the token."""
        ...


def query_of(api_version: str) -> str:
    if not isinstance(api_version, str):
        raise wrong_type("identity-arguments", 'api_version is text such as "2023-10-01"', api_version)
    if not api_version:
        raise explained(
            "identity-arguments", ValueError('api_version is empty: name one, such as "2023-10-01", or leave it out')
        )
    return f"?api-version={quoted('api_version', api_version)}"


def path_of(user: SupportsRawId | str) -> str:
    raw_id = user if isinstance(user, str) else getattr(user, "raw_id", None)
    if not isinstance(raw_id, str) or not raw_id:
        raise wrong_type("identity-arguments", "user is an identifier or its raw id, a non-empty text", user)
    return f"/identities/{quoted('the raw id of the user', raw_id)}"


def quoted(name: str, text: str) -> str:
    # str.__str__, here and below, since a subclass of str may show another text than it holds.
    try:
        return quote(str.__str__(text), safe="")
    except UnicodeEncodeError:
        raise explained(
            "identity-arguments",
            ValueError(
                f"{name} holds half of a surrogate pair, which UTF-8 cannot say: give it as the service wrote it"
            ),
        ) from None


def check_scopes(scopes: Iterable[str]) -> list[str]:
    if isinstance(scopes, str):
        raise explained("scopes", TypeError("scopes are a list of texts: write [scope] instead of scope"))
    if not isinstance(scopes, Iterable):
        raise wrong_type("scopes", 'scopes are a list of texts, such as ["chat"]', scopes)
    checked = list(scopes)
    if not all(isinstance(scope, str) for scope in checked):
        raise explained("scopes", TypeError('scopes are a list of texts, such as ["chat"]'))
    if not checked or not all(checked):
        raise explained("scopes", ValueError('name at least one scope, such as ["chat"], and no empty one'))
    return list(map(str.__str__, checked))


def expiry(lifetime: timedelta | None) -> dict[str, int]:
    if lifetime is None:
        return {}
    if not isinstance(lifetime, timedelta):
        raise wrong_type("identity-arguments", "token_expires_in is a timedelta, such as timedelta(hours=2)", lifetime)
    if not _LEAST <= lifetime <= _MOST:
        raise explained(
            "identity-arguments",
            ValueError(
                "token_expires_in is from timedelta(minutes=60) to timedelta(minutes=1440), as the service has it"
            ),
        )
    return {"expiresInMinutes": lifetime // _MINUTE}


def check_id(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise wrong_type("identity-arguments", f"{name} is text (str)", value)
    if not value:
        raise explained("identity-arguments", ValueError(f"{name} is empty: give the id that Entra shows"))
    return str.__str__(value)


def check_entra_id(name: str, value: str) -> str:
    """An id that becomes part of a URL's path, where a slash or a domain name would lead to another resource."""
    text = check_id(name, value)
    if not re.fullmatch("[0-9A-Za-z-]+", text):
        raise explained(
            "identity-arguments",
            ValueError(f"{name} is no id: give the one that Entra shows, such as 87d349ed-44d7-43e1-9a83-5f2406dee5bd"),
        )
    return text


async def text_of(given: str | SupportsToken | Callable[[], Awaitable[str | SupportsToken]]) -> str:
    """The text of an Entra token."""
    if callable(given):
        made = Secret(given())  # a plain function, given by mistake, returns the token itself
        if not inspect.isawaitable(made.value):
            kind = type(made.value).__name__
            raise explained(
                "identity-arguments",
                TypeError(
                    f"aad_token returned {kind}: give an async function; what blocks, call in anyio.to_thread.run_sync"
                ),
            )
        given = await made.value
    hidden, given = Secret(given if isinstance(given, str) else getattr(given, "token", None)), ""
    return check_text(hidden.value)


def read_user(answer: Answer) -> CommunicationUserIdentifier:
    identity = read_object(answer).get("identity")
    raw_id = identity.get("id") if isinstance(identity, dict) else None
    if not isinstance(raw_id, str) or not raw_id:
        malformed(answer, "it names no identity")
    return CommunicationUserIdentifier(raw_id)
