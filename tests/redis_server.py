"""A real redis-server for tests, and a proxy that does to its traffic what networks do.

It is Debian's package `redis-server`. Where it is missing, the tests that need it are skipped; in CI (`CI=true`) they
fail.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.abc import SocketAttribute
from servers import unused_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from anyio.abc import SocketStream

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


class RedisServer:
    """A process of redis-server that keeps nothing on disk.

    Args:
        folder: Where its socket is.
        options: More of its options.

    Attributes:
        port: Its port on loopback, the same after each start.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = 0
        self.path = folder / "redis.sock"
        self._options = ["--bind", "127.0.0.1", "--dir", str(folder), "--unixsocket", str(self.path)]
        self._options += ["--save", "", "--appendonly", "no", *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty."""
        port = self.port or unused_port()
        command = ["redis-server", "--port", str(port), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        deadline = monotonic() + 30
        while not self.say(b"PING"):
            if self._process.poll() is not None:
                assert not self.port, "redis-server has ended"
                self.start()  # somebody else has taken the port meanwhile
                return
            assert monotonic() < deadline, "redis-server is not ready within 30 seconds"
            sleep(0.01)
        self.port = port

    def kill(self) -> None:
        """Have it end at once, as a machine does that fails."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.path.unlink(missing_ok=True)

    def say(self, *words: bytes) -> bytes:
        """Send a command, and give the beginning of the answer; nothing where nobody listens."""
        text = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        with suppress(OSError), socket.socket(socket.AF_UNIX) as stream:
            stream.connect(str(self.path))
            stream.sendall(text)
            return stream.recv(4096)
        return b""


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """A server for the length of the block."""
    if shutil.which("redis-server") is None:
        missing = "redis-server is not installed: apt-get install redis-server"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:  # pytest's is too long for a socket's path
        server = RedisServer(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.kill()


class Proxy:
    """What lies between a store and its server.

    Attributes:
        port: Where it listens.
        swallows: Whether what arrives from either side goes no further.
        delay: Seconds that each piece of an answer is late.
        cuts: How many answers are cut after their first byte, with the connection.
        connections: How many were made.
        seen: All that has arrived from either side.
    """

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self.port = 0
        self.swallows = False
        self.delay = 0.0
        self.cuts = 0
        self.connections = 0
        self.seen = bytearray()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def handle(self, client: SocketStream) -> None:
        self.connections += 1
        with suppress(*_GONE):
            async with (
                client,
                await anyio.connect_tcp("127.0.0.1", self._behind) as server,
                anyio.create_task_group() as group,
            ):
                group.start_soon(self._pass_on, client, server, False)
                group.start_soon(self._pass_on, server, client, True)

    async def _pass_on(self, source: SocketStream, target: SocketStream, answers: bool) -> None:
        with suppress(*_GONE):
            while True:
                data = await source.receive()
                self.seen += data
                if self.swallows:
                    continue
                if answers and self.cuts:
                    self.cuts -= 1
                    await target.send(data[:1])
                    break
                if answers and self.delay:
                    await anyio.sleep(self.delay)
                await target.send(data)
        for stream in (source, target):
            await stream.aclose()


@asynccontextmanager
async def proxy(server: RedisServer) -> AsyncGenerator[Proxy]:
    """A proxy before a server for the length of the block."""
    made = Proxy(server.port)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    made.port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, made.handle)
        yield made
        group.cancel_scope.cancel()
