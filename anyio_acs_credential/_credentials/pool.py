"""Many users in one program: one open credential for each of them."""

from __future__ import annotations

import inspect
from contextlib import AbstractAsyncContextManager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._common.checks import is_async, is_number, misfit
from .._common.errors import CredentialNotEnteredError, CredentialUsageError, explained, wrong_type
from .._common.public import public
from .._common.redaction import Secret
from .._refreshing.block import keep_interrupts_out, running
from .credential import CommunicationTokenCredential
from .keepers import Keepers, PoolStatistics, closed_pool_error
from .lifecycle import OneBlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .keepers import Place

Key = TypeVar("Key")  # hashable


class CredentialPool(OneBlock, Generic[Key]):
    """One open credential for each of many users.

    `async with pool.use(key) as credential:` lends the credential of one user. The first use has it made and opened,
    in the context of the task that entered the pool; whoever uses it at the same time shares it. It is closed when
    nobody has used it for a while, by `discard()`, or when the pool is left. What happens to one user's credential
    stays with that user: a failure, a hanging source or a sign-out delays nobody else.

    Open the pool once, where the program starts (a web framework's lifespan), and inject it; on trio, leave it in the
    task that entered it. A pool that was left may be entered again.

    Args:
        make: A plain function that takes a key and returns a new `CommunicationTokenCredential`, not entered. It must
            not block. What it raises fails that use only, and the next one calls it again.
        idle_timeout: Seconds after its last use for which a credential stays open, by the event loop's clock.
            `math.inf` keeps all of them.
        max_size: How many credentials may be open at once; None for any number. The one unused the longest makes room
            for the next. Where all are in use, the next user waits, in order; so a task that holds one user's
            credential while it asks for another's may have to wait for itself.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when a number is out of its range.
    """

    _what = "the pool"

    def __init__(
        self,
        make: Callable[[Key], CommunicationTokenCredential],
        *,
        idle_timeout: float = 1800,
        max_size: int | None = None,
    ) -> None:
        given = Secret(make)
        del make  # no frame that an error passes shows it: it may be a token's text by mistake
        self._make = _checked_make(given)
        self._idle_timeout = _checked_timeout(idle_timeout)
        self._max_size = _checked_size(max_size)
        self._keepers: Keepers | None = None

    def use(self, key: Key) -> AbstractAsyncContextManager[CommunicationTokenCredential]:
        """The open credential of a user, for as long as the block lasts.

        Entering waits until the credential is open, and for room where `max_size` others are in use. Cancelling it
        gives up the place in the queue, and changes nothing for others.

        Args:
            key: Whose credential; hashable.

        Returns:
            An async context manager for one block, which gives the credential. Do not enter or close it: the pool does.

        Raises:
            Exception: what `make` raised, or entering the credential it made.
            CredentialNotEnteredError: when the pool was not entered.
            CredentialClosedError: when the pool is closed, or closes while this waits.
            CredentialUsageError: when entered in another event loop than the pool was.
        """
        return _Use(self._entered, key)

    async def discard(self, key: Key) -> None:
        """Close the credential of a user now, as after a sign-out. If the user has none, nothing happens.

        Whoever is using it gets `CredentialClosedError` from it, and the next use makes a new one. This waits until the
        credential is closed; cancelling the wait does not keep it open.

        Args:
            key: Whose credential.

        Raises:
            CredentialNotEnteredError: when the pool was not entered.
            CredentialClosedError: when the pool is closed.
            CredentialUsageError: when called in another event loop than the pool was entered in.
        """
        await self._entered().discard(key)

    def statistics(self) -> PoolStatistics:
        """A consistent snapshot. It never waits, and may be called in any state and any thread of the process.

        A pool that was not entered has opened nothing; one that was left tells how it ended.
        """
        if self._keepers is None:
            size = None if self._max_size == inf else int(self._max_size)
            return PoolStatistics(open=0, in_use=0, idle=0, waiting=0, made=0, closed=0, max_size=size)
        return self._keepers.statistics()

    def _begin(self) -> AbstractAsyncContextManager[None]:
        keep_interrupts_out(*_PROTECTED, but_not=_call_make)
        self._keepers = Keepers(partial(_call_make, self._make), self._idle_timeout, self._max_size)
        return running(self._keepers, "credential pool")

    def _end(self) -> None:
        if self._keepers is not None:  # pragma: no branch - what ends has begun
            self._keepers.closed = True  # it is still open only where its event loop has ended

    def _entered(self) -> Keepers:
        if self._keepers is None:
            raise explained(
                "not-entered",
                CredentialNotEnteredError(
                    "the pool opens credentials only inside its block: use `async with pool:` first"
                ),
            )
        if self._keepers.closed:
            raise closed_pool_error()
        self._keepers.check_home()
        return self._keepers


