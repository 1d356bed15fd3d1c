"""MSAL's token cache in a store: a person who signs in on one machine is signed in on all.

MSAL works on the contents in memory, in its thread. Before MSAL would spend a refresh token, its sign-in credential
takes the cache's lease and the newest contents, and puts the changed contents afterwards, both in the event loop.

The rules of this file:

1. A process spends a refresh token while it has the lease, where its store is out of order, or after it has waited too
   long for the lease.
2. A token that MSAL finds in memory needs no lease. MSAL would spend a refresh token exactly where it searches for one.
3. A process waits a second at most for the store itself, and never raises an error of the store.
4. Tokens that MSAL has got stay in memory, whatever becomes of the lease, and are put as soon as they can be.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msal
from anyio import Lock, current_effective_deadline, current_time, move_on_after, sleep

from .._common.errors import explained, wrong_type
from .._common.public import public
from .._common.redaction import Secret
from .._loops.beside import beside
from .._loops.per_loop import PerLoop
from ._guard import Guard, OutOfOrderError, Patience
from ._lease import Lease
from ._merging import merge, read, write
from ._store import is_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from .._tokens.clock import Clock
    from ._merging import Contents
    from ._store import Entry, TokenStore

T = TypeVar("T")

_LEASE = 5.0  # seconds after which the next process takes over from one that was killed
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 0.5  # seconds between looks at a lease that another process has
_LONGEST_WAIT = 20.0  # seconds at most to wait for that process; two thirds of the caller's time where that is less
_LONGEST_END = 2.0  # seconds at most to put the contents; after that, the next turn puts them
# Seconds; an unused refresh token of Entra lasts for 90 days:
# https://learn.microsoft.com/entra/identity-platform/refresh-tokens
_KEPT = 90 * 24 * 3600.0

_LOOKING: ContextVar[bool] = ContextVar("looking", default=False)


class _NeedsLeaseError(Exception):
    """MSAL would spend a refresh token."""


class SharedTokenCache(msal.SerializableTokenCache):  # type: ignore[misc]  # msal has no types
    """What `shared_token_cache` returns."""

    clock: Clock = time

    def __init__(self, store: TokenStore, key: str) -> None:
        super().__init__()
        self._store = store
        # A subclass of str may show another text than it holds, such as the same one for all people.
        self._name = f"cache:{str.__str__(key)}"
        self._turn = PerLoop(Lock)
        self._guard = Guard(self)
        self._stored: Contents = {}  # the store's contents when they were last seen
        self._fence = 0  # their fence

    def secrets(self) -> list[str]:
        """The texts that no log line may show, besides those that look like a token."""
        return []

    @contextmanager
    def looking(self) -> Iterator[None]:
        """A block in MSAL's thread that is left where MSAL would spend a refresh token."""
        token = _LOOKING.set(True)
        try:
            with suppress(_NeedsLeaseError):
                yield
        finally:
            _LOOKING.reset(token)

    def search(self, credential_type: str, *args: Any, **kwargs: Any) -> Any:
        """Find entries, as MSAL does before it uses them."""
        if _LOOKING.get() and credential_type == self.CredentialType.REFRESH_TOKEN:
            raise _NeedsLeaseError
        return super().search(credential_type, *args, **kwargs)

    async def in_turn(self, work: Callable[[], Awaitable[T]], look: Callable[[], Awaitable[T | None]]) -> T:
        """Have MSAL work under the cache's lease, with the newest contents.

        It waits for other processes, for 20 seconds or two thirds of the caller's time at most, and for the work. Where
        the store is out of order, the work is done on the contents in memory. Cancelling it cancels the work and ends
        the lease.

        Args:
            work: Has MSAL work.
            look: Answers from memory, or returns None. It is called before a lease is taken, and whenever another
                process has put newer contents.

        Returns:
            What `look` found, or else what `work` returned.
        """
        if (found := await look()) is not None:
            return found
        async with self._turn.get():
            fence, found = await self._begin(look)
            if found is not None:
                return found
            if fence is None:
                return await work()
            try:
                lease = Lease(partial(self._store.prolong, self._name, fence, _LEASE), _LEASE)
                async with beside(lease, "the lease of a token cache"):
                    return await work()
            finally:
                with move_on_after(_LONGEST_END, shield=True), suppress(OutOfOrderError):
                    await self._end(fence)

    async def _begin(self, look: Callable[[], Awaitable[T | None]]) -> tuple[int | None, T | None]:
        """The fence of the lease and None; or None and what `look` found meanwhile; or None twice."""
        patience, pause = Patience(), 0.0
        give_up_at = current_time() + min(_LONGEST_WAIT, (current_effective_deadline() - current_time()) * 2 / 3)
        with suppress(OutOfOrderError):
            while not self._guard.is_backing_off and current_time() < give_up_at:
                fence, is_new = await self._guard.ask(patience, self._take, costs=not pause)
                if fence is not None:
                    return fence, None
                if is_new and (found := await look()) is not None:
                    self._guard.recovered()
                    return None, found
                pause = min(1.5 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
                await sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - spreads, hides nothing
        return None, None

    async def _end(self, fence: int | None) -> None:
        patience = Patience()
        while fence is None or (self._is_changed() and not await self._guard.ask(patience, partial(self._put, fence))):
            # The lease had passed to another process, which has put newer contents: the changes of both are put.
            fence, _ = await self._guard.ask(patience, self._take)
            if fence is None:
                await sleep(_FIRST_PAUSE)
        await self._guard.ask(patience, partial(self._store.release, self._name, fence))
        self._guard.recovered()

    async def _take(self) -> tuple[int | None, bool]:
        """Take the lease if it is free, and load the store's contents. The fence or None, and whether they are new."""
        taken = await self._store.take(self._name, _LEASE)
        is_new = taken.entry is not None and taken.entry.fence != self._fence
        self._load(taken.entry)
        return taken.fence, is_new

    def _load(self, entry: Entry | None) -> None:
        theirs = {} if entry is None else read(Secret(entry.value))
        fence = 0 if entry is None else entry.fence
        with self._lock:
            # A store that was restarted empty, or failed over to a copy that lags, lacks entries that nobody removed.
            before = self._stored if fence >= self._fence else {}
            self._cache = merge(before, self._contents(), theirs)
        self._stored, self._fence = theirs, fence

    async def _put(self, fence: int) -> bool:
        contents = Secret(self._contents())
        faults: list[Exception] = []
        try:
            is_kept = await self._store.put(self._name, fence, write(contents.value), _KEPT)
        except Exception as error:  # noqa: BLE001 - whatever a store's driver raises
            faults.append(error)
        if faults:
            with suppress(Exception):  # the next would wait for a lease that nobody uses
                await self._store.release(self._name, fence)
            raise faults[0]
        if not is_kept:
            return False
        self._stored, self._fence = contents.value, fence
        return True

    def _is_changed(self) -> bool:
        return self._contents() != self._stored

    def _contents(self) -> Contents:
        with self._lock:
            return {kind: dict(entries) for kind, entries in self._cache.items() if entries}


def shared_token_cache(store: TokenStore, *, key: str) -> msal.TokenCache:
    """A token cache for the sign-in credentials, kept in a store: a person who signs in once is signed in everywhere.

    Give it to a credential of `anyio_acs_credential.entra` as its `token_cache`, or to an MSAL application for
    `MsalCredential`, and enter the store around their use. One cache is for one person or for few, since the whole of
    it is read and written each time. Where the store is out of order, the cache works in memory, and the log says so
    once. MSAL alone, without such a credential, uses the contents in memory.

    Args:
        store: Keeps the cache, such as a `RedisTokenStore`, which encrypts it. One store may serve many caches.
        key: Whose sign-in it is: a text of your own, the same in all processes for the same person.

    Returns:
        An `msal.TokenCache`.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when the key is empty.
    """
    if not is_store(store):
        raise wrong_type("token-cache", "store is a token store, such as a RedisTokenStore", store)
    if not isinstance(key, str):
        raise wrong_type("token-cache", "key is a text that names the person", key)
    if not key:
        raise explained(
            "token-cache", ValueError("key is empty: give a text that names the person, the same in all processes")
        )
    return SharedTokenCache(store, key)


public(shared_token_cache, module="fleet")
