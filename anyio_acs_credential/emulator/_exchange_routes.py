"""The exchange of an Entra token for an access token."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ._access import bearer_token
from ._answers import check_version, json_object, service_of
from ._entra_scopes import CLIENTS, TEAMS_EXTENSION
from ._entra_tokens import encode
from ._service_error import ServiceError
from ._state import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from ._entra_state import Entra

__all__ = ("ROUTES",)

_DAY = 86400
_SCOPES = {"Chat": "chat", "VoIP": "voip"}


async def _exchange(request: Request, *, audiences: frozenset[str], versions: frozenset[str]) -> Response:
    service = service_of(request)
    entra = cast("Entra", request.app.state.entra)
    claims = _check_token(bearer_token(request), entra, audiences)
    check_version(request, versions)
    await json_object(request)
    identity = f"8:acs:{service.resource_id}_{claims['tid']}_{claims['oid']}"
    service.register_identity(identity)
    scopes = [_SCOPES[name] for name in claims["scp"].split() if name in _SCOPES] or ["chat", "voip"]
    return JSONResponse({"identity": {"id": identity}, "accessToken": service.issue_token(identity, scopes, _DAY)})


def _check_token(token: str, entra: Entra, audiences: frozenset[str]) -> Mapping[str, Any]:
    try:
        claims = entra.tokens.check(token, audiences)
    except ValueError as error:
        raise refused(str(error)) from error
    missing = entra.claims_missing(claims)
    if missing is not None:
        where = f'authorization_uri="{entra.authority}/oauth2/v2.0/authorize"'
        challenge = f'Bearer realm="", {where}, error="insufficient_claims", claims="{encode(missing)}"'
        message = "The access token is not accepted: further claims are required."
        raise ServiceError(401, "Unauthorized", message, {"WWW-Authenticate": challenge})
    return claims


def _route(family: str, audiences: frozenset[str], *versions: str) -> Route:
    endpoint = partial(_exchange, audiences=audiences, versions=frozenset(versions))
    return Route(f"/access/{family}/:exchangeAccessToken", endpoint, methods=["POST"])


ROUTES = (
    _route("entra", CLIENTS, "2025-03-02-preview"),
    _route("teamsExtension", TEAMS_EXTENSION, "2025-06-30"),
)
"""The routes, for the application."""
