"""One process of the fleet that is measured."""

from __future__ import annotations

import logging
import os
from hashlib import sha256
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from anyio.streams.buffered import BufferedByteReceiveStream

from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.fleet import shared

from ._fleet_stores import store_at

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def live(backend: str, place: str, key: str, port: int, orders: Connection) -> None:
    """Do as one is told, until the other end is closed.

    At each order it asks for a token, or for another one where the order is "refresh", and tells the token's digest, or
    what was raised; and whether its store has failed meanwhile. Before that, it says that it is ready.
    """
    anyio.run(_obey, place, key, port, orders, backend=backend)


class Failures(logging.Handler):
    """Counts the times that the store was told to be out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += getattr(record, "acs_event", "") == "store_failed"


def _counted() -> Failures:
    failures, logger = Failures(), logging.getLogger("anyio_acs_credential")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(failures)
    return failures


async def _obey(place: str, key: str, port: int, orders: Connection) -> None:
    async def fetch_token() -> str:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"{os.getpid()}\n".encode())
            return (await BufferedByteReceiveStream(stream).receive_until(b"\n", 10_000)).decode()

    failures = _counted()
    async with store_at(place, key) as store:
        source = shared(fetch_token, store, key="ana")
        async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
            orders.send(("ready", False))
            while (order := await to_thread.run_sync(_next_order, orders)) is not None:
                before = failures.count
                try:
                    token = await (credential.refresh() if order == "refresh" else credential.get_token())
                except Exception as error:  # noqa: BLE001 - whoever counts wants to know
                    told = f"{type(error).__name__}: {error}"
                else:
                    told = sha256(token.token.encode()).hexdigest()
                orders.send((told, failures.count > before))


def _next_order(orders: Connection) -> str | None:
    try:
        order: str = orders.recv()
    except EOFError:
        return None
    return order
