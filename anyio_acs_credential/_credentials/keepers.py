"""The tasks of an entered pool: one that closes what nobody uses, and one keeper for each open credential.

The rules of this file:

1. A credential is entered and left by its keeper, a task of the pool, which runs in the context of the task that
   entered the pool. Users only count themselves in and out.
2. There is one place for each key. Whoever asks joins it, until its credential is to be closed; from then on it is
   leaving, and its successor begins when it has gone. So no two credentials of one key are ever open.
3. Room is given in the order of asking. A place that waits for room has no task yet: it costs nothing to give up.
4. A credential in use is closed only when it is discarded or the pool is left. An idle one is closed when its time is
   over, or when others need its room.
5. Each decision is made without waiting, so that no cancellation comes between its parts.
"""

from __future__ import annotations

import logging
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

from anyio import CancelScope, Event, create_task_group, current_time, get_cancelled_exc_class
from anyio.lowlevel import checkpoint

from .._common.chains import cut_repeats
from .._common.errors import CredentialClosedError, explained
from .._common.public import public
from .._loops.cancellation import ends_program
from .._loops.home import Home
from .._refreshing.round import wake

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from types import TracebackType

    from anyio import TaskHandle
    from anyio.abc import TaskGroup

    from .credential import CommunicationTokenCredential

_logger = logging.getLogger("anyio_acs_credential")


@dataclass(frozen=True)
class PoolStatistics:
    """A consistent snapshot of a pool.

    Attributes:
        open: Credentials that are open: those in use and those that are idle.
        in_use: Open credentials that somebody uses.
        idle: Open credentials that nobody uses, and that wait for their next use or their end.
        waiting: Tasks that wait for a credential to be opened, for room included.
        made: Credentials that were opened since the pool was entered.
        closed: Credentials that were closed since then.
        max_size: How many may be open at once; None for any number.
    """

    open: int
    in_use: int
    idle: int
    waiting: int
    made: int
    closed: int
    max_size: int | None


class Place:
    """One key's place in the pool, from the first who asks to the end of its keeper.

    Attributes:
        key: Whose it is.
        users: How many use its credential, or wait for that to open.
        keeper: Its task, once there is room for it.
        credential: The credential, once it is open.
        is_open: Whether it has been opened.
        failure: Why it could not be opened, and the traceback of that.
    """

    __slots__ = ("_decided", "credential", "failure", "is_open", "keeper", "key", "users")

    keeper: TaskHandle[None]
    credential: CommunicationTokenCredential

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.users = 0
        self.is_open = False
        self.failure: tuple[Exception, TracebackType | None] | None = None
        self._decided: Event | None = Event()

    async def decision(self) -> None:
        """Wait until the credential is open, or is known not to open."""
        if self._decided is not None:
            await self._decided.wait()

    def decide(self) -> None:
        """Wake those who wait for the decision."""
        decided, self._decided = self._decided, None
        if decided is not None:
            wake(decided)

    def open(self, credential: CommunicationTokenCredential) -> None:
        """Let everybody use the credential."""
        self.credential = credential
        self.is_open = True
        self.decide()

    @property
    def was_closed(self) -> bool:
        """Whether its credential is closed. While users can join the place, the pool has not closed it: a user has."""
        return self.is_open and self.credential._closed


