"""Processes of a fleet, and the service that counts what they ask of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from anyio.streams.buffered import BufferedByteReceiveStream
from servers import answer, serve

from anyio_acs_credential.fleet import new_encryption_key
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import ByteStream, Process
    from servers import Server

WORKER = Path(__file__).with_name("fleet_worker.py")
PATIENCE = 60.0


class Service:
    """Issues tokens, one a request.

    Attributes:
        life: How long they live, in seconds.
        issued: All of them.
        asking: The ids of the processes that are being served, in order.
        overlaps: The ids of each two that were served at the same time.
        before: Awaited before each answer, with the id of the process that asks.
        url: Where it is.
    """

    def __init__(self, life: float = 3600) -> None:
        self.life = life
        self.issued: list[str] = []
        self.asking: list[int] = []
        self.overlaps: list[tuple[int, int]] = []
        self.before: Callable[[int], Awaitable[object]] = anyio.sleep
        self.url = ""

    async def issue(self, server: Server, stream: ByteStream) -> None:
        pid = int(server.requests[-1].headers["x-pid"])
        self.overlaps.extend((other, pid) for other in self.asking)
        self.asking.append(pid)
        try:
            await self.before(pid)
            self.issued.append(make_jwt(self.life, canary="canary"))
            await answer(200, {"token": self.issued[-1]})(server, stream)
        finally:
            self.asking.remove(pid)


class Worker:
    """One process.

    Attributes:
        process: It.
    """

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self.process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def ask(self, how: str = "refresh") -> None:
        """Write it a line."""
        assert self.process.stdin is not None
        await self.process.stdin.send(f"{how}\n".encode())

    async def told(self) -> dict[str, Any]:
        """The next line that it prints."""
        with anyio.fail_after(PATIENCE):
            line = await self._lines.receive_until(b"\n", 10_000)
        told: dict[str, Any] = json.loads(line)
        return told


@asynccontextmanager
async def service(life: float = 3600) -> AsyncGenerator[Service]:
    """A service on loopback."""
    made = Service(life)
    made.before = lambda _pid: anyio.lowlevel.checkpoint()
    async with serve(made.issue) as server:
        made.url = server.url
        yield made


class Fleet:
    """Starts processes that share a store.

    Attributes:
        path: The store's.
    """

    def __init__(self, directory: Path, url: str, lease: float = 5.0) -> None:
        self.path = directory / "tokens.db"
        self._url = url
        self._lease = lease
        self._environment = {**os.environ, "FLEET_KEY": new_encryption_key()}

    @asynccontextmanager
    async def worker(self, backend: str) -> AsyncGenerator[Worker]:
        """A process; it is killed at the end, if it has not been before."""
        process = await anyio.open_process(
            [sys.executable, "-W", "error", str(WORKER), backend, str(self.path), self._url, str(self._lease)],
            env=self._environment,
            stdin=subprocess.PIPE,
            stderr=None,
        )
        try:
            yield Worker(process)
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.aclose()

    def clear_text(self) -> list[str]:
        """The files in the store's directory in which a token can be read."""
        found = [file for file in self.path.parent.iterdir() if b"canary" in file.read_bytes()]
        return [file.name for file in [*found, *self._with_jwt()]]

    def _with_jwt(self) -> list[Path]:
        return [file for file in self.path.parent.iterdir() if b"eyJ" in file.read_bytes()]
