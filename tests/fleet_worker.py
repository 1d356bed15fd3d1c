"""The processes of a fleet: `fleet_worker.py PORT` loads what they need, and forks one for each line of its input.

A line is JSON: the backend, the store, the service's URL, the lease and the place of the process. Each process connects
to the port, says its id, and does as it is told there: at each line it has its token refreshed, or just asks for it
where the line says "get", and answers with what it has then, or what it raised. The key is in FLEET_KEY.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import ssl
import sys
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import trio  # noqa: F401 - loaded once, before the forks
from anyio.streams.buffered import BufferedByteReceiveStream

from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.fleet import RedisTokenStore, SQLiteTokenStore, shared

if TYPE_CHECKING:
    from anyio.abc import SocketStream

if find_spec("coredis"):
    import coredis  # noqa: F401 - likewise

TLS = ssl.create_default_context()  # to read the certificates takes long


class StoreLog(logging.Handler):
    """Knows from the log whether this process goes without its store.

    Attributes:
        is_alone: Whether the store has failed, and has not worked since.
    """

    is_alone = False

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "acs_event", "")
        if event in ("store_failed", "store_recovered"):
            self.is_alone = event == "store_failed"


def watched_log() -> StoreLog:
    """The log of this process, in which nothing is written."""
    log, logger = StoreLog(), logging.getLogger("anyio_acs_credential")
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    return log


def store_at(where: str) -> RedisTokenStore | SQLiteTokenStore:
    """The store at a URL, or in a file."""
    keys = [os.environ["FLEET_KEY"]]
    if where.startswith("redis:"):
        return RedisTokenStore(where, encryption_keys=keys)
    return SQLiteTokenStore(where, encryption_keys=keys)


async def work(port: int, order: dict[str, Any]) -> None:
    """Be one process."""
    log = watched_log()
    who = {"X-Pid": str(os.getpid()), "X-Place": str(order["place"])}
    async with (
        await anyio.connect_tcp("127.0.0.1", port) as stream,
        httpx.AsyncClient(headers=who, timeout=60, verify=TLS) as http,
        store_at(order["store"]) as store,
    ):
        await stream.send(b"%d\n" % os.getpid())

        async def fetch_token() -> str:
            answer = await http.get(order["url"], headers={"X-Alone": str(log.is_alone)})
            token: str = answer.raise_for_status().json()["token"]
            return token

        source = shared(fetch_token, store, key="ana", lease=order["lease"])
        async with CommunicationTokenCredential(token_refresher=source) as credential:
            await obey(stream, credential, log)


async def obey(stream: SocketStream, credential: CommunicationTokenCredential, log: StoreLog) -> None:
    """Do what each line says, until there is none."""
    lines = BufferedByteReceiveStream(stream)
    with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
        while True:
            line = await lines.receive_until(b"\n", 100)
            try:
                token = await (credential.get_token() if line == b"get" else credential.refresh())
            except Exception as error:  # noqa: BLE001 - whoever reads it judges
                told = {"error": f"{type(error).__name__}: {error.__cause__ or error}"}
            else:
                told = {"token": sha256(token.token.encode()).hexdigest()}
            state = {"shared": credential.statistics().shared, "alone": log.is_alone}
            await stream.send(json.dumps({**told, **state}).encode() + b"\n")


def main(port: int) -> None:
    """Fork a process for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    for line in iter(sys.stdin.readline, ""):
        if os.fork() == 0:
            order = json.loads(line)
            os.close(0)
            anyio.run(work, port, order, backend=order["backend"])
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
