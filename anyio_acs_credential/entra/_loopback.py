"""Where the browser brings the answer to a sign-in: one redirect on loopback (RFC 8252, section 7.3).

Each request is read within limits of size and time, and answered with a page. Only a request to the redirect's path
with the sign-in's own `state` ends the wait, so that no other program on this machine can end it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from socket import create_server
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from .._common.redaction import Hidden
from ._page import page
from ._redirect import BadRequestError, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from socket import socket

    from anyio.abc import Listener, TaskGroup

    from ._redirect import RedirectAddress

_READ_TIMEOUT = 10.0  # seconds to read a request
_SEND_TIMEOUT = 2.0  # seconds to send a page
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


@dataclass(frozen=True, slots=True)
class Redirect:
    """The browser's request, whose page is still to be sent.

    Attributes:
        params: The parameters of the authority's answer.
        stream: The browser's connection.
    """

    params: dict[str, str]
    stream: SocketStream

    async def show(self, title: str, *texts: str) -> None:
        """Send the page, if the browser still wants it."""
        await _send(self.stream, page(200, title, *texts))


async def listen(address: RedirectAddress) -> tuple[Listener[SocketStream], str]:
    """A listener on 127.0.0.1, and the redirect URI that leads to it.

    Raises:
        OSError: when the port is taken.
    """
    # Not create_tcp_listener(): asyncio resolves even a numeric address in its default executor, which may be full.
    listener = await SocketListener.from_socket(create_server(("127.0.0.1", address.port)))
    return listener, address.uri(listener.extra(SocketAttribute.local_port))  # noqa: S610 - not Django


async def wait_for_redirect(
    listener: Listener[SocketStream],
    address: RedirectAddress,
    state: str,
    begin: Callable[[], Awaitable[Exception | None]],
) -> Redirect:
    """Answer requests until one brings the answer to this sign-in.

    It waits without a limit of its own; cancelling it closes the connections.

    Args:
        listener: Where requests come in. It is not closed.
        address: Says which path is the redirect's.
        state: The `state` that the answer has to repeat.
        begin: Opens the browser. If it returns an error, the wait ends and the error is raised.
    """
    back: list[Redirect] = []
    problems: list[Exception] = []
    crash: BaseException | None = None

    async def handle(stream: SocketStream) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(stream)
            params = await _serve(stream, address.path or "/", state)
            if params is not None and not back:
                back.append(Redirect(Hidden(params), stream))
                kept.push_async_exit(stack.pop_all())  # the page is still to be sent
                group.cancel_scope.cancel("the browser is back")

    async def send_off() -> None:
        if (problem := await begin()) is not None:
            problems.append(problem)
            group.cancel_scope.cancel("there is no browser")

    async with AsyncExitStack() as kept:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(send_off)
                await _accept(listener, handle, group)
        except BaseExceptionGroup as failures:
            crash = failures  # KeyboardInterrupt and its like come out alone, in no group
            while isinstance(crash, BaseExceptionGroup):
                crash = crash.exceptions[0]
        if crash is None and back:
            kept.pop_all()
            return back[0]
    raise crash or problems[0]


async def _accept(
    listener: Listener[SocketStream], handle: Callable[[SocketStream], Awaitable[None]], group: TaskGroup
) -> None:
    # Not listener.serve(): cancelled as a connection comes, asyncio logs an error and leaves the connection open.
    raw = listener.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django
    while True:
        await anyio.wait_readable(raw)
        with suppress(BlockingIOError, ConnectionAbortedError):  # the connection is gone already
            group.start_soon(_admit, raw.accept()[0], handle)


async def _admit(connection: socket, handle: Callable[[SocketStream], Awaitable[None]]) -> None:
    with ExitStack() as stack:
        stack.callback(connection.close)
        stream = await SocketStream.from_socket(connection)
        stack.pop_all()
    await handle(stream)


async def _serve(stream: SocketStream, path: str, state: str) -> dict[str, str] | None:
    """The parameters that one connection brings; None when its request does not answer this sign-in."""
    try:
        with anyio.fail_after(_READ_TIMEOUT):
            return await read_answer(stream, path, state)
    except BadRequestError as error:
        await _send(stream, page(error.status, "That did not work", error.text))
    except (TimeoutError, *_GONE):
        pass
    return None


async def _send(stream: SocketStream, data: bytes) -> None:
    with anyio.move_on_after(_SEND_TIMEOUT), suppress(*_GONE):
        await stream.send(data)
        await stream.send_eof()
        # Read to the end: closing with unread bytes resets the connection, and the page may be lost.
        while True:
            await stream.receive()
