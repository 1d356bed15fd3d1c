"""The Identity REST API: users, and their access tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .access import check_manager
from .answers import check_version, json_object, service_of
from .errors import ServiceError
from .state import SCOPES

if TYPE_CHECKING:
    from starlette.requests import Request

    from .state import Service

VERSIONS = frozenset(
    {
        "2021-03-07",
        "2021-10-31-preview",
        "2022-06-01",
        "2022-10-01",
        "2023-08-01",
        "2023-10-01",
        "2025-03-02-preview",
        "2025-06-30",
        "2026-07-22",
        "2026-09-23",
    }
)
"""The api-versions of the Identity API, from its specifications in Azure/azure-rest-api-specs."""
_MINUTES = range(60, 1441)  # of `expiresInMinutes`


async def _create(request: Request) -> Response:
    service = await _authorized(request)
    body = await json_object(request)
    scopes = _scopes(body.get("createTokenWithScopes") or [])
    lifetime = _lifetime(body, service)
    identity = service.create_identity()
    answer: dict[str, Any] = {"identity": {"id": identity}}
    if scopes:
        answer["accessToken"] = service.issue_token(identity, scopes, lifetime)
    return JSONResponse(answer, 201)


async def _issue(request: Request) -> Response:
    service = await _authorized(request)
    body = await json_object(request)
    scopes = _scopes(body.get("scopes"))
    if not scopes:
        raise ServiceError(400, "InvalidRequest", "At least one scope is required.")
    return JSONResponse(service.issue_token(_user(request), scopes, _lifetime(body, service)))


async def _revoke(request: Request) -> Response:
    service = await _authorized(request)
    service.revoke_tokens(_user(request))
    return Response(status_code=204)


async def _delete(request: Request) -> Response:
    service = await _authorized(request)
    service.delete_identity(_user(request))
    return Response(status_code=204)


async def _authorized(request: Request) -> Service:
    await check_manager(request)
    check_version(request, VERSIONS)
    return service_of(request)


def _user(request: Request) -> str:
    """The user in the path, if it is one of the resource's. A Teams user is Entra's."""
    identity: str = request.path_params["identity"]
    if identity.startswith("8:orgid:"):
        raise ServiceError(404, "IdentityNotFound", "The identity is not one of this resource.")
    return identity


def _scopes(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(scope, str) and scope in SCOPES for scope in value):
        known = ", ".join(sorted(SCOPES))
        raise ServiceError(400, "InvalidRequest", f"The scopes are not a list of known scopes: {known}.")
    return value


def _lifetime(body: dict[str, Any], service: Service) -> int:
    minutes = body.get("expiresInMinutes")
    if minutes is None or service.token_lifetime is not None:
        return 86400
    if type(minutes) is not int or minutes not in _MINUTES:
        raise ServiceError(400, "InvalidRequest", "expiresInMinutes is not a whole number from 60 to 1440.")
    return minutes * 60


ROUTES = (
    Route("/identities", _create, methods=["POST"]),
    Route("/identities/{identity}/:issueAccessToken", _issue, methods=["POST"]),
    Route("/identities/{identity}/:revokeAccessTokens", _revoke, methods=["POST"]),
    Route("/identities/{identity}", _delete, methods=["DELETE"]),
)
"""The routes, for the application."""
