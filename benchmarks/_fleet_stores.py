"""A redis-server of its own, and the stores that the fleet is measured with."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from anyio_acs_credential.fleet import RedisTokenStore, SQLiteTokenStore, new_encryption_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio_acs_credential.fleet import TokenStore

KEY = new_encryption_key()


class RedisServer(NamedTuple):
    """A process of redis-server.

    Attributes:
        url: Where it is.
        pid: Its id.
        version: What it says of itself, such as "redis-server 7.0.15".
    """

    url: str
    pid: int
    version: str


@contextmanager
def redis_apart() -> Iterator[RedisServer]:
    """A server for the length of the block, which keeps nothing on disk."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed: apt-get install redis-server")
    with TemporaryDirectory() as folder:
        port = _unused_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        try:
            _wait_for(port, process)
            yield RedisServer(f"redis://127.0.0.1:{port}/0", process.pid, _version(program))
        finally:
            process.kill()
            process.wait()


def store_at(place: str, key: str = KEY) -> TokenStore:
    """The store at a URL of Redis, or at a path."""
    if place.startswith("redis://"):
        return RedisTokenStore(place, encryption_keys=[key])
    return SQLiteTokenStore(place, encryption_keys=[key])


def _unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise RuntimeError("redis-server is not ready within 30 seconds: see whether it starts by itself")


def _version(program: str) -> str:
    told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
    return f"redis-server {told.split('v=')[1].split()[0]}"