class _Use(AbstractAsyncContextManager[CommunicationTokenCredential]):
    """One block of one user. It is not an async generator, since Ctrl-C could leave that behind between two lines."""

    __slots__ = ("_entered", "_keepers", "_key", "_place")

    def __init__(self, entered: Callable[[], Keepers], key: object) -> None:
        self._entered = entered
        self._key = key
        self._place: Place | None = None

    async def __aenter__(self) -> CommunicationTokenCredential:
        if self._place is not None:
            raise explained(
                "open-already",
                CredentialUsageError("this use has begun already: call pool.use(key) anew for each block"),
            )
        self._keepers = self._entered()
        self._place = await self._keepers.take(self._key)
        return self._place.credential

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._place is None:
            raise explained("open-already", CredentialUsageError("left, and never entered: `async with` does both"))
        self._keepers.release(self._place)
        self._place = None


_PROTECTED = (
    Keepers.run, Keepers._keep, Keepers.take, Keepers.release, Keepers.discard, Keepers.close,
    _Use.__aenter__, _Use.__aexit__,
)  # fmt: skip


def _call_make(make: Callable[[Any], object], key: object) -> CommunicationTokenCredential:
    """Call the program's function and check its result. Ctrl-C may strike here: nothing of the pool is changed."""
    made = make(key)
    if isinstance(made, CommunicationTokenCredential):
        return made
    if inspect.iscoroutine(made):
        made.close()
    raise explained(
        "pool-make",
        TypeError(
            f"make returned {type(made).__name__}: give a plain function that returns a new "
            "CommunicationTokenCredential, "
            "not entered; what has to be awaited belongs into its token_refresher"
        ),
    )


def _checked_make(given: Secret) -> Any:
    if not callable(given.value):
        raise wrong_type("pool-make", "make is a function that takes a key and returns a credential", given.value)
    if is_async(given.value):
        raise explained(
            "pool-make",
            TypeError("make is a plain function: what has to be awaited belongs into its credential's token_refresher"),
        )
    if (reason := misfit(given.value, None)) is not None:
        raise explained(
            "pool-make",
            TypeError(
                f"make is called with a key alone, which does not fit ({reason}); bind the rest with functools.partial"
            ),
        )
    return given.value


def _checked_timeout(value: object) -> float:
    if not is_number(value):
        raise wrong_type("pool-limits", "idle_timeout is a number of seconds, or math.inf", value)
    if not value >= 0:  # false for NaN as well
        raise explained(
            "pool-limits",
            ValueError(f"idle_timeout is a number of seconds from 0, or math.inf to keep all open, not {value!r}"),
        )
    return float(value)


def _checked_size(value: object) -> float:
    if value is None:
        return inf
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type("pool-limits", "max_size is a whole number of credentials, or None for any", value)
    if value < 1:
        raise explained(
            "pool-limits",
            ValueError(f"max_size is how many credentials may be open: at least 1, or None for any, not {value!r}"),
        )
    return value


public(CredentialPool)
