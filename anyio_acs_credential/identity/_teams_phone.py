"""Who may use Teams Phone through a resource: what to send, and what an answer holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from .._errors import explained
from .._exchange.wire import allow_command
from .._http.answer import error_from, malformed, read_object, refusal
from ._wire import check_entra_id, check_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._http.answer import Answer

_VERSION = "2025-06-30"
ASSIGNMENTS_QUERY = f"?api-version={_VERSION}"
"""Names the version of the API that is documented for them, whatever the client uses for the rest."""

# The words for a resource account differ: each is read, whoever wrote it.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "2025-06-30": {"user": "user", "resource_account": "teamsResourceAccount"},
    "2026-09-23": {"user": "user", "resource_account": "resourceAccount"},
}
_MEANINGS: Mapping[object, Any] = {word.lower(): kind for words in _WORDS.values() for kind, word in words.items()}


@dataclass(frozen=True, slots=True)
class TeamsPhoneAssignment:
    """That somebody may use Teams Phone through a Communication Services resource.

    Attributes:
        tenant_id: The Entra tenant of the principal.
        object_id: The principal's object id there.
        principal_type: "user" for a person, "resource_account" for a Teams resource account.
        client_ids: The applications that a person may use; empty where none is named.

    Raises:
        TypeError: when an id is no text, or `client_ids` is no tuple of texts.
        ValueError: when an id is not one of Entra's, a client id is empty, or the principal type is neither.
    """

    tenant_id: str
    object_id: str
    principal_type: Literal["user", "resource_account"]
    client_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_entra_id("tenant_id", self.tenant_id)
        check_entra_id("object_id", self.object_id)
        _word_for(self.principal_type)
        if not isinstance(self.client_ids, tuple):
            raise explained("identity-arguments", TypeError("client_ids are a tuple of texts: write (client_id,)"))
        for client_id in self.client_ids:
            check_id("a client id", client_id)


def assignment_path(tenant_id: str, object_id: str) -> str:
    tenant, principal = check_entra_id("tenant_id", tenant_id), check_entra_id("object_id", object_id)
    return f"/access/teamsExtension/tenants/{tenant}/assignments/{principal}"


def _word_for(principal_type: object) -> str:
    word = _WORDS[_VERSION].get(principal_type) if isinstance(principal_type, str) else None
    if word is None:
        raise explained(
            "identity-arguments", ValueError('principal_type is "user" or "resource_account": give one of these')
        )
    return word


def assignment_body(principal_type: object, client_ids: Iterable[str]) -> dict[str, Any]:
    word = _word_for(principal_type)
    if isinstance(client_ids, str) or not isinstance(client_ids, Iterable):
        raise explained("identity-arguments", TypeError("client_ids are a list of texts: write [client_id]"))
    applications = [check_id("a client id", client_id) for client_id in client_ids]
    return {"principalType": word, **({"clientIds": applications} if applications else {})}


def read_assignment(answer: Answer, tenant_id: str, object_id: str) -> TeamsPhoneAssignment:
    """What an answer says of a principal; the ids are those that were asked for, where it does not repeat them."""
    content = read_object(answer)
    word, clients = content.get("principalType"), content.get("clientIds")
    kind = _MEANINGS.get(word.lower()) if isinstance(word, str) else None
    if kind is None:
        malformed(answer, "it says of no principal that it is a user or a resource account")
    clients = [] if clients is None else clients
    if not isinstance(clients, list) or not all(isinstance(client, str) and client for client in clients):
        malformed(answer, "its client ids are no list of texts")
    tenant, principal = content.get("tenantId") or tenant_id, content.get("objectId") or object_id
    if (str(tenant).lower(), str(principal).lower()) != (tenant_id.lower(), object_id.lower()):
        malformed(answer, "it is about somebody else")
    return TeamsPhoneAssignment(str(tenant), str(principal), kind, tuple(clients))


def refuse_assignment(answer: Answer, tenant_id: str, object_id: str) -> NoReturn:
    """Raise the error for an answer without success."""
    error = error_from(answer)
    if answer.status == 404:
        command = allow_command(tenant_id, object_id)
        raise explained(
            "no-teams-phone-assignment",
            refusal(answer, f"there is no such Teams Phone assignment; make one with {command}"),
        )
    if error.code == "SubscriptionNotAllowed":
        raise explained(
            "subscription-not-allowed",
            refusal(
                answer,
                "the resource's subscription may not use Teams Phone Extensibility; use a resource of one that may, or "
                "ask Microsoft's support to admit it",
            ),
        )
    raise error
