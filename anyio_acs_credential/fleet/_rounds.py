"""The token source of a fleet: the store's token, or a fetch under the lease, or another process's answer.

The rules of this file:

1. Only the process that has the lease asks the source, and one whose store is out of order. No process asks because
   another one is slow, since all of them would do so at the same moment.
2. A process waits a second at most for the store itself, and never raises an error of the store.
3. A process that took a lease ends it, by putting a record or by releasing it, also when the round is cancelled. The
   lease of a holder that is killed, or that waits for longer than a minute, ends by itself.
4. The source's answer is returned, whatever becomes of the lease.
5. A round whose time is up is a failure like any other, and is put into the store.
"""

from __future__ import annotations

import random
from contextlib import suppress
from functools import partial
from math import inf
from operator import index
from typing import TYPE_CHECKING, NamedTuple

from anyio import CancelScope, current_effective_deadline, current_time, get_cancelled_exc_class, sleep

from .._common.checks import check_claims
from .._common.errors import TokenSourceError
from .._common.redaction import Secret
from .._loops.beside import beside
from .._refreshing.source import ask, call
from .._tokens.access_token import AccessToken
from .._tokens.results import accept
from .._tokens.token_source import Around
from ._guard import Guard, OutOfOrderError, Patience
from ._judging import Found, Judge, failure_of, kept_of
from ._lease import Lease, Question
from ._record import Record, digest
from ._store import StoreError, UnreadableError

if TYPE_CHECKING:
    from .._tokens.token_source import TokenSource
    from ._store import Entry, TokenStore

_LONGEST_LOOK = 1.0  # seconds for which a process only looks, before it tries to take the lease again
_LAST_PATIENCE = 0.1  # seconds for ending a lease under which nothing could be put
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 0.5  # seconds between looks for another process's answer
_NOTHING = Record()  # is put by who could not put more


class Attempt(NamedTuple):
    """An attempt to take the lease, with the entry read; see `Taken`."""

    found: Found
    fence: int | None
    free_in: float


