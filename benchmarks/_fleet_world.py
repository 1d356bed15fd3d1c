"""A fleet in virtual time: real credentials, `shared()`, one source, one store, and what happens to them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
from anyio import CancelScope, Event, create_task_group, sleep, sleep_forever

from anyio_acs_credential import CommunicationTokenCredential, CredentialError, RefreshPolicy, TokenExpired
from anyio_acs_credential._refreshing import task
from anyio_acs_credential.fleet import shared
from anyio_acs_credential.testing import VirtualClock, make_jwt, virtual_time

from ._fleet_store import FleetStore, Way

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from anyio_acs_credential import CredentialEvent

POLICY = RefreshPolicy()
SLICE = 3600.0
SEED = 20_261_130
KILL_EACH = 3  # of the requests under a lease, the one at which its process is killed
LONGEST_BACKOFF = 70.0  # seconds for which a process that found the store out of order goes on without it
ASK_EACH = 1800.0


def used(life: float) -> float:
    """Seconds of a token's life until the first of many processes may want another: see the page on renewal."""
    return life - max(POLICY.proactive_window, life / 24) * (1 + POLICY.jitter)


@dataclass
class Tally:
    """What a simulated stretch came to.

    Attributes:
        lives: Token lives that begin in it, if each lasts until the first process may want another.
        shared: Requests under a lease.
        alone: Requests of processes that had found the store out of order or did not reach it.
        unexplained: Requests of others; and of processes that had asked alone in the same life.
        killed_holders: Processes that were killed as they asked under a lease; `kills` counts the others in.
        cut_holders: Those that were cut off from the store as they did.
        failovers: How often the store failed over.
        operations: Of the store.
        asked: Questions for a token; `without` were not answered with one that was valid.
        expired: Tokens that ended while they were held.
        slowest_start: Seconds until a process that was started had a token, at worst.
        seconds: Of real time.
        requests: When each request came, in seconds.
    """

    lives: int
    shared: int = 0
    alone: int = 0
    unexplained: int = 0
    kills: int = 0
    killed_holders: int = 0
    cut_holders: int = 0
    failovers: int = 0
    operations: int = 0
    asked: int = 0
    without: int = 0
    expired: int = 0
    slowest_start: float = 0.0
    seconds: float = 0.0
    requests: list[float] = field(default_factory=list)


