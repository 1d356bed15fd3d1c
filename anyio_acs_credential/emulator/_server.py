"""How an ASGI application is served over TLS on loopback while a block runs."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import anyio
from anycorn import Config, serve
from anycorn.config import Sockets

from .._loops.beside import beside

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from anycorn.typing import Framework
    from starlette.types import ASGIApp

_logger = logging.getLogger("anyio_acs_credential.emulator")


class _Config(Config):
    """anycorn's settings, for one listening socket of ours."""

    accesslog = None
    errorlog = _logger
    backlog = 1024
    graceful_timeout = 0
    include_date_header = False  # it would have this machine's time instead of the emulator's
    keep_alive_timeout = 10  # seconds; httpx closes idle connections sooner, so no request meets a closing one

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
        OSError: when the port cannot be used.
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

    Requests are answered even while a cancelled block cleans up. Leaving ends the requests in flight and all
    connections.

    Args:
        app: An ASGI application that answers the messages of the lifespan protocol.
        listener: The listening socket.
        context: The server's TLS context.

    Raises:
        RuntimeError: when the server itself failed. An exception of the block comes out unchanged.
    """
    server = _Server(app, listener, context)
    async with beside(server, "acs-emulator"):
        await server.started.wait()
        yield


class _Server:
    """The server, in a task beside the block.

    Attributes:
        crash: The error that ended it, or None.
        started: Set when it answers requests, or has failed.
    """

    crash: BaseException | None = None

    def __init__(self, app: ASGIApp, listener: socket.socket, context: ssl.SSLContext) -> None:
        self.started = anyio.Event()
        self._app = cast("Framework", app)
        self._config = _Config(listener, context)
        self._left = anyio.Event()
        self._status = _Started(self.started)

    async def run(self) -> None:
        # Shielded, so that requests are answered even while a cancelled block cleans up.
        with anyio.CancelScope(shield=True):
            try:
                # Without a trigger, anycorn would install signal handlers.
                await serve(self._app, self._config, shutdown_trigger=self._left.wait, task_status=self._status)
            except Exception as error:
                self.crash = RuntimeError("the emulator's server failed: please report it with this traceback")
                raise self.crash from error
            finally:
                self.started.set()

    def close(self) -> None:
        self._left.set()


class _Started:
    """The task status that anycorn calls when it has begun to serve."""

    def __init__(self, event: anyio.Event) -> None:
        self._event = event

    def started(self, _value: object = None) -> None:
        self._event.set()
