"""A model of the lease: any interleaving of processes, crashes, store faults and clock steps, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fleet_shared import FaultyStore

from anyio_acs_credential.fleet import StoreError, shared
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, virtual_time

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from anyio_acs_credential import AccessToken
    from anyio_acs_credential.fleet._rounds import SharedSource

PROCESSES = 4
LATENCY = 3.0
LEASE = 5.0
LATEST = LEASE + 1 + 2 * LATENCY + 2  # seconds that an answer may take: a lease, the store, two fetches, and some more
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "crash", "raise", "hang", "heal", "jump"]),
        st.integers(0, PROCESSES - 1),
        st.sampled_from([0.0, 0.0, 0.05, 0.3, 1.0, 1.7, 4.0, 5.0, 30.0]),
    ),
    max_size=30,
)


class Process:
    """One process: its source, its way to the store, and what it was given."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scope = anyio.CancelScope()
        self._is_dead = False
        self.is_asking = False
        self.tokens: list[str] = []
        self.source: SharedSource = shared(self._fetch, world.store_of(self), key="ana")
        self.source.use(world.clock)

    async def _fetch(self) -> AccessToken:
        if self._is_dead:  # its store fails before its scope is seen to be cancelled; a killed one asks nobody
            await anyio.sleep_forever()
        token: AccessToken = await self._world.source()
        return token

    def begin(self, group: TaskGroup) -> None:
        """Ask, unless it is asking. It can be killed from now on, also before its first step."""
        if not self.is_asking:
            self.is_asking, self._scope = True, anyio.CancelScope()
            group.start_soon(self.ask)

    async def ask(self) -> None:
        began = self._world.clock.monotonic()
        with self._scope:
            token = (await self.source()).token
            assert token not in self.tokens, "a token that was to be replaced was handed out again"
            assert self._world.clock.monotonic() - began <= LATEST + self._world.crashes * (LEASE + 1)
            self.tokens.append(token)
        self.is_asking, self._scope = False, anyio.CancelScope()

    def crash(self) -> None:
        """End it as `kill -9` does: nothing that it does now reaches the store."""
        self._is_dead = True
        self._scope.cancel()

    async def reach(self, operation: str) -> None:
        if self._is_dead:
            raise StoreError
        await self._world.trouble(operation)


class World:
    """The processes, one store, one source."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.source = ScriptedSource(3600, latency=LATENCY, clock=self.clock)
        self._kept = FaultyStore(self.clock)
        self._fault = "heal"
        self.crashes = 0  # each may leave a lease, which is waited for
        self.processes: list[Process] = []

    def store_of(self, process: Process) -> FaultyStore:
        """The one store, by this process's connection."""
        store = FaultyStore(self.clock)
        store._slots, store._desk = self._kept._slots, self._kept._desk
        store.fault = process.reach
        return store

    async def trouble(self, _operation: str) -> None:
        if self._fault == "raise":
            raise StoreError
        if self._fault == "hang":
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()

    def do(self, kind: str, place: int, group: TaskGroup) -> None:
        process = self.processes[place]
        if kind == "ask":
            process.begin(group)
        elif kind == "crash":
            process.crash()
            self.crashes += 1
            self.processes[place] = Process(self)
        elif kind == "jump":
            self.clock.jump((-400, -2, 3, 300)[place])
        else:
            self._fault = kind

    async def live(self, steps: list[tuple[str, int, float]]) -> None:
        async with self._kept:
            self.processes = [Process(self) for _ in range(PROCESSES)]
            async with anyio.create_task_group() as group:
                for kind, place, pause in steps:
                    self.do(kind, place, group)
                    await anyio.sleep(pause)
            kinds = [kind for kind, _, _ in steps]
            if not {"raise", "hang", "jump"} & set(kinds) and kinds.count("crash") <= 1:
                assert self.source.most_in_flight <= 1, "two processes asked at once"
            await self.come_together()

    async def come_together(self) -> None:
        """Once the store works again, by themselves."""
        self._fault = "heal"
        await anyio.sleep(130)
        for process in self.processes:
            await process.ask()
        first, calls = self.processes[0], self.source.calls
        while self.source.calls == calls:  # what the others have is newer for it, at first
            await first.ask()
        for process in (*self.processes[1:], Process(self)):
            await process.ask()
            assert process.tokens[-1] == first.tokens[-1], "the fleet did not come together again"
        assert self.source.calls == calls + 1


@pytest.mark.promise("R65", "R66", "R68")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(steps=STEPS)
def test_any_run_of_a_fleet_keeps_the_contract(backend: str, steps: list[tuple[str, int, float]]) -> None:
    async def main() -> None:
        await World().live(steps)

    anyio.run(main, **virtual_time(backend))
