"""Fifty real processes with one store, who all want another token at the same moment: what the service is asked."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import TYPE_CHECKING

from anyio_acs_credential.testing import make_jwt

from ._fleet_stores import KEY, redis_apart
from ._fleet_worker import live
from ._measure import BACKENDS
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

PROMISES = ("R65",)

PROCESSES = 50
LATENCY = 0.2  # seconds that the service takes
PATIENCE = 120.0
DIGEST = 64  # digits of a token's digest: what is told besides is an error
# One process imports all of this, and the fifty are forked from it: fifty imports at once would be what is measured.
PRELOADED = ["benchmarks._fleet_worker", "coredis", "cryptography.fernet", "sqlite3", "trio"]


@dataclass
class Count:
    """What became of some lives of a token.

    Attributes:
        lives: How many.
        requests: That the service was sent.
        killed: How many processes were killed as they asked it.
        ended: How many ended at all.
        at_once: How many requests came while another living process was being served.
        wrong: What processes told that is no token, or the one that they had.
        without: Answers of processes whose store failed them meanwhile, such as by giving no answer within a second.
        slowest: Seconds until the last process had its token, at worst.
    """

    lives: int = 0
    requests: int = 0
    killed: int = 0
    ended: int = 0
    at_once: int = 0
    wrong: list[str] = field(default_factory=list)
    without: int = 0
    slowest: float = 0.0


class Service(ThreadingTCPServer):
    """Issues tokens, one a request, and kills the process that asks first, where it is told to."""

    daemon_threads = True
    request_queue_size = PROCESSES

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.count = Count()
        self.kills_next = False
        self.asking = 0
        self.lock = Lock()


class Answer(StreamRequestHandler):
    """One request."""

    def handle(self) -> None:
        service, pid = self.server, int(self.rfile.readline())
        assert isinstance(service, Service)
        with service.lock:
            service.count.requests += 1
            if service.kills_next:
                service.kills_next = False
                service.count.killed += 1
                os.kill(pid, signal.SIGKILL)
                return
            service.count.at_once += service.asking
            service.asking += 1
        time.sleep(LATENCY)
        with service.lock:
            service.asking -= 1
        self.wfile.write(f"{make_jwt(3600)}\n".encode())


class Fleet:
    """The processes."""

    def __init__(self, place: str, port: int) -> None:
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._place = place
        self._port = port
        self._backends: dict[Connection, str] = {}
        self._told: dict[Connection, str | None] = {}
        self.ended = self.without = 0  # see `Count`

    def start(self, count: int) -> None:
        """Start so many processes, half on each backend, and wait until all are ready."""
        for number in range(count):
            self._start(BACKENDS[number % 2])
        assert {self._heard(orders) for orders in self._backends} == {"ready"}

    def all_want(self, order: str) -> list[str]:
        """Ask all of them at once.

        Returns:
            What those that live told, if it is no token, or one that the process had already.
        """
        for orders in self._backends:
            orders.send(order)
        before, self._told = self._told, {orders: self._heard(orders) for orders in self._backends}
        return [
            what
            for orders, what in self._told.items()
            if what is not None and (len(what) != DIGEST or what == before.get(orders))
        ]

    def replace(self) -> list[str]:
        """Put others in the place of those that were killed.

        Returns:
            What they told that is not the token of the others.
        """
        told = set(self._told.values())
        others = [self._start(self._backends.pop(orders)) for orders, what in self._told.items() if what is None]
        self.ended += len(others)
        for orders in others:
            assert self._heard(orders) == "ready"
            orders.send("get")
        self._told = {orders: self._told.get(orders) or self._heard(orders) for orders in self._backends}
        return [what or "a process ended by itself" for what in self._told.values() if what not in told]

    def end(self) -> None:
        """Let them all end."""
        for orders in self._backends:
            orders.close()

    def _heard(self, orders: Connection) -> str | None:
        """What a process tells next; None where it was killed."""
        try:
            if not orders.poll(PATIENCE):
                return f"nothing within {PATIENCE:g} s"
            told, has_failed = orders.recv()
        except (EOFError, ConnectionError):
            return None
        self.without += has_failed
        return str(told)

    def _start(self, backend: str) -> Connection:
        ours, theirs = self._context.Pipe()
        arguments = (backend, self._place, KEY, self._port, theirs)
        self._context.Process(target=live, args=arguments, daemon=True).start()
        theirs.close()
        self._backends[ours] = backend
        return ours


def measure(quick: bool) -> Iterator[Row]:
    """Without a kill, and with one in each life, on Redis and on SQLite."""
    lives = 3 if quick else 20
    with redis_apart() as redis, TemporaryDirectory() as folder:
        for name, place in {redis.version: redis.url, "SQLite": str(Path(folder) / "tokens.db")}.items():
            with _fleet(place) as (fleet, service):
                for kill in (False, True):
                    yield _row(_count(fleet, service, lives, kill), name, kill)


@contextmanager
def _fleet(place: str) -> Iterator[tuple[Fleet, Service]]:
    with ExitStack() as stack:
        service = stack.enter_context(Service())
        Thread(target=service.serve_forever, daemon=True).start()
        stack.callback(service.shutdown)
        fleet = Fleet(place, service.server_address[1])
        stack.callback(fleet.end)
        fleet.start(PROCESSES)
        yield fleet, service


def _count(fleet: Fleet, service: Service, lives: int, kill: bool) -> Count:
    count = service.count = Count()
    fleet.ended = fleet.without = 0
    for _ in range(lives):
        service.kills_next = kill
        began = time.perf_counter()
        count.wrong += fleet.all_want("refresh")  # the first time, nobody has a token to be replaced
        count.slowest = max(count.slowest, time.perf_counter() - began)
        count.wrong += fleet.replace()
        count.lives += 1
    count.ended, count.without = fleet.ended, fleet.without
    return count


def _row(count: Count, store: str, kill: bool) -> Row:
    killed = f" and {count.killed} killed holders" if kill else ""
    return Row(
        figure=f"requests a token life of {PROCESSES} processes, half of them asyncio and half trio, on {store}, who "
        f"all want another token at once{', the one that asks being killed each time' if kill else ''}",
        target="1, and at most 1 for each killed holder" if kill else "1",
        measured=f"{count.requests / count.lives:.2f}: {count.requests} for {count.lives} lives{killed}; living "
        f"processes that asked at the same time: {count.at_once}; processes without a new token: {len(count.wrong)}; "
        f"answers of processes whose store failed or took a second: {count.without}; "
        f"the last had it after {count.slowest:.1f} s at worst",
        reached=count.lives <= count.requests <= count.lives + count.killed
        and count.ended == count.killed == (count.lives if kill else 0)
        and not count.wrong,
        floor=f"without a store: {PROCESSES}",
    )
