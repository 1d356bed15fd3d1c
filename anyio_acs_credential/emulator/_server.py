"""Serving an ASGI application over TLS on loopback for the length of a block."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import anyio
from anycorn import Config, serve
from anycorn.config import Sockets

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from anycorn.typing import Framework
    from anyio.abc import TaskStatus
    from starlette.types import ASGIApp

__all__ = ("bind", "serving")

_logger = logging.getLogger("anyio_acs_credential.emulator")


class _Config(Config):
    """anycorn's settings, for one listening socket of ours."""

    accesslog = None
    errorlog = _logger
    backlog = 1024
    graceful_timeout = 0
    keep_alive_timeout = 10  # longer than httpx keeps a connection, or requests would meet one that is just closing

    def __init__(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__()
        self._listener = listener
        self._context = context

    def create_sockets(self) -> Sockets:
        return Sockets([self._listener], [], [])

    def create_ssl_context(self) -> ssl.SSLContext:
        return self._context


def bind(port: int) -> socket.socket:
    """A socket that listens on loopback.

    Args:
        port: 0 for a free one.

    Raises:
        OSError: when the port cannot be had.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        reason = f"port {port} on 127.0.0.1 cannot be used ({error.strerror}): choose another, or 0 for a free one"
        raise OSError(error.errno, reason) from error
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket, context: ssl.SSLContext) -> AsyncGenerator[None]:
    """Serve the application while the block runs.

    Requests are answered also while a cancelled block cleans up. Leaving ends those in flight and all connections.

    Args:
        app: An ASGI application that answers the life span's messages.
        listener: Where it is served.
        context: How TLS is spoken there.

    Raises:
        RuntimeError: when the server itself failed. What the block raises comes out as it is.
    """
    body_error: BaseException | None = None
    left = anyio.Event()
    scope = anyio.CancelScope()

    async def run(*, task_status: TaskStatus[list[str]]) -> None:
        with scope:
            # Without a trigger, anycorn would install signal handlers.
            config = _Config(listener, context)
            await serve(cast("Framework", app), config, shutdown_trigger=left.wait, task_status=task_status)

    try:
        async with anyio.create_task_group() as group:
            await group.start(run, name="acs-emulator")
            scope.shield = True  # not before it has started: a start that is cancelled would wait for ever
            try:
                yield
            except BaseException as error:
                if not group.cancel_scope.cancel_called:
                    body_error = error
                raise
            finally:
                left.set()
    except BaseExceptionGroup as failures:
        if body_error is None:
            raise RuntimeError("the emulator's server failed: please report it with this traceback") from failures
    if body_error is not None:
        try:
            raise body_error
        finally:
            del body_error  # its traceback refers to this frame