class Keepers:
    """The service of one entered pool.

    Args:
        make: Makes the credential of a key.
        idle_timeout: Seconds for which an unused credential stays open.
        max_size: How many credentials may be open.
    """

    def __init__(
        self, make: Callable[[Hashable], CommunicationTokenCredential], idle_timeout: float, max_size: float
    ) -> None:
        self._home = Home(
            "pool",
            "the pool was entered in another event loop; from other threads call it with anyio.from_thread.run(), "
            "and in a second event loop enter a pool of its own",
        )
        self.closed: bool = False
        self.crash: BaseException | None = None
        self._make = make
        self._idle_timeout = idle_timeout
        self._max_size = max_size
        self._context = copy_context()
        self._group: TaskGroup | None = None
        self._places: dict[Hashable, Place] = {}  # the places that users join
        self._queue: dict[Hashable, Place] = {}  # those of them that wait for room, in order
        self._idle: dict[Hashable, float] = {}  # those that nobody uses, in order, and until when they stay
        self._leaving: dict[Hashable, Place] = {}
        self._kept = 0  # keepers at work
        self._made_count = self._closed_count = 0
        self._wake = Event()
        self._sleeps_until = inf

    async def run(self) -> None:
        """Close what nobody uses, until the pool is closed; then wait for the keepers."""
        try:
            with CancelScope(shield=True):
                async with create_task_group() as self._group:
                    try:
                        await self._tidy()
                    finally:
                        self.close()  # the keepers are waited for next
        except get_cancelled_exc_class():  # noqa: ASYNC103 - not a scope's: asyncio's own Task.cancel() ends the task
            _logger.warning("the task of a credential pool was cancelled by Task.cancel(); the pool is closed")

    async def _tidy(self) -> None:
        self._admit()
        while not self.closed:
            await self._pause()
            self._close_overdue()

    async def _pause(self) -> None:
        self._wake = Event()
        self._sleeps_until = next(iter(self._idle.values()), inf)
        with CancelScope(deadline=self._sleeps_until):
            await self._wake.wait()

    def _close_overdue(self) -> None:
        now = current_time()
        while self._idle and self._idle[key := next(iter(self._idle))] <= now:
            self._close(self._places[key])

    async def take(self, key: Hashable) -> Place:
        """The place of a key, with its credential open. It is given back with `release()`.

        Raises:
            CredentialClosedError: when the pool is closed, or closes meanwhile.
            Exception: what making or entering the credential raised.
        """
        await checkpoint()
        while not self.closed:
            place = self._join(key)
            try:
                await place.decision()
            except BaseException:
                self.release(place)
                raise
            if place.failure is not None:
                error, traceback = place.failure
                raise error.with_traceback(traceback)
            if self._is_joined(place):
                return place
        raise closed_pool_error()

    def _join(self, key: Hashable) -> Place:
        place = self._places.get(key)
        if place is not None and place.was_closed:
            self._close(place)
            place = None
        if place is None:
            place = self._places[key] = self._queue[key] = Place(key)
            self._admit()
        self._idle.pop(key, None)
        place.users += 1
        return place

    def _is_joined(self, place: Place) -> bool:
        return self._places.get(place.key) is place

    def release(self, place: Place) -> None:
        """Give a place back."""
        place.users -= 1
        if place.users == 0 and self._queue.get(place.key) is place:
            del self._queue[place.key], self._places[place.key]
        self._rest(place)

    async def discard(self, key: Hashable) -> None:
        """Close the credential of a key, whoever uses it, and wait until it has gone."""
        place = self._places.get(key)
        if place is not None and key not in self._queue:
            self._close(place)
        if key in self._leaving:
            await self._leaving[key].keeper.wait()
        else:
            await checkpoint()

    def close(self) -> None:
        """Close every credential and end `run()`. Doing it again does nothing."""
        self.closed = True
        while self._queue:
            key, place = self._queue.popitem()
            del self._places[key]
            place.decide()
        for place in tuple(self._places.values()):
            self._close(place)
        wake(self._wake)

    def _rest(self, place: Place) -> None:
        """Begin the idle time of a credential that nobody uses, and give up its room if somebody waits for that."""
        if place.users or not place.is_open or not self._is_joined(place):
            return
        self._idle[place.key] = end = current_time() + self._idle_timeout
        if end < self._sleeps_until:
            wake(self._wake)
        self._admit()

    def _admit(self) -> None:
        """Give room to those who wait for it, and close what nobody uses where they need more."""
        if self._group is None:
            return  # run() does it when it begins
        while self._kept < self._max_size and (place := self._next()) is not None:
            del self._queue[place.key]
            self._kept += 1
            place.keeper = self._group.create_task(self._keep(place), name="credential keeper", context=self._context)
        short = len(self._queue) - len(self._leaving)
        for key in tuple(islice(self._idle, max(0, short))):
            self._close(self._places[key])

    def _next(self) -> Place | None:
        return next((place for place in self._queue.values() if place.key not in self._leaving), None)

    def _close(self, place: Place) -> None:
        self._idle.pop(place.key, None)
        self._leaving[place.key] = self._places.pop(place.key)
        place.decide()  # those who wait for it wait for its successor then
        place.keeper.cancel()
        if place.is_open:
            place.credential._shut()

    async def _keep(self, place: Place) -> None:
        """Open a place, and leave its credential when this task is cancelled."""
        try:
            if self._is_joined(place):  # and was not closed before this task began
                credential = self._make(place.key)
                await credential._stay_open(partial(self._open, place, credential))
        except BaseException as error:  # noqa: ASYNC103 - who cancels a keeper closes its credential, and no more
            if ends_program(error):
                self.crash = self.crash or error  # a later one may be a copy, which trio makes as it cancels the rest
                self.close()
                raise
            self._explain(place, error)  # noqa: ASYNC104 - likewise
        finally:
            self._forget(place)

    def _open(self, place: Place, credential: CommunicationTokenCredential) -> None:
        if self._is_joined(place):
            place.open(credential)
            self._made_count += 1
            self._rest(place)
        else:
            credential._shut()

    def _explain(self, place: Place, error: BaseException) -> None:
        """Say why a credential was not opened to those who wait for it, or to the log why it was not left."""
        if not place.is_open and self._is_joined(place):
            cut_repeats(error)
            failure = error if isinstance(error, Exception) else _cut_short()
            place.failure = failure, failure.__traceback__
        elif isinstance(error, Exception):
            _logger.warning("a credential of a pool raised %s when it was closed", type(error).__name__)

    def _forget(self, place: Place) -> None:
        self._kept -= 1
        self._closed_count += place.is_open
        if self._is_joined(place):
            self._idle.pop(place.key, None)
            del self._places[place.key]
        else:
            del self._leaving[place.key]
        place.decide()
        self._admit()

    def statistics(self) -> PoolStatistics:
        """A consistent snapshot."""
        places = tuple(self._places.values())
        is_open = sum(place.is_open for place in places)
        idle = len(self._idle)
        return PoolStatistics(
            open=is_open,
            in_use=is_open - idle,
            idle=idle,
            waiting=sum(place.users for place in places if not place.is_open),
            made=self._made_count,
            closed=self._closed_count,
            max_size=None if self._max_size == inf else int(self._max_size),
        )

    def check_home(self) -> None:
        """Refuse to work in another process or event loop than the pool was entered in.

        Raises:
            CredentialUsageError: when called in another one.
        """
        self._home.check()


def closed_pool_error() -> CredentialClosedError:
    """The error for users of a closed pool."""
    return explained(
        "closed", CredentialClosedError("the pool is closed; use it inside its `async with` block, or enter it again")
    )


def _cut_short() -> CredentialClosedError:
    return explained(
        "closed",
        CredentialClosedError("the credential was cancelled by its own code while it opened; use the pool again"),
    )


public(PoolStatistics)
