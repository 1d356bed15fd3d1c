"""The store of one process, for tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from anyio.lowlevel import checkpoint

from .._common.checks import check_clock
from .._common.public import public
from .._common.redaction import Secret
from .._loops.virtual import refuse_real_time
from ._desk import Desk
from ._slot import Slot
from ._store import TokenStore

if TYPE_CHECKING:
    from types import TracebackType

    from .._tokens.clock import Clock
    from ._store import Entry, Taken


class MemoryTokenStore(TokenStore):
    """A `TokenStore` in the memory of one process: for tests, in virtual time as well.

    Its entries end with the process, and no other process sees them. Enter it, like any store, in the event loop that
    uses it. It keeps its entries while it is closed. Its operations are those of `TokenStore`; each is a
    checkpoint, and none waits. In another event loop or process they raise `CredentialUsageError`.

    Args:
        clock: The clock of leases and entries, in Unix seconds. In virtual time, give the `VirtualClock` that the
            credentials have: entering the store with the module `time` raises `CredentialUsageError` there.

    Raises:
        TypeError: when `clock` is no object with `time()`.
    """

    def __init__(self, *, clock: Clock = time) -> None:
        check_clock(clock, "time")
        self._clock = clock
        self._slots: dict[str, Slot] = {}
        self._desk = Desk()

    async def __aenter__(self) -> Self:
        refuse_real_time("MemoryTokenStore", self._clock)
        self._desk.enter()
        await checkpoint()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._desk.leave()

    async def look(self, name: str) -> Entry | None:
        return (await self._slot(name)).entry(self._clock.time())

    async def take(self, name: str, seconds: float) -> Taken:
        self._slots[name], taken = (await self._slot(name)).taken(self._clock.time(), seconds)
        return taken

    async def prolong(self, name: str, fence: int, seconds: float) -> bool:
        return self._replace(name, (await self._slot(name)).prolonged(self._clock.time(), fence, seconds))

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        hidden, value = Secret(value), b""  # no frame that an error passes shows it
        return self._replace(name, (await self._slot(name)).filled(self._clock.time(), fence, hidden.value, seconds))

    async def release(self, name: str, fence: int) -> None:
        self._replace(name, (await self._slot(name)).released(fence))

    async def _slot(self, name: str) -> Slot:
        """The slot under a name. Callers change it without awaiting anything in between, so that no change is lost."""
        self._desk.check()
        await checkpoint()
        return self._slots.get(name, Slot())

    def _replace(self, name: str, slot: Slot | None) -> bool:
        if slot is not None:
            self._slots[name] = slot
        return slot is not None


public(MemoryTokenStore, module="fleet")
