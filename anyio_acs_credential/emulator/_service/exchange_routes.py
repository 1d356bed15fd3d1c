"""The exchange of an Entra token for an access token: by its user, or for a Teams user by a manager of the resource."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .._entra.scopes import CLIENTS, TEAMS_EXTENSION, TEAMS_USERS
from .access import check_entra, check_manager
from .answers import check_version, entra_of, json_object, service_of
from .errors import ServiceError
from .identity_routes import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from .._entra.scopes import Api

_DAY = 86400
_SCOPES = {"Chat": "chat", "VoIP": "voip", "Teams.ManageCalls": "voip", "Teams.ManageChats": "chat"}
_TEAMS_USER_VERSIONS = VERSIONS - {"2021-03-07", "2021-10-31-preview"}


async def _exchange(request: Request, *, api: Api, versions: frozenset[str]) -> Response:
    service = service_of(request)
    claims = check_entra(request, api)
    check_version(request, versions)
    await json_object(request)
    if api is TEAMS_EXTENSION:
        service.check_assignment(claims)
    identity = f"8:acs:{service.resource_id}_{claims['tid']}_{claims['oid']}"
    service.register_identity(identity)
    scopes = _granted(claims, api) or ["chat", "voip"]
    return JSONResponse({"identity": {"id": identity}, "accessToken": service.issue_token(identity, scopes, _DAY)})


async def _exchange_teams_user(request: Request) -> Response:
    service = service_of(request)
    await check_manager(request)
    check_version(request, _TEAMS_USER_VERSIONS)
    body = await json_object(request)
    claims = _teams_claims(request, body.get("token"))
    for name, claim in (("appId", "azp"), ("userId", "oid")):
        if not body.get(name):
            raise ServiceError(400, "ValidationError", f"{name} is required.")
        if body[name] != claims[claim]:
            raise ServiceError(400, "ValidationError", f"{name} is not the {claim} of the Entra token.")
    identity = f"8:orgid:{claims['oid']}"
    service.register_identity(identity)
    # The access token expires with the Entra token; the service offers no other lifetime.
    return JSONResponse(service.issue_token(identity, _granted(claims, TEAMS_USERS), _DAY, until=claims["exp"]))


def _teams_claims(request: Request, token: object) -> Mapping[str, Any]:
    """The claims of a Teams user's Entra token. The service does not say what is wrong with an invalid one."""
    entra = entra_of(request)
    try:
        claims = entra.tokens.check_for(token if isinstance(token, str) else "", TEAMS_USERS)
    except ValueError as error:
        raise _invalid_token() from error
    if entra.claims_missing(claims) is not None:
        raise _invalid_token()
    return claims


def _invalid_token() -> ServiceError:
    return ServiceError(401, "InvalidAccessToken", "The Entra token of the Teams user is not valid.")


def _granted(claims: Mapping[str, Any], api: Api) -> list[str]:
    return sorted(_SCOPES[name] for name in claims["scp"].split() if name in api.names & _SCOPES.keys())


def _route(family: str, api: Api, *versions: str) -> Route:
    endpoint = partial(_exchange, api=api, versions=frozenset(versions))
    return Route(f"/access/{family}/:exchangeAccessToken", endpoint, methods=["POST"])


ROUTES = (
    _route("entra", CLIENTS, "2025-03-02-preview"),
    _route("teamsExtension", TEAMS_EXTENSION, "2025-06-30"),
    Route("/teamsUser/:exchangeAccessToken", _exchange_teams_user, methods=["POST"]),
)
"""The routes, for the application."""
