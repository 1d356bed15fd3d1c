"""What every request passes first: it is logged, may meet a fault, and its answer gets a date and an id."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from http.client import responses
from secrets import token_bytes
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
from starlette.responses import JSONResponse, Response

from ._service.answers import error_answer
from ._tls import cut_connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ._faults import Fault, Faults
    from ._settings import Clock

_LOG_SIZE = 10_000


@dataclass(frozen=True)
class RequestRecord:
    """A request that the emulator received.

    Attributes:
        method: The HTTP method.
        path: The decoded path, without the query.
        status: The HTTP status of the answer; None where a fault left the request without one.
        time: When that was decided, in Unix seconds by the emulator's clock.
    """

    method: str
    path: str
    status: int | None
    time: float


class Front:
    """An ASGI application around another one.

    Args:
        app: The application that answers.
        faults: The faults in force.
        clock: The emulator's clock.

    Attributes:
        log: The newest 10,000 requests.
    """

    def __init__(self, app: ASGIApp, faults: Faults, clock: Clock) -> None:
        self._app = app
        self._faults = faults
        self._clock = clock
        self.log: deque[RequestRecord] = deque(maxlen=_LOG_SIZE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's lifespan."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, *_when_read(receive, self._recording(scope, send)))
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.take(f"{scope['method']} {scope['path']}")
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.action == "delay":
            await anyio.sleep(fault.delay)
            await self._app(scope, receive, send)
        elif fault.action == "fail":
            await _failure(fault, scope["path"])(scope, receive, send)
        elif fault.action == "answer":
            await _answer(fault)(scope, receive, send)
        else:
            self._record(scope, None)
            if fault.action == "reset":
                cut_connection()
            else:
                await _disconnect(receive)

    def _recording(self, scope: Scope, send: Send) -> Send:
        async def recording(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._record(scope, message["status"])
                message["headers"] = [*self._date(message["headers"]), *message["headers"], *_ids()]
            await send(message)

        return recording

    def _date(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """A `Date` with the emulator's time, unless an ordered answer has a `Date` of its own."""
        if any(name == b"date" for name, _ in headers):
            return []
        return [(b"date", formatdate(self._clock.time(), usegmt=True).encode())]

    def _record(self, scope: Scope, status: int | None) -> None:
        self.log.append(RequestRecord(scope["method"], scope["path"], status, self._clock.time()))


def _when_read(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Delay an answer until its request was read to the end.

    After an answer to a request that it has not read, the server closes the connection, on which the client may already
    be sending its next request.
    """
    is_read = False

    async def read() -> Message:
        nonlocal is_read
        message = await receive()
        is_read = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def answer(message: Message) -> None:
        while not is_read:
            await read()
        await send(message)

    return read, answer


def _failure(fault: Fault, path: str) -> ASGIApp:
    message = "The emulator was told to fail."
    headers = None if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if "/oauth2/" in path:  # the authority's errors have OAuth's form (RFC 6749, section 5.2)
        error = "invalid_request" if fault.status < 429 else "temporarily_unavailable"
        return JSONResponse({"error": error, "error_description": message}, fault.status, headers)
    code = responses.get(fault.status, "Error").replace(" ", "")
    return error_answer(fault.status, code, message, headers)


def _answer(fault: Fault) -> ASGIApp:
    response = Response(fault.body, fault.status)
    response.raw_headers.extend((name.lower().encode(), value.encode("latin-1")) for name, value in fault.headers)
    return response


def _ids() -> list[tuple[bytes, bytes]]:
    vector = b64encode(token_bytes(16)).rstrip(b"=") + b".0"
    return [(b"x-ms-request-id", str(uuid4()).encode()), (b"ms-cv", vector)]


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _live(receive: Receive, send: Send) -> None:
    # With Starlette's own handler, the server raises when it is cancelled, and it waits for one that returns early.
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
