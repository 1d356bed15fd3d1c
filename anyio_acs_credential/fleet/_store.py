"""What a store of a fleet keeps, and the questions that it answers: write another one by this page.

A store has entries and leases, each under a name. The rules that make one fetch out of fifty:

* One operation at a time has effect under a name, whole or not at all.
* A lease has one holder, until its time by the store's own clock is over. The clocks of the machines count for nothing.
* Each lease has a fence, a number greater than that of all before it under the name, also where the store has lost what
  it kept: see `next_fence`.
* An entry is replaced only under a greater fence. Whoever was stopped for a minute changes nothing newer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from .._errors import CredentialError
from .._public import public

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under a name.

    Attributes:
        fence: That of the lease under which it was put. It grows with each entry of the name, and never repeats.
        value: What was put. A repr does not show it.
    """

    fence: int
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to an attempt to take a lease.

    Attributes:
        entry: What is kept under the name at that same moment, or None.
        fence: That of the lease; None where somebody else has it.
        free_in: Seconds, by the store's clock, after which the lease is free if its holder does not prolong it; 0.0
            where it was taken.
    """

    entry: Entry | None
    fence: int | None
    free_in: float


class StoreError(CredentialError):
    """A store of a fleet cannot do what it was asked. A source that is `shared` logs it, and goes on without the store.

    Args:
        message: What failed and what to do next. It may reach log files: no secrets.
        permanent: Whether trying again cannot help until something is changed, such as an encryption key.
    """

    def __init__(self, message: str = "", *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent: bool = permanent


class UnreadableError(StoreError):
    """What is kept under a name cannot be read: `look` raises it; to `take` it is nothing, and so it is replaced."""


@runtime_checkable
class TokenStore(Protocol):
    """Where the processes of a fleet keep what they share, by any means that all of them reach.

    It is entered once in each process and used in the event loop that entered it. Any operation may raise `StoreError`,
    or what its driver raises: whoever asks takes each exception alike, and limits how long it waits. An operation that
    is cancelled has had its effect, or has none.

    `anyio_acs_credential.testing.check_token_store` runs all these rules against a store.
    """

    async def __aenter__(self) -> Self:
        """Get ready. What cannot be reached now is no reason to fail: the first operation that needs it says so."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go of connections, files and threads. What is kept stays, and so do leases, until their time is over."""
        ...

    async def look(self, name: str) -> Entry | None:
        """What is kept under a name. It waits for the store; cancelling it changes nothing.

        Args:
            name: A text of any kind and length, such as "token:8:acs:…".

        Returns:
            The entry; None where there is none, or its time is over.
        """
        ...

    async def take(self, name: str, seconds: float) -> Taken:
        """Take the lease of a name, if it is free, and look, in one operation.

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
            Whether it does. False says that its time was over, that it was ended, or that somebody else has the lease.
        """
        ...

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        """Keep a value, unless what is kept is as new or newer, and end the lease if it is still this fence's.

        It waits for the store. Once cancelled, it has done both or neither.

        Args:
            name: What it is kept under.
            fence: That of the lease under which it was made, which need not last any longer.
            value: The bytes to keep.
            seconds: Seconds for which it is kept.

        Returns:
            Whether it is kept. False says that an entry with this fence or a greater one is there; nothing is changed
            then, the lease included.
        """
        ...

    async def release(self, name: str, fence: int) -> None:
        """End a lease, if it is still this fence's. It waits for the store; once cancelled, it has ended it or has not.

        Args:
            name: Whose lease.
            fence: The lease's.
        """
        ...


def is_store(given: object) -> bool:
    """Whether it is a store, and not a class of stores, which to the protocol has all that a store has."""
    return isinstance(given, TokenStore) and not isinstance(given, type)


def next_fence(last: int, now: float) -> int:
    """The fence of a new lease.

    A count alone would begin anew in a store that was restarted empty, or go back in one that failed over to a copy
    which lags. The time alone would repeat where a clock is set back.

    Args:
        last: The last fence of the name, as far as the store knows; 0 where it knows none.
        now: The store's clock, in Unix seconds.
    """
    return max(last + 1, int(now * 1000))


public(Entry, StoreError, Taken, TokenStore, UnreadableError, module="fleet")