class World:
    """The processes, the store and the source.

    Args:
        processes: How many.
        seconds: For how long.
        life: That of a token, in seconds.
        has_store: Whether they share one; otherwise each has its own source.
    """

    def __init__(self, processes: int, seconds: float, life: float, has_store: bool) -> None:
        self.life = life
        self.clock = VirtualClock()
        self.chance = random.Random(SEED)  # noqa: S311 - a scenario that can be repeated
        self.store = FleetStore(self.clock)
        self.has_store = has_store
        self.tally = Tally(ceil(seconds / used(life)))
        self.is_asked = Event()  # under a lease
        self.kills_holders = False
        self.processes = [Process(self) for _ in range(processes)]
        self._seconds = seconds
        self._began = self.clock.monotonic()

    def now(self) -> float:
        """Seconds since the beginning."""
        return self.clock.monotonic() - self._began

    async def live(self, *, troubled: bool) -> Tally:
        """All of it."""
        began = perf_counter()
        async with self.store.store, create_task_group() as group:
            for process in self.processes:
                group.start_soon(process.live)
            group.start_soon(self._ask)
            if troubled:
                self._trouble(group)
            await sleep(self._seconds)
            group.cancel_scope.cancel()
        self.tally.operations = self.store.operations
        self.tally.seconds = perf_counter() - began
        return self.tally

    def _trouble(self, group: TaskGroup) -> None:
        self.kills_holders = True
        for trouble in (self._kill, self._cut_off, self._fail_over):
            group.start_soon(trouble)

    async def _ask(self) -> None:
        while True:
            await sleep(ASK_EACH)
            for process in self.processes:
                process.ask()

    async def _kill(self) -> None:
        """A hundredth of the processes each hour, whatever they do."""
        while True:
            await sleep(self.chance.expovariate(len(self.processes) / 100 / 3600))
            self.chance.choice(self.processes).kill()

    async def _cut_off(self) -> None:
        """A tenth of the processes twice a day; half of the times as one asks under a lease, and that one as well."""
        while True:
            await sleep(self.chance.uniform(0.8, 1.2) * 43_200)
            chosen = set(self.chance.sample(self.processes, len(self.processes) // 10))
            if self.chance.random() < 0.5:
                self.is_asked = Event()
                await self.is_asked.wait()
                chosen |= {process for process in self.processes if process.is_holder}
            self.tally.cut_holders += sum(process.is_holder for process in chosen)
            fault = self.chance.choice(("raise", "hang"))
            for process in chosen:
                process.fault = process.way.fault = fault
            await sleep(self.chance.uniform(600, 3600))
            for process in chosen:
                process.fault = process.way.fault = ""

    async def _fail_over(self) -> None:
        """Once a day: at any time, as a token has just been put, or while somebody asks under a lease."""
        while True:
            await sleep(self.chance.uniform(0.8, 1.2) * 86_400)
            match self.tally.failovers % 3:
                case 0:
                    self.store.has_put = Event()
                    await self.store.has_put.wait()
                case 1:
                    self.is_asked = Event()
                    await self.is_asked.wait()
            self.tally.failovers += 1
            fault = self.chance.choice(("raise", "hang"))
            await self.store.fail_over(fault, self.chance.uniform(1, 15), self.chance.uniform(0.1, 5))


class Process:
    """One process, which is started anew when it was killed.

    Attributes:
        fault: What keeps it from the store; see `Way`.
        way: Its way to the store.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.fault = ""
        self.way = Way(world.store, "")
        self._is_asking = False
        self._alone_at = float("-inf")
        self._scope = CancelScope()
        self._credential: CommunicationTokenCredential | None = None

    @property
    def is_holder(self) -> bool:
        """Whether it asks the source under a lease."""
        return self._is_asking and self.way.fence is not None

    async def live(self) -> None:
        while True:
            self.way, self._alone_at = Way(self._world.store, self.fault), float("-inf")
            with CancelScope() as self._scope:
                await self._hold()
            await sleep(self._world.chance.uniform(1, 60))

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._credential is not None:
            self._world.tally.kills += 1
            self._world.tally.killed_holders += self.is_holder
            self._credential, self.way.is_dead = None, True
            self._scope.cancel()

    def ask(self) -> None:
        """Want a token, if it runs."""
        if self._credential is not None:
            self._world.tally.asked += 1
            try:
                token = self._credential.get_token_nowait()
            except CredentialError:
                self._world.tally.without += 1
            else:
                self._world.tally.without += token.expires_on <= self._world.clock.time()

    async def _hold(self) -> None:
        source = shared(self._fetch, self.way, key="ana") if self._world.has_store else self._fetch
        began = self._world.clock.monotonic()
        async with CommunicationTokenCredential(
            token_refresher=source, clock=self._world.clock, observer=self._observe
        ) as self._credential:
            self._world.tally.asked += 1
            try:
                await self._credential.get_token()
            except CredentialError:
                self._world.tally.without += 1
            tally, took = self._world.tally, self._world.clock.monotonic() - began
            tally.slowest_start = max(tally.slowest_start, took)
            await sleep_forever()

    async def _fetch(self) -> str:
        self._count()
        self._is_asking = True
        try:
            if self.is_holder:
                self._world.is_asked.set()
                if self._world.kills_holders and self._world.tally.shared % KILL_EACH == 0:
                    self.kill()
            await sleep(self._world.chance.uniform(0.5, 3))
            return make_jwt(self._world.life, clock=self._world.clock)
        finally:
            self._is_asking = False

    def _count(self) -> None:
        tally, now = self._world.tally, self._world.clock.monotonic()
        tally.requests.append(self._world.now())
        if self.way.fence is not None:
            tally.shared += 1
            return
        tally.alone += 1
        is_explained = now - self.way.failed_at < LONGEST_BACKOFF or not self._world.has_store
        tally.unexplained += not is_explained or now - self._alone_at < used(self._world.life) - 1
        self._alone_at = now

    def _observe(self, event: CredentialEvent) -> None:
        self._world.tally.expired += isinstance(event, TokenExpired)


def simulate(
    processes: int, seconds: float, life: float, backend: str, *, has_store: bool = True, troubled: bool = True
) -> Tally:
    """Live so long, on the real backend in virtual time.

    The refresh tasks look at the clock once an hour instead of each 30 s. That is for a computer that sleeps and a
    clock that is set, which do not happen here, and would take most of the time.
    """
    random.seed(SEED)  # the jitter
    before = vars(task)["SLICE"]
    vars(task)["SLICE"] = SLICE
    try:
        return anyio.run(_live, processes, seconds, life, has_store, troubled, **virtual_time(backend))
    finally:
        vars(task)["SLICE"] = before


async def _live(processes: int, seconds: float, life: float, has_store: bool, troubled: bool) -> Tally:
    return await World(processes, seconds, life, has_store).live(troubled=troubled)
