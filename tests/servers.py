"""A small HTTP/1.1 server on real sockets that misbehaves on order."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import ByteStream, SocketStream

    Behaviour = Callable[["Server", ByteStream], Awaitable[None]]
    """What the server does when it has read a request. It keeps the connection open unless the stream is closed."""

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


class Request:
    """What the server read: the bytes themselves, and their parts."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.body = body


class Server:
    """Plays its script, one behaviour for each request, and then repeats the last one.

    Attributes:
        requests: What was read, in order.
        connections: How many were accepted.
        open: How many of them are open.
        sent: Bytes that were handed to the socket by `flood`.
    """

    def __init__(self, script: tuple[Behaviour, ...], *, tls: ssl.SSLContext | None, greet: Behaviour | None) -> None:
        self._script = script
        self._tls = tls
        self._greet = greet
        self.requests: list[Request] = []
        self.connections = self.open = self.sent = self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def let_in(self, tls: ssl.SSLContext) -> None:
        """Speak TLS from the next connection on, and greet nobody."""
        self._tls, self._greet = tls, None

    async def handle(self, stream: SocketStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            async with stream:
                await self._talk(stream)
        except (*_GONE, ssl.SSLError):
            pass
        finally:
            self.open -= 1

    async def _talk(self, raw: SocketStream) -> None:
        stream: ByteStream = raw
        if self._tls:
            stream = await TLSStream.wrap(raw, ssl_context=self._tls, server_side=True, standard_compatible=False)
        if self._greet:
            await self._greet(self, stream)
        while True:
            self.requests.append(await _read_request(stream))
            await self._script[min(len(self.requests), len(self._script)) - 1](self, stream)


async def _read_request(stream: ByteStream) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        while not body.endswith(b"0\r\n\r\n"):
            body += await stream.receive()
        return Request(head, _dechunk(body))
    wanted = int(Request(head, b"").headers.get("content-length", 0))
    while len(body) < wanted:
        body += await stream.receive()
    return Request(head, body)


def _dechunk(body: bytes) -> bytes:
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        content += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return content


@asynccontextmanager
async def serve(
    *script: Behaviour, tls: ssl.SSLContext | None = None, greet: Behaviour | None = None
) -> AsyncGenerator[Server]:
    """A server on loopback for the length of the block.

    Args:
        script: What it does with the first request, the second, and so on; the last one again and again.
        tls: Its certificate.
        greet: What it does with each connection before it reads from it.
    """
    server = Server(script, tls=tls, greet=greet)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    server.port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.handle)
        yield server
        group.cancel_scope.cancel()


def unused_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answer(status: int = 200, body: Any = None, *headers: tuple[str, str], length: int | None = None) -> Behaviour:
    """A whole answer. `body` is bytes, or an object that is sent as JSON; `length` is what the header says instead."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    async def behave(_server: Server, stream: ByteStream) -> None:
        await stream.send(head(status, ("Content-Length", str(len(content) if length is None else length)), *headers))
        await stream.send(content)
        if length is not None:
            await stream.aclose()

    return behave


def head(status: int, *headers: tuple[str, str]) -> bytes:
    """Status line and headers of an answer."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def send_bytes(data: bytes) -> Behaviour:
    """These bytes, and then the end of the connection."""

    async def behave(_server: Server, stream: ByteStream) -> None:
        await stream.send(data)
        await stream.aclose()

    return behave


def reset(data: bytes = b"") -> Behaviour:
    """These bytes, and then a TCP reset."""

    async def behave(_server: Server, stream: ByteStream) -> None:
        await stream.send(data)
        raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()

    return behave


def silence(data: bytes = b"") -> Behaviour:
    """These bytes, and then nothing for ever."""

    async def behave(_server: Server, stream: ByteStream) -> None:
        await stream.send(data)
        await stream.receive()  # returns when the client hangs up

    return behave


def announcing(event: anyio.Event, behaviour: Behaviour) -> Behaviour:
    """The same, after telling that it begins."""

    async def behave(server: Server, stream: ByteStream) -> None:
        event.set()
        await behaviour(server, stream)

    return behave


def hesitating(behaviour: Behaviour) -> Behaviour:
    """The same, after some turns of the event loop, in which its client can be cancelled on any loop."""

    async def behave(server: Server, stream: ByteStream) -> None:
        for _ in range(9):
            await anyio.lowlevel.checkpoint()
        await behaviour(server, stream)

    return behave


def drip(data: bytes) -> Behaviour:
    """These bytes at once, and then a blank every 20 ms, so that no single read ever takes long."""

    async def behave(_server: Server, stream: ByteStream) -> None:
        await stream.send(data)
        while True:
            await stream.send(b" ")
            await anyio.sleep(0.02)

    return behave


def flood(data: bytes, filler: bytes) -> Behaviour:
    """These bytes, and then the filler until 200 MB are sent or the client hangs up; `sent` counts them."""

    async def behave(server: Server, stream: ByteStream) -> None:
        await stream.send(data)
        while server.sent < 200_000_000:
            await stream.send(filler)
            server.sent += len(filler)
        await stream.aclose()

    return behave


def answer_and_hang_up(status: int, body: Any) -> Behaviour:
    """A whole answer that promises to keep the connection, and then its end."""
    first = answer(status, body)

    async def behave(server: Server, stream: ByteStream) -> None:
        await first(server, stream)
        await stream.aclose()

    return behave
