"""What the routes share: reading requests and making answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from .errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from .._entra.state import Entra
    from .state import Service


def service_of(request: Request) -> Service:
    """The emulated resource that a request is for."""
    return cast("Service", request.app.state.service)


def entra_of(request: Request) -> Entra:
    """The tenant whose tokens the resource takes."""
    return cast("Entra", request.app.state.entra)


def check_version(request: Request, versions: frozenset[str]) -> None:
    """Let a request pass that names a version of the API that exists.

    Raises:
        ServiceError: 400, when the `api-version` parameter is missing or unknown.
    """
    version = request.query_params.get("api-version")
    if version is None:
        raise ServiceError(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
    if version not in versions:
        known = ", ".join(sorted(versions))
        raise ServiceError(400, "UnsupportedApiVersionValue", f"The api-version is not supported; use one of {known}.")


async def json_object(request: Request) -> dict[str, Any]:
    """The body of a request; an empty one is an empty object.

    Raises:
        ServiceError: 400, when it is not a JSON object.
    """
    try:
        value: Any = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise ServiceError(400, "InvalidRequest", "The body is not JSON.") from error
    if not isinstance(value, dict):
        raise ServiceError(400, "InvalidRequest", "The body is not a JSON object.")
    return cast("dict[str, Any]", value)


def error_answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with the service's error JSON."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def _refuse(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette gives both
    refusal = cast("ServiceError", error)
    return error_answer(refusal.status, refusal.code, refusal.message, refusal.headers)


async def _no_route(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette gives both
    refusal = cast("HTTPException", error)
    return error_answer(
        refusal.status_code, refusal.detail.title().replace(" ", ""), f"{refusal.detail}.", refusal.headers
    )


EXCEPTION_HANDLERS: Mapping[Any, Any] = {ServiceError: _refuse, HTTPException: _no_route}
