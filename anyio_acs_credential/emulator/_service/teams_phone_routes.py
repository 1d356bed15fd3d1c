"""Who may use Teams Phone through the resource: the access assignments of Teams Phone Extensibility."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .access import check_manager
from .answers import check_version, json_object, service_of
from .errors import ServiceError
from .state import Assignment

if TYPE_CHECKING:
    from starlette.requests import Request

_RESOURCE_ACCOUNT = {
    "2025-03-02-preview": "teamsResourceAccount",
    "2025-06-30": "teamsResourceAccount",
    "2026-09-23": "resourceAccount",
}
"""The word for a resource account in each api-version."""
_VERSIONS = frozenset(_RESOURCE_ACCOUNT)


async def _get(request: Request) -> Response:
    principal = await _authorized(request)
    assignment = service_of(request).assignments.get(principal)
    if assignment is None:
        raise ServiceError(404, "NotFound", "The assignment does not exist.")
    return JSONResponse(_told(request, assignment))


async def _set(request: Request) -> Response:
    principal = await _authorized(request)
    body = await json_object(request)
    kinds, clients = ("user", _resource_account(request)), body.get("clientIds") or []
    if body.get("principalType") not in kinds:
        raise ServiceError(400, "ValidationError", f"principalType is not one of {', '.join(kinds)}.")
    if not isinstance(clients, list) or not all(isinstance(client, str) for client in clients):
        raise ServiceError(400, "ValidationError", "clientIds is not a list of ids.")
    assignments = service_of(request).assignments
    status = 200 if principal in assignments else 201
    assignments[principal] = Assignment(body["principalType"] == "user", tuple(clients))
    return JSONResponse(_told(request, assignments[principal]), status)


async def _delete(request: Request) -> Response:
    principal = await _authorized(request)
    service_of(request).assignments.pop(principal, None)
    return Response(status_code=204)


async def _authorized(request: Request) -> tuple[str, str]:
    """The principal that a request is about, if its sender may manage the resource."""
    await check_manager(request)
    check_version(request, _VERSIONS)
    return request.path_params["tenant_id"].lower(), request.path_params["object_id"].lower()


def _told(request: Request, assignment: Assignment) -> dict[str, Any]:
    kind = "user" if assignment.is_user else _resource_account(request)
    clients = {"clientIds": list(assignment.client_ids)} if assignment.client_ids else {}
    ids = {"objectId": request.path_params["object_id"], "tenantId": request.path_params["tenant_id"]}
    return {**ids, "principalType": kind, **clients}


def _resource_account(request: Request) -> str:
    return _RESOURCE_ACCOUNT[request.query_params["api-version"]]


_PATH = "/access/teamsExtension/tenants/{tenant_id}/assignments/{object_id}"
ROUTES = (
    Route(_PATH, _get, methods=["GET"]),
    Route(_PATH, _set, methods=["PUT"]),
    Route(_PATH, _delete, methods=["DELETE"]),
)
"""The routes, for the application."""
