"""Processes of a fleet, and the service that counts what they ask of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from servers import answer, serve

from anyio_acs_credential.fleet import new_encryption_key
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import ByteStream, Process, SocketStream
    from servers import Server

WORKER = Path(__file__).with_name("fleet_worker.py")
UNCLOSED = "ignore:Unclosed <MemoryObject:ResourceWarning"  # coredis leaves them to the garbage collector
PATIENCE = 60.0


@dataclass(eq=False)
class Question:
    """What a process asks of the service.

    Attributes:
        pid: Which one.
        place: Its place in the fleet, which the next one takes over.
        is_alone: Whether it says that it goes without the store.
        is_apart: Whether something has happened to it since, by which another may have taken its lease.
    """

    pid: int
    place: int
    is_alone: bool
    is_apart: bool = False


class Service:
    """Issues tokens, one a request.

    Attributes:
        life: How long they live, in seconds.
        issued: All of them.
        asking: The questions that are being answered, in order.
        overlaps: Each two that were at the same time.
        before: Awaited before each answer, with the question.
        url: Where it is.
    """

    def __init__(self, life: float = 3600) -> None:
        self.life = life
        self.issued: list[str] = []
        self.asking: list[Question] = []
        self.overlaps: list[tuple[Question, Question]] = []
        self.before: Callable[[Question], Awaitable[object]] = lambda _question: anyio.lowlevel.checkpoint()
        self.url = ""

    async def issue(self, server: Server, stream: ByteStream) -> None:
        said = server.requests[-1].headers
        question = Question(int(said["x-pid"]), int(said["x-place"]), said["x-alone"] == "True")
        self.overlaps.extend((other, question) for other in self.asking)
        self.asking.append(question)
        try:
            await self.before(question)
            self.issued.append(make_jwt(self.life))
            await answer(200, {"token": self.issued[-1]})(server, stream)
        finally:
            self.asking.remove(question)

    def is_shown_in(self, data: bytes) -> bool:
        """Whether a part of a token can be read there."""
        return any(part.encode() in data for token in self.issued for part in token.split("."))


class Worker:
    """One process.

    Attributes:
        pid: Its id.
        is_gone: Whether it is known to have ended, so that its id may be another process's.
    """

    def __init__(self, stream: SocketStream) -> None:
        self.pid = 0
        self.is_gone = False
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)

    async def ask(self, how: str = "refresh") -> None:
        """Write it a line."""
        await self._stream.send(f"{how}\n".encode())

    async def told(self) -> dict[str, Any]:
        """The next line that it answers with."""
        told: dict[str, Any] = json.loads(await self._line())
        return told

    async def hello(self) -> None:
        """Wait until it has begun."""
        self.pid = int(await self._line())

    async def _line(self) -> bytes:
        try:
            with anyio.fail_after(PATIENCE):
                return await self._lines.receive_until(b"\n", 10_000)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead):
            self.is_gone = True
            raise


@asynccontextmanager
async def service(life: float = 3600) -> AsyncGenerator[Service]:
    """A service on loopback."""
    made = Service(life)
    async with serve(made.issue) as server:
        made.url = server.url
        yield made


class Fleet:
    """Starts processes that share a store.

    Args:
        parent: Forks them.
        listener: Where they say that they have begun.
        url: That of their service.
        lease: That of their source.
    """

    def __init__(self, parent: Process, listener: Any, url: str, lease: float) -> None:
        self._parent = parent
        self._listener = listener
        self._common = {"url": url, "lease": lease}
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def worker(self, backend: str, store: Path | str, place: int = 0) -> AsyncGenerator[Worker]:
        """A process; it is killed at the end, if it has not been before."""
        order = {"backend": backend, "store": str(store), "place": place, **self._common}
        assert self._parent.stdin is not None
        async with self._turn:
            await self._parent.stdin.send(f"{json.dumps(order)}\n".encode())
            with anyio.fail_after(5 * PATIENCE):  # the first is forked when all is loaded
                stream = await self._listener.accept()
        async with stream:
            worker = Worker(stream)
            await worker.hello()
            try:
                yield worker
            finally:
                if not worker.is_gone:
                    with suppress(ProcessLookupError):
                        os.kill(worker.pid, signal.SIGKILL)


@asynccontextmanager
async def fleet(url: str, lease: float = 5.0) -> AsyncGenerator[Fleet]:
    """A fleet whose processes ask the service at this URL."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
        parent = await anyio.open_process(
            [sys.executable, "-W", "error", "-W", UNCLOSED, str(WORKER), str(port)],
            env={**os.environ, "FLEET_KEY": new_encryption_key()},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=None,
        )
        try:
            yield Fleet(parent, listener.listeners[0], url, lease)
        finally:
            with anyio.CancelScope(shield=True):
                parent.kill()
                await parent.aclose()
