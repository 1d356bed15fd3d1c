"""Wire format of the exchange of an Entra token for an access token: what to send, and what an answer means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeGuard

from .._common.errors import explained
from .._http.answer import error_from, read_object, refusal
from .._tokens.access_token import AccessToken
from .issued import read_issued
from .scopes import route_of

if TYPE_CHECKING:
    from .._http.answer import Answer
    from .._tokens.service_clock import ServiceClock

EXCHANGE_BODY = b"{}"
"""The body of the request: an empty JSON object, as the official credentials send it."""
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class ExchangedToken(AccessToken):
    """An access token with the raw id of its user.

    Attributes:
        raw_id: The raw id of the user, as the exchange named it; None where the exchange named no user.
    """

    __slots__ = ("raw_id",)

    raw_id: str | None

    def __init__(
        self, token: str, expires_on: float, raw_id: str | None = None, expires_in: float | None = None
    ) -> None:
        super().__init__(token, expires_on, expires_in)
        object.__setattr__(self, "raw_id", raw_id)

    def __repr__(self) -> str:
        return f"AccessToken(<hidden>, expires_on={self.expires_on})"  # the public name, since this class is private


def exchange_url(endpoint: str, scopes: tuple[str, ...]) -> str:
    """The address to POST to.

    Args:
        endpoint: The resource, as `check_endpoint` returned it.
        scopes: The Entra token's scopes, as `check_scopes` returned them.
    """
    path, api_version = route_of(scopes)
    return f"{endpoint}{path}?api-version={api_version}"


def is_guid(text: object) -> TypeGuard[str]:
    """Whether a value is text in the form of Entra's ids."""
    return isinstance(text, str) and _GUID.fullmatch(text) is not None


def allow_command(tenant_id: object, object_id: object) -> str:
    """The command that allows somebody to use Teams Phone through a resource, to be pasted into a shell.

    Args:
        tenant_id: The person's tenant. The word TENANT stands in for what is not a GUID.
        object_id: The person's object id there. The word OBJECT stands in for what is not a GUID.
    """
    given = (("TENANT", tenant_id), ("OBJECT", object_id))
    words = (text if is_guid(text) else word for word, text in given)
    return f"`acs-credential teams-phone allow {' '.join(words)}`"


def read_exchange(answer: Answer, clock: ServiceClock | None = None, *, allow: str = "") -> ExchangedToken:
    """The access token in an answer.

    The token expires at the answer's `expiresOn` or at its own `exp`, whichever is earlier.

    Args:
        answer: The service's answer.
        clock: The service's clock, as far as it is known; None to accept an expired token as well.
        allow: The command that allows the person to use Teams Phone; empty where the exchange needs none.

    Raises:
        ServiceError: when the service refused, the answer is malformed, or its token has expired. The last is
            transient.
    """
    if answer.status == 403 and allow:
        raise explained(
            "teams-phone-not-allowed",
            refusal(
                answer,
                f"unless this person is allowed to use Teams Phone here, have the resource's owner run {allow}; "
                "then call refresh()",
            ),
        )
    if not answer.is_success:
        raise error_from(answer)
    content = read_object(answer)
    token = read_issued(answer, content.get("accessToken"), clock)
    return ExchangedToken(token.token, token.expires_on, _read_raw_id(content.get("identity")), token.expires_in)


def _read_raw_id(content: object) -> str | None:
    raw_id = content.get("id") if isinstance(content, dict) else None
    return raw_id if isinstance(raw_id, str) and raw_id else None
