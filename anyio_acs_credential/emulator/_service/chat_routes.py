"""The part of the Chat REST API that shows whether an access token is accepted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .access import check_user
from .answers import check_version, json_object, service_of

if TYPE_CHECKING:
    from starlette.requests import Request

_VERSIONS = frozenset({"2021-03-07", "2021-09-07", "2023-11-07", "2024-03-07", "2025-03-15"})
_ANY_CHAT = frozenset({"chat", "chat.join", "chat.join.limited"})


async def _list_threads(request: Request) -> Response:
    check_user(request, service_of(request), _ANY_CHAT)
    check_version(request, _VERSIONS)
    return JSONResponse({"value": []})


async def _create_thread(request: Request) -> Response:
    service = service_of(request)
    claims = check_user(request, service, frozenset({"chat"}))
    check_version(request, _VERSIONS)
    body = await json_object(request)
    creator = f"8:{claims['skypeid']}"
    thread = {
        "id": f"19:acsV1_{uuid4().hex}@thread.v2",
        "topic": body.get("topic", ""),
        "createdOn": f"{datetime.fromtimestamp(service.clock.time(), UTC):%Y-%m-%dT%H:%M:%SZ}",
        "createdByCommunicationIdentifier": {"rawId": creator, "communicationUser": {"id": creator}},
    }
    return JSONResponse({"chatThread": thread}, 201)


ROUTES = (
    Route("/chat/threads", _list_threads, methods=["GET"]),
    Route("/chat/threads", _create_thread, methods=["POST"]),
)
"""The routes, for the application."""
