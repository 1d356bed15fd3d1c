"""The checks of scopes: whether they are known, and whether a person is allowed to use Teams Phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import AccessKeyCredential, CommunicationIdentityClient
from ..._common.errors import ServiceError, page_of
from ..._exchange import scopes as families
from ..._exchange.wire import allow_command, is_guid
from ..._http.retries import Limits
from ._entra import claims_of
from ._finding import Finding, State, failure, not_tried, ok, warning

if TYPE_CHECKING:
    from ._case import Case

_KNOWN = ("chat", "voip", "chat.join", "chat.join.limited", "voip.join")


async def check_scopes(case: Case) -> Finding:
    """Whether the issuer of the tokens knows the scopes. It waits for nothing."""
    return _judge_entra(case.scopes) if case.is_for_entra else _judge(case.scopes)


def _judge_entra(scopes: tuple[str, ...]) -> Finding:
    try:
        families.check_scopes(scopes)
    except ValueError as error:
        return Finding(State.FAILURE, str(error), see=page_of("scopes"))
    path, _ = families.route_of(scopes)
    return ok(f"a token with {', '.join(scopes)} can be exchanged at {path}")


def _judge(scopes: tuple[str, ...]) -> Finding:
    if unknown := [scope for scope in scopes if scope not in _KNOWN]:
        text = f"the service documents no scope {', '.join(unknown)}"
        return warning(text, f"choose of {', '.join(_KNOWN)}", "scopes")
    return ok(f"the service issues tokens for {', '.join(scopes)}")


async def check_assignment(case: Case) -> Finding:
    """Whether a person may use the resource for Teams Phone. It changes nothing.

    Raises:
        ServiceError: when the resource gives no answer.
    """
    if not case.is_for_entra or not families.is_teams_phone(case.scopes):
        return not_tried("the scopes are not Teams Phone's")
    claims = claims_of(case.entra_token)
    tenant, person = _id_in(case.tenant_id, claims.get("tid")), _id_in(case.object_id, claims.get("oid"))
    if case.key is None or tenant is None or person is None:
        return not_tried("it takes a connection string, and the ids that Entra shows as --tenant-id and --object-id")
    key = AccessKeyCredential(case.key.value)
    async with CommunicationIdentityClient(case.endpoint, key, http_client=case.client) as client:
        client._limits = Limits(timeout=case.patience, tries=1)
        try:
            found = await client.get_teams_phone_assignment(tenant, person)
        except ServiceError as error:
            if error.status_code != 404:
                raise
            fix = f"have the resource's owner run {allow_command(tenant, person)}"
            return failure(f"{person} may not use the resource for Teams Phone", fix, "teams-phone-not-allowed")
    return ok(f"{person} may use the resource for Teams Phone, as {found.principal_type}")


def _id_in(*given: object) -> str | None:
    """The first GUID among the values; a tenant may be given by its domain instead."""
    return next(filter(is_guid, given), None)
