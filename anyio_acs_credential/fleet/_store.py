"""What a store of a fleet keeps, and the questions that it answers. This page is the specification for another store.

A store has entries and leases, each under a name. These rules make one fetch out of fifty:

* One operation at a time has effect under a name, whole or not at all.
* A lease has one holder until its time is over, by the store's own clock. The machines' clocks do not matter.
* Each lease has a fence: a number greater than the fences of all leases before it under the name, even where the store
  has lost what it kept; see `next_fence`.
* An entry is replaced only under a greater fence, so that a process that was stopped for a minute overwrites nothing
  newer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from .._common.errors import CredentialError
from .._common.public import public

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store keeps under a name.

    Attributes:
        fence: The fence of the lease under which it was put. It grows with each entry of the name, and never repeats.
        value: The bytes that were put. The repr does not show them.
    """

    fence: int
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to an attempt to take a lease.

    Attributes:
        entry: The entry under the name at that same moment, or None.
        fence: The fence of the lease that was taken; None where another holder has the lease.
        free_in: Seconds, by the store's clock, after which the lease is free if its holder does not prolong it; 0.0
            where it was taken.
    """

    entry: Entry | None
    fence: int | None
    free_in: float


class StoreError(CredentialError):
    """A store of a fleet cannot do what it was asked. A source that is `shared` logs it, and goes on without the store.

    Args:
        message: What failed and what to do next. It may reach log files, so it holds no secrets.
        permanent: Whether trying again cannot help until something is changed, such as an encryption key.
    """

    def __init__(self, message: str = "", *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent: bool = permanent


class UnreadableError(StoreError):
    """An entry cannot be read. `look` raises it; `take` answers as if there were no entry, so that it is replaced."""


@runtime_checkable
class TokenStore(Protocol):
    """Where the processes of a fleet keep what they share, by any means that all of them can reach.

    It is entered once in each process, and used in the event loop that entered it. Any operation may wait, and may
    raise `StoreError` or what its driver raises: `shared` treats every exception alike, and limits how long it waits. A
    cancelled operation has had its whole effect, or none.

    `anyio_acs_credential.testing.check_token_store` runs all these rules against a store.
    """

    async def __aenter__(self) -> Self:
        """Get ready. It does not fail where a server cannot be reached: the first operation that needs it does."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close connections, files and threads. Entries and leases stay until their time is over."""
        ...

    async def look(self, name: str) -> Entry | None:
        """What is kept under a name. It waits for the store; cancelling it changes nothing.

        Args:
            name: A text of any kind and length, such as "token:8:acs:…".

        Returns:
            The entry; None where no entry is kept, or its time is over.

        Raises:
            UnreadableError: when the entry cannot be read.
        """
        ...

    async def take(self, name: str, seconds: float) -> Taken:
        """Take the lease of a name if it is free, and look, in one operation.

        It waits for the store. Once cancelled, it has taken the lease, which ends by itself, or has not.

        Args:
            name: Whose lease.
            seconds: Seconds that it lasts from now on, unless it is prolonged.

        Returns:
            The entry, with the fence of the lease or the time after which it may be free.
        """
        ...

    async def prolong(self, name: str, fence: int, seconds: float) -> bool:
        """Have a lease last longer. It waits for the store; once cancelled, it has done so or has not.

        Args:
            name: Whose lease.
            fence: The lease's.
            seconds: Seconds that it lasts from now on.

        Returns:
            Whether it was prolonged. False where its time was over, it was ended, or another holder has the lease.
        """
        ...

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        """Keep a value, unless the entry is as new or newer, and end the lease if it is still this fence's.

        It waits for the store. Once cancelled, it has done both or neither.

        Args:
            name: The name.
            fence: The fence of the lease under which the value was made. That lease may be over.
            value: The bytes to keep.
            seconds: Seconds for which it is kept.

        Returns:
            Whether it is kept. False where the entry has this fence or a greater one; then nothing is changed, the
            lease included.
        """
        ...

    async def release(self, name: str, fence: int) -> None:
        """End a lease, if it is still this fence's. It waits for the store; once cancelled, it has ended it or has not.

        Args:
            name: The name.
            fence: The lease's fence.
        """
        ...


def is_store(given: object) -> bool:
    """Whether it is a store, and not a class of stores, which to the protocol has all that a store has."""
    return isinstance(given, TokenStore) and not isinstance(given, type)


def next_fence(last: int, now: float) -> int:
    """The fence of a new lease.

    A count alone would begin anew in a store that was restarted empty, or go back in one that failed over to a copy
    that lags. The time alone would repeat where the clock is set back.

    Args:
        last: The last fence of the name, as far as the store knows; 0 where it knows none.
        now: The store's clock, in Unix seconds.
    """
    return max(last + 1, int(now * 1000))


public(Entry, StoreError, Taken, TokenStore, UnreadableError, module="fleet")
