"""Who may use Teams Phone through a resource: what to send, and what an answer holds.

Paths, bodies and the words of api-version 2025-06-30 are those of
https://learn.microsoft.com/azure/communication-services/quickstarts/tpe/teams-phone-extensiblity-rest-api.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from .._common.errors import explained
from .._exchange.wire import allow_command
from .._http.answer import error_from, malformed, read_object, refusal
from ._wire import check_entra_id, check_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._http.answer import Answer

_VERSION = "2025-06-30"
ASSIGNMENTS_QUERY = f"?api-version={_VERSION}"
"""The api-version that is documented for assignments; the client's own `api_version` does not apply to them."""

# The word for a resource account depends on the api-version; the later one is in the generated code of the official
# identity packages. Both are read, whichever version was asked for.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "2025-06-30": {"user": "user", "resource_account": "teamsResourceAccount"},
    "2026-09-23": {"user": "user", "resource_account": "resourceAccount"},
}
_MEANINGS: Mapping[object, Any] = {word.lower(): kind for words in _WORDS.values() for kind, word in words.items()}


@dataclass(frozen=True, slots=True)
class TeamsPhoneAssignment:
    """A principal's right to use Teams Phone through a Communication Services resource.

    Attributes:
        tenant_id: The Entra tenant of the principal.
        object_id: The principal's object id there.
        principal_type: "user" for a person, "resource_account" for a Teams resource account.
        client_ids: The applications that a person may use; empty where the assignment names no application.

    Raises:
        TypeError: when an id is not text, or `client_ids` is not a tuple of texts.
        ValueError: when an id does not have the form of an Entra id, a client id is empty, or `principal_type` is
            unknown.
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
    """The assignment in an answer. Ids that the answer leaves out are those that were asked for."""
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
    """Raise the error that an unsuccessful answer stands for."""
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
