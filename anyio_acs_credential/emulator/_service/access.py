"""Who may call: requests signed with the access key, or with a user's access token or an Entra token.

The check of signatures is written from https://learn.microsoft.com/rest/api/communication/authentication, and apart
from the package's own signing, so that each checks the other.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from .._entra.scopes import MANAGEMENT
from .._entra.tokens import encode
from .answers import entra_of, service_of
from .errors import ServiceError
from .state import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from .._entra.scopes import Api
    from .state import Service

_CLOCK_SKEW = 300  # seconds; an assumption, since no number of the service's is known
_SIGNED = "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="


async def check_manager(request: Request) -> None:
    """Let a request pass that may manage the resource.

    Such a request is signed with the access key, over exactly the bytes that arrived, or carries an Entra token.

    Args:
        request: The request, whose body is read.

    Raises:
        ServiceError: 401, in every other case.
    """
    if _has_bearer(request):
        check_entra(request, MANAGEMENT)
    else:
        await _check_signature(request, service_of(request))


def check_entra(request: Request, api: Api) -> Mapping[str, Any]:
    """Let a request pass that carries a valid Entra token.

    Args:
        request: The request.
        api: The API that the token must be for.

    Returns:
        The claims of the token.

    Raises:
        ServiceError: 401, in every other case; with a challenge where claims are missing.
    """
    entra = entra_of(request)
    try:
        claims = entra.tokens.check_for(_bearer_token(request), api)
    except ValueError as error:
        raise refused(str(error)) from error
    missing = entra.claims_missing(claims)
    if missing is not None:
        where = f'authorization_uri="{entra.authority}/oauth2/v2.0/authorize"'
        challenge = f'Bearer realm="", {where}, error="insufficient_claims", claims="{encode(missing)}"'
        message = "The access token is not accepted: further claims are required."
        raise ServiceError(401, "Unauthorized", message, {"WWW-Authenticate": challenge})
    return claims


async def _check_signature(request: Request, service: Service) -> None:
    date = request.headers.get("x-ms-date", "")
    if abs(_unix_time(date) - service.clock.time()) > _CLOCK_SKEW:
        now = datetime.fromtimestamp(service.clock.time(), UTC)
        reason = "x-ms-date is missing, malformed or more than 5 minutes from the service's time"
        raise _denied(f"{reason}, which is {now:%Y-%m-%dT%H:%M:%SZ}")
    content_hash = b64encode(hashlib.sha256(await request.body()).digest()).decode()
    if request.headers.get("x-ms-content-sha256") != content_hash:
        raise _denied("x-ms-content-sha256 is not the hash of the body")
    parts = (date, request.headers.get("host", ""), content_hash)
    text = "\n".join((request.method, _target(request.scope), ";".join(parts)))
    signature = b64encode(hmac.new(service.access_key, text.encode(), hashlib.sha256).digest()).decode()
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"{_SIGNED}{signature}".encode()):
        raise _denied("the signature is missing or wrong")


def check_user(request: Request, service: Service, scopes: frozenset[str]) -> Mapping[str, Any]:
    """Let a request pass that carries a valid access token.

    Args:
        request: The request.
        service: The service, which issued the token.
        scopes: The scopes of which the token must have one.

    Returns:
        The claims of the token.

    Raises:
        ServiceError: 401 without a valid token; 403 when it has none of the scopes.
    """
    claims = service.check_token(_bearer_token(request))
    if scopes.isdisjoint(claims["acsScope"].split(",")):
        challenge = f'Bearer error="insufficient_scope", scope="{" ".join(sorted(scopes))}"'
        raise ServiceError(403, "Forbidden", "The access token lacks the scope.", {"WWW-Authenticate": challenge})
    return claims


def _has_bearer(request: Request) -> bool:
    return request.headers.get("authorization", "").partition(" ")[0].lower() == "bearer"


def _bearer_token(request: Request) -> str:
    if "authorization" not in request.headers:
        raise ServiceError(401, "Unauthorized", "The access token is missing.", {"WWW-Authenticate": "Bearer"})
    if not _has_bearer(request):
        raise refused("the authorization scheme is not Bearer")
    return request.headers["authorization"].partition(" ")[2]


def _target(scope: Mapping[str, Any]) -> str:
    query: str = scope["query_string"].decode("latin-1")
    path: str = scope["raw_path"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _unix_time(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return float("-inf")


def _denied(reason: str) -> ServiceError:
    message = f"Denied by the resource provider: {reason}."
    return ServiceError(401, "Denied", message, {"WWW-Authenticate": "HMAC-SHA256"})
