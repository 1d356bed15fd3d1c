"""Fleets of real processes on their bad days: `kill_campaign.py [RUNS [SEED]]`.

In each run, four processes ask for tokens that live half a minute. One of them is killed again and again, half of the
times the one that asks the service; and after a while some of these things happen as well, to one process or to all,
several at once:

* a process is stopped, and goes on;
* what is between a process and Redis delays, cuts or swallows what they say, or Redis itself is killed and comes back
  empty (odd seeds);
* another program has the SQLite file locked, or no byte can be written to it, as on a full disk (even seeds).

A process is apart while it is stopped, or its store cannot be relied on; for a moment after; and for as long as it says
in the log that the store has failed. What must hold:

* whoever asks has a token;
* of processes that are alive and not apart, no two ask the service at once;
* no part of a token is in the store's files, or on the way to Redis;
* when all is well again, the processes come together by themselves, and one asks for all.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import sys
import tempfile
import traceback
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from fleets import Fleet, Question, Service, Worker, fleet, service
from redis_server import RedisServer, proxy, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from redis_server import Proxy

LONG, SHORT = 8.0, 2.0  # seconds of bad days in a run; half as long, before them, there are only kills
BACKENDS = ("asyncio", "trio", "asyncio", "trio")
LIFE, LEASE = 30.0, 2.0  # a token outlives a stop, also on a machine that has other work
SLOWEST = 1.0  # seconds that the service takes for an answer
PAUSE = 0.1  # seconds between two questions to a process
LATEST = 60.0  # seconds for anything, on such a machine
WANTED = 0.2  # the part of questions by which another token is wanted
GRACE = 2.0  # seconds after which what was done to a process is over for it
KINDS = {"sqlite": ("stop", "lock", "full"), "redis": ("stop", "delay", "cut", "swallow", "down")}
ALL = tuple(range(len(BACKENDS)))
Report = dict[str, Any]


class Apart:
    """Knows which processes, by their places, have something done to them, or had a moment ago."""

    def __init__(self) -> None:
        self._now: list[Sequence[int]] = []
        self._until = dict.fromkeys(ALL, 0.0)

    @contextmanager
    def put(self, places: Sequence[int], asking: list[Question]) -> Iterator[None]:
        """For the length of the block. Who is asking may have lost the lease when the answer comes."""
        for question in asking:
            question.is_apart = question.is_apart or question.place in places
        self._now.append(places)
        try:
            yield
        finally:
            self._now.remove(places)
            self._until.update(dict.fromkeys(places, anyio.current_time() + GRACE))

    def has(self, place: int) -> bool:
        return any(place in places for places in self._now) or anyio.current_time() < self._until[place]


class SQLite:
    """The file, and what happens to it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "tokens.db"
        self.where = [self._path for _ in ALL]

    async def break_it(self, kind: str, pids: Sequence[int], seconds: float, _places: Sequence[int]) -> None:
        if kind == "full":
            with full_disk(pids):
                await anyio.sleep(seconds)
            return
        with suppress(sqlite3.OperationalError):  # a process that is stopped has it locked already
            connection = await to_thread.run_sync(locked, self._path)
            try:
                await anyio.sleep(seconds)
            finally:
                connection.close()

    def shows(self, served: Service) -> bool:
        return any(served.is_shown_in(file.read_bytes()) for file in self._path.parent.iterdir())


class Redis:
    """The server, a proxy before it for each process, and what happens to them."""

    def __init__(self, server: RedisServer, proxies: list[Proxy]) -> None:
        self._server = server
        self._proxies = proxies
        self._turn = anyio.Lock()
        self.where = [each.url for each in proxies]

    async def break_it(self, kind: str, _pids: Sequence[int], seconds: float, places: Sequence[int]) -> None:
        if kind == "down":
            async with self._turn:
                self._server.kill()
                await anyio.sleep(seconds)
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(self._server.start)
            return
        name, value = {"delay": ("delay", 1.5 * seconds), "cut": ("cuts", 10**6), "swallow": ("swallows", True)}[kind]
        for place in places:
            setattr(self._proxies[place], name, value)
        await anyio.sleep(seconds)
        for place in places:
            setattr(self._proxies[place], name, type(value)())

    def shows(self, served: Service) -> bool:
        return any(served.is_shown_in(bytes(each.seen)) for each in self._proxies)


def locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


@contextmanager
def full_disk(pids: Sequence[int]) -> Iterator[None]:
    """These processes can write no byte to a file."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE)[1] for pid in pids}
    for pid, most in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
    try:
        yield
    finally:
        for pid, most in limits.items():  # not as it was: it may have been full before
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


class Run:
    """One run.

    Args:
        seed: Makes it the same each time, but for the machine's own pace.
        hurries: Whether everything happens within a short time.
    """

    def __init__(self, seed: int, *, hurries: bool) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - the same each time
        self.store = ("sqlite", "redis")[seed % 2]
        self._hurries = hurries
        self._kinds = ["kill", *(kind for kind in KINDS[self.store] if self._chance.random() < 0.6 or hurries)]
        self.report: Report = {"seed": seed, "store": self.store, "kinds": self._kinds, "errors": []}
        self._counts = dict.fromkeys(self._kinds, 0)
        self._apart = Apart()
        self._dead: set[int] = set()
        self._workers: dict[int, Worker] = {}
        self._parked: dict[int, Worker] = {}
        self._is_over = False
        self.served: Service

    async def go(self, directory: Path) -> Report:
        """Make it."""
        async with (
            service(LIFE) as self.served,
            open_store(self.store, directory) as store,
            fleet(self.served.url, LEASE) as processes,
            anyio.create_task_group() as group,
        ):
            self.served.before = self._answer
            for place in ALL:
                group.start_soon(self._keep_one_alive, processes, place, store.where[place])
            await self._until(lambda: len(self._workers) == len(ALL), 5 * LATEST)
            seconds = SHORT if self._hurries else LONG
            await self._have_bad_days(store, ["kill"], seconds / 2)
            await self._have_bad_days(store, self._kinds, seconds)
            await self._come_together()
            group.cancel_scope.cancel()
        if store.shows(self.served):
            self._wrong("a token is in clear in the store")
        self.report.update(counts=self._counts, fetches=len(self.served.issued))
        return self.report

    def _wrong(self, what: str) -> None:
        self.report["errors"].append(what)

    async def _until(self, is_so: Callable[[], bool], latest: float = LATEST) -> None:
        with anyio.fail_after(latest):
            while not is_so():  # noqa: ASYNC110 - what processes do is told nobody
                await anyio.sleep(PAUSE / 5)

    async def _answer(self, question: Question) -> None:
        for other in self.served.asking:
            if other is not question and not (self._is_apart(other) or self._is_apart(question)):
                self._wrong(f"two asked at once: {other} and {question}")
        await anyio.sleep(self._chance.uniform(0, SLOWEST))

    def _is_apart(self, question: Question) -> bool:
        told = question.is_alone or question.is_apart
        return told or question.pid in self._dead or self._apart.has(question.place)

    async def _keep_one_alive(self, processes: Fleet, place: int, store: Path | str) -> None:
        while True:
            async with AsyncExitStack() as stack:
                worker = await stack.enter_async_context(processes.worker(BACKENDS[place], store, place))
                await self._ask(worker, place)

    async def _ask(self, worker: Worker, place: int) -> None:
        """Ask it for a token again and again, until it is dead or the bad days are over."""
        while not self._is_over:
            try:
                with anyio.fail_after(LATEST):
                    await worker.ask("refresh" if self._chance.random() < WANTED else "get")
                    told = await worker.told()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead):
                if worker.pid not in self._dead:
                    self._wrong("a process ended by itself")
                return
            if "error" in told:
                self._wrong(told["error"])
            if told["alone"] and self._kinds == ["kill"]:
                self.report["lapses"] = self.report.get("lapses", 0) + 1  # on a machine that is slower than a second
            self._workers[place] = worker
            await anyio.sleep(PAUSE)
        self._parked[place] = worker
        await anyio.sleep_forever()

    async def _have_bad_days(self, store: SQLite | Redis, kinds: list[str], seconds: float) -> None:
        end, pause = anyio.current_time() + seconds, min(seconds / (len(kinds) + 1), 0.8)
        async with anyio.create_task_group() as group:
            following: list[str] = []
            while anyio.current_time() < end:
                following = following or self._chance.sample(kinds, len(kinds))  # each comes in its turn
                group.start_soon(self._strike, store, following.pop())
                await anyio.sleep(self._chance.uniform(pause / 2, pause))

    async def _strike(self, store: SQLite | Redis, kind: str) -> None:
        await self._until(lambda: len(self._alive()) > 1)
        alive = self._alive()
        asking = [each.place for each in self.served.asking if alive.get(each.place) == each.pid]
        place = self._chance.choice(asking if asking and self._chance.random() < 0.5 else sorted(alive))
        seconds = self._chance.uniform(0.1, 0.5 if self._hurries else 1.0)
        self._counts[kind] += 1
        if kind == "kill":
            self._dead.add(alive[place])
            os.kill(alive[place], signal.SIGKILL)
            return
        of_all = kind in ("lock", "down") or (kind != "stop" and self._chance.random() < 0.5)
        places = list(ALL) if of_all else [place]
        with self._apart.put(places, self.served.asking):
            if kind == "stop":
                await stop(alive[place], 1.5 * LEASE * seconds)
            else:
                pids = [pid for each, pid in alive.items() if each in places and pid not in self._dead]
                await store.break_it(kind, pids, seconds, places)

    def _alive(self) -> dict[int, int]:
        """The ids of the processes that have not been killed, by their places."""
        return {place: worker.pid for place, worker in self._workers.items() if worker.pid not in self._dead}

    async def _come_together(self) -> None:
        """Each by itself, since it is asked; and then one asks for all."""
        began, before = anyio.current_time(), len(self.served.issued)
        self._is_over = True
        await self._until(lambda: len(self._parked) == len(ALL))
        while any(told["alone"] for told in await self._all_told("refresh", *self._parked.values())):
            if anyio.current_time() > began + LATEST:
                self._wrong("a process stays alone")
                return
            await anyio.sleep(PAUSE)
        took, fetched = anyio.current_time() - began, len(self.served.issued) - before
        self.report["alone"] = {"seconds": round(took, 1), "fetches": fetched}
        self.served.life = 3600.0  # nobody renews it meanwhile
        while not await self._one_asks_for_all():
            if anyio.current_time() > began + 2 * LATEST:
                self._wrong("the fleet does not come together again")
                return

    async def _one_asks_for_all(self) -> bool:
        first, *others = self._parked.values()
        before = len(self.served.issued)
        told: dict[str, Any] = {}
        while len(self.served.issued) == before:  # what the others have is newer for it, at first
            (told,) = await self._all_told("refresh", first)
        rest = await self._all_told("refresh", *others)
        return {each["token"] for each in rest} == {told["token"]} and len(self.served.issued) == before + 1

    async def _all_told(self, how: str, *workers: Worker) -> list[dict[str, Any]]:
        for worker in workers:
            await worker.ask(how)
        told = [await worker.told() for worker in workers]
        for each in told:
            if "error" in each:
                self._wrong(each["error"])
        return told


async def stop(pid: int, seconds: float) -> None:
    with suppress(ProcessLookupError):  # it is killed meanwhile
        os.kill(pid, signal.SIGSTOP)
        await anyio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def open_store(kind: str, directory: Path) -> AsyncGenerator[SQLite | Redis]:
    if kind == "sqlite":
        yield SQLite(directory)
        return
    with redis_server() as server:
        async with AsyncExitStack() as stack:
            yield Redis(server, [await stack.enter_async_context(proxy(server)) for _ in ALL])


async def run(seed: int, *, hurries: bool = False) -> Report:
    """One run, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return await Run(seed, hurries=hurries).go(Path(directory))


async def main(runs: int, seed: int, tell: Callable[[str], object] = print) -> int:
    """All of them, one after the other; how many went wrong."""
    wrong = 0
    for each in range(seed, seed + runs):
        try:
            report = await run(each)
        except Exception as error:  # noqa: BLE001 - the next may go well
            report = {"seed": each, "errors": [traceback.format_exception(error)]}
        tell(json.dumps(report))
        wrong += bool(report["errors"])
    return wrong


if __name__ == "__main__":
    count, first = (*map(int, sys.argv[1:]), *(10, 1)[len(sys.argv) - 1 :])
    sys.exit(anyio.run(main, count, first) > 0)