class SharedSource(Around):
    """What `shared` returns.

    Args:
        source: Fetches a token.
        store: Keeps the token.
        key: Names the user.
        lease: Seconds that a lease lasts.
    """

    def __init__(self, source: TokenSource, store: TokenStore, key: str, lease: float) -> None:
        super().__init__(source)
        self._store = store
        # A subclass of str may show another text than it holds, such as the same one for all users.
        self._name = f"token:{str.__str__(key)}"
        self._lease = lease
        self._judge = Judge()
        self._guard = Guard(self)

    def secrets(self) -> list[str]:
        """The texts that no log line may show."""
        return [self._judge.given.value, *super().secrets()]

    async def __call__(self, claims: str | None = None) -> AccessToken:
        """An access token: the store's, if it is newer than the one that was given last, or else the source's.

        It waits for the store, and for the source or another process. Cancelling it ends the lease, if it has one.

        Args:
            claims: The claims of a challenge that the token has to meet, or None.

        Raises:
            TokenSourceError: the failure of another process, where that answers this round.
            TypeError: when the claims are not text.
            Exception: what the source raised, in the process that asked it.
        """
        hidden, claims = Secret(claims), None  # no frame that an error passes shows it: it may be anything as yet
        claims = check_claims(hidden.value)
        if not self._guard.is_backing_off:
            with suppress(OutOfOrderError):
                return await self._together(claims, Patience())
        token = accept(await call(self._source, claims), self.clock)
        self._judge.note_given(token, 0)
        return token

    async def _together(self, claims: str | None, patience: Patience) -> AccessToken:
        """The token of a round with the store."""
        wanted, has_waited, elapsed = digest(claims), False, None
        found = await self._guard.ask(patience, self._look)
        while (token := self._answer(found, wanted, elapsed)) is None:
            attempt = await self._guard.ask(patience, self._take, costs=not has_waited)
            if attempt.fence is not None:
                return await self._with_lease(attempt.found, attempt.fence, claims, patience)
            if (token := self._answer(attempt.found, wanted)) is not None:
                return token
            found, has_waited = await self._wait(attempt, self._free_at(attempt, wanted), patience), True
            elapsed = None if found.fence == attempt.found.fence else 0.0
        return token

    def _answer(self, found: Found, wanted: str | None, elapsed: float | None = None) -> AccessToken | None:
        """The token in the store, if it counts for this process; else None.

        Where `elapsed`, the seconds since a failure's lease, is given, that failure is raised if it counts.
        """
        token = self._judge.token(found, wanted, self.clock.time(), elapsed)
        if token is not None and found.record.token is not None:
            self._judge.note_given(token, found.record.token.fence)
            self._guard.recovered()
            return token
        if elapsed is not None and (error := self._judge.failure(found, wanted, elapsed)) is not None:
            self._judge.note_raised(found.fence)
            self._guard.recovered()
            raise error
        return None

    def _free_at(self, attempt: Attempt, wanted: str | None) -> float:
        """When the lease may be free: at its end, or before that, since it is released where there is nothing to put.

        Where a failure is in force, its lease ends soon: each process raises that failure under the lease, in a moment.
        """
        is_telling = self._judge.failure(attempt.found, wanted, 0.0) is not None
        look = _LONGEST_PAUSE / 2 if is_telling else _LONGEST_LOOK * random.uniform(0.5, 1)  # noqa: S311 - likewise
        return current_time() + min(attempt.free_in, look)

    async def _wait(self, attempt: Attempt, until: float, patience: Patience) -> Found:
        """Wait until another process has put a record, or its lease may be over."""
        pause, found = _FIRST_PAUSE, attempt.found
        while found.fence == attempt.found.fence and (left := until - current_time()) > 0:
            await sleep(min(pause * random.uniform(0.75, 1.25), left))  # noqa: S311 - spreads, hides nothing
            pause = min(1.5 * pause, _LONGEST_PAUSE)
            found = await self._guard.ask(patience, partial(self._look_after, attempt.found.fence), costs=False)
        return found

    async def _with_lease(self, found: Found, fence: int, claims: str | None, patience: Patience) -> AccessToken:
        """The token in the store after all, or what the source gives or raises."""
        began, deadline, record = self.clock.monotonic(), current_effective_deadline(), None
        try:
            # A fence is, as a rule, the store's clock in milliseconds. Where it is not, less time seems to have passed
            # than has, and the failure is then raised once too often in each process at most.
            token = self._answer(found, digest(claims), (fence - found.fence) / 1000)
            outcome = token or await self._fetch(fence, claims)
        except BaseException as error:
            if isinstance(error, get_cancelled_exc_class()) and current_time() >= deadline:
                took = self.clock.monotonic() - began
                record = self._failed(found, fence, digest(claims), _late(took), took)
            await self._end(fence, record, Patience())  # noqa: ASYNC102 - it is shielded, for a second
            raise
        if isinstance(outcome, Exception):
            record = self._failed(found, fence, digest(claims), outcome, self.clock.monotonic() - began)
        elif token is None and isinstance(outcome, AccessToken):
            record = self._given(fence, digest(claims), outcome)
        await self._end(fence, record, patience)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def _fetch(self, fence: int, claims: str | None) -> AccessToken | BaseException:
        """The source's token or exception, while the lease is prolonged."""
        lease = Lease(partial(self._store.prolong, self._name, fence, self._lease), self._lease)
        async with beside(lease, "the lease of a token"):
            return await ask(self._source, inf, CancelScope(), Question(claims), self.clock)

    def _given(self, fence: int, wanted: str | None, token: AccessToken) -> Record | None:
        """The record that tells the others of a token; None where it has expired."""
        self._judge.note_given(token, fence)
        kept = kept_of(token, fence, wanted, self.clock)
        return Record(kept) if kept.life > 0 else None

    def _failed(self, found: Found, fence: int, wanted: str | None, error: Exception, took: float) -> Record:
        """The record that tells the others of a failure, with the token before it while that is valid."""
        self._judge.note_raised(fence)
        last, before = found.record.token, found.record.failure
        failure = failure_of(error, before, wanted, took, random.random(), *self.secrets())  # noqa: S311 - likewise
        return Record(last if last is not None and last.left(self.clock.time()) > 0 else None, failure)

    async def _end(self, fence: int, record: Record | None, patience: Patience) -> None:
        """End the lease, by putting the record or by releasing the lease where there is no record."""
        with CancelScope(shield=True), suppress(OutOfOrderError):
            if record is not None:
                try:
                    await self._guard.ask(patience, partial(self._put, fence, record))
                except OutOfOrderError:  # the others need not wait until the lease is over
                    patience = Patience(_LAST_PATIENCE)
                else:
                    self._guard.recovered()
                    return
            await self._guard.ask(patience, partial(self._release, fence))
            if record is None:
                self._guard.recovered()

    async def _look(self) -> Found:
        try:
            entry = await self._store.look(self._name)
        except UnreadableError as error:  # the next holder of the lease replaces the entry
            self._guard.tell(error)
            entry = None
        return _found(entry)

    async def _look_after(self, fence: int) -> Found:
        """What another process has put after that fence, for which this one waits."""
        found = await self._look()
        if found.fence != fence and found.record == _NOTHING:
            raise StoreError("another process could not put its token there: see whether it is full")
        return found

    async def _take(self) -> Attempt:
        taken = await self._store.take(self._name, self._lease)
        if not 0 <= taken.free_in < inf:  # false for NaN as well
            raise StoreError("its lease is held for a time that is no number of seconds: see who wrote the store")
        free_in = min(max(taken.free_in, _FIRST_PAUSE), self._lease)
        return Attempt(_found(taken.entry), None if taken.fence is None else index(taken.fence), free_in)

    async def _put(self, fence: int, record: Record) -> bool:
        ends = [] if record.token is None else [record.token.left(self.clock.time())]
        waits = [] if record.failure is None else [record.failure.wait]
        put, faults = partial(self._store.put, self._name, fence), []
        for _ in range(2):
            try:
                return await put(record.to_bytes(), max(ends + waits))
            except Exception as error:  # noqa: BLE001 - whatever a store's driver raises
                faults.append(error)
        # The others would wait for the lease to end, each for that of the one before: a few bytes may be kept.
        with suppress(Exception):
            await put(_NOTHING.to_bytes(), self._lease)
        raise faults[0]

    async def _release(self, fence: int) -> None:
        await self._store.release(self._name, fence)


def _found(entry: Entry | None) -> Found:
    if entry is None:
        return Found()
    return Found(index(entry.fence), Record.from_bytes(entry.value))


def _late(took: float) -> TokenSourceError:
    return TokenSourceError(f"the token source gave no answer within {took:.3g} s: see what it waits for")
