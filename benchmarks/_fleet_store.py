"""A store of a simulated fleet that fails over to a replica which lags, and each process's way to it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from anyio import Event, sleep, sleep_forever

from anyio_acs_credential.fleet import MemoryTokenStore, StoreError

if TYPE_CHECKING:
    from types import TracebackType

    from anyio_acs_credential.fleet import Entry, Taken
    from anyio_acs_credential.testing import VirtualClock

ROUND_TRIP = 0.002  # seconds


class FleetStore:
    """One `MemoryTokenStore`, and what has lain in it in the last moments.

    Args:
        clock: What it goes by.

    Attributes:
        fault: What it does to everybody: "raise", "hang", or nothing.
        operations: How many it was asked for, those that failed included.
        has_put: Set when a token has been put; replaced by whoever wants to know of the next.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.store = MemoryTokenStore(clock=clock)
        self.fault = ""
        self.operations = 0
        self.has_put = Event()
        self._past: deque[tuple[float, dict[str, object]]] = deque(maxlen=1000)

    def note(self) -> None:
        """Take down what lies in it now."""
        self._past.append((self.clock.monotonic(), dict(self.store._slots)))

    async def fail_over(self, fault: str, gap: float, lag: float) -> None:
        """Be out of order for a while, and then what a replica had seen before that, so many seconds too late."""
        until = self.clock.monotonic() - lag
        seen = next((slots for at, slots in reversed(self._past) if at <= until), {})
        self.fault = fault
        await sleep(gap)
        self.store._slots.clear()
        self.store._slots.update(seen)  # type: ignore[arg-type]  # they are slots, which are not public
        self.fault = ""


class Way:
    """The store as one process sees it, from its start to its end.

    Args:
        store: The one for all.

    Attributes:
        fault: As that of the store, for this process alone: it is cut off.
        is_dead: Whether the process was killed: nothing that it does reaches the store any more.
        fence: That of the lease that it has, or None.
        failed_at: When an operation failed last, in monotonic seconds.
    """

    def __init__(self, store: FleetStore, fault: str) -> None:
        self._all = store
        self.fault = fault
        self.is_dead = False
        self.fence: int | None = None
        self.failed_at = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    async def look(self, name: str) -> Entry | None:
        await self._reach()
        return await self._all.store.look(name)

    async def take(self, name: str, seconds: float) -> Taken:
        await self._reach()
        taken = await self._all.store.take(name, seconds)
        self._all.note()
        self.fence = taken.fence
        return taken

    async def prolong(self, name: str, fence: int, seconds: float) -> bool:
        await self._reach()
        return await self._all.store.prolong(name, fence, seconds)

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        self.fence = None
        await self._reach()
        is_kept = await self._all.store.put(name, fence, value, seconds)
        self._all.note()
        self._all.has_put.set()
        return is_kept

    async def release(self, name: str, fence: int) -> None:
        self.fence = None
        await self._reach()
        await self._all.store.release(name, fence)
        self._all.note()

    async def _reach(self) -> None:
        if self.is_dead:
            raise StoreError("the process was killed")
        self._all.operations += 1
        await sleep(ROUND_TRIP)
        fault = self._all.fault or self.fault
        if fault:
            self.failed_at = self._all.clock.monotonic()
        if fault == "hang":
            await sleep_forever()
        if fault == "raise":
            raise StoreError("the store is out of order")
