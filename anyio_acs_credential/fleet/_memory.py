"""The store of one process, for tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from anyio.lowlevel import checkpoint

from .._public import public
from .._redaction import Secret
from ._desk import Desk
from ._slot import Slot

if TYPE_CHECKING:
    from types import TracebackType

    from .._tokens.clock import Clock
    from ._store import Entry, Taken


class MemoryTokenStore:
    """A `TokenStore` in the memory of one process: for tests, in virtual time as well.

    What it keeps is gone when the process ends, and no other process sees it. It is entered, like any store, in the
    event loop that uses it, and keeps what it has while it is closed.

    Args:
        clock: What leases and entries go by: in virtual time, the `VirtualClock` that the credentials have.
    """

    def __init__(self, *, clock: Clock = time) -> None:
        self._clock = clock
        self._slots: dict[str, Slot] = {}
        self._desk = Desk()

    async def __aenter__(self) -> Self:
        self._desk.enter()
        await checkpoint()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._desk.leave()

    async def look(self, name: str) -> Entry | None:
        """What is kept under a name; see `TokenStore`.

        Args:
            name: Under which name.

        Returns:
            The entry, or None.

        Raises:
            CredentialUsageError: when called in another event loop or process than it was entered in.
        """
        return (await self._slot(name)).entry(self._clock.time())

    async def take(self, name: str, seconds: float) -> Taken:
        """Take the lease of a name, if it is free; see `TokenStore`.

        Args:
            name: Whose lease.
            seconds: How long it lasts.

        Returns:
            The entry, with the fence of the lease or the time after which it may be free.

        Raises:
            CredentialUsageError: when called in another event loop or process than it was entered in.
        """
        self._slots[name], taken = (await self._slot(name)).taken(self._clock.time(), seconds)
        return taken

    async def prolong(self, name: str, fence: int, seconds: float) -> bool:
        """Have a lease last longer; see `TokenStore`.

        Args:
            name: Whose lease.
            fence: The lease's.
            seconds: How long it lasts from now on.

        Returns:
            Whether it does.

        Raises:
            CredentialUsageError: when called in another event loop or process than it was entered in.
        """
        return self._replace(name, (await self._slot(name)).prolonged(self._clock.time(), fence, seconds))

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        """Keep a value, unless what is kept is as new or newer; see `TokenStore`.

        Args:
            name: What it is kept under.
            fence: That of the lease under which it was made.
            value: The bytes to keep.
            seconds: For how long.

        Returns:
            Whether it is kept.

        Raises:
            CredentialUsageError: when called in another event loop or process than it was entered in.
        """
        hidden, value = Secret(value), b""  # no frame that an error passes shows it
        return self._replace(name, (await self._slot(name)).filled(self._clock.time(), fence, hidden.value, seconds))

    async def release(self, name: str, fence: int) -> None:
        """End a lease; see `TokenStore`.

        Args:
            name: Whose lease.
            fence: The lease's.

        Raises:
            CredentialUsageError: when called in another event loop or process than it was entered in.
        """
        self._replace(name, (await self._slot(name)).released(fence))

    async def _slot(self, name: str) -> Slot:
        """The slot as it is when this goes on, which is when the change to it is made: nothing waits in between."""
        self._desk.check()
        await checkpoint()
        return self._slots.get(name, Slot())

    def _replace(self, name: str, slot: Slot | None) -> bool:
        if slot is not None:
            self._slots[name] = slot
        return slot is not None


public(MemoryTokenStore, module="fleet")
