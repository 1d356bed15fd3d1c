"""A round: one question to the token source, and its answer for all who wait.

Until it begins, anybody may ask more of it: that it is made whatever the schedule says, that it meets a challenge. Once
it has begun, a waiter may set two things and no more, which count when its answer is taken: `forced`, by joining with
`refresh()`, and one more `rejected` token. Its claims stay, since the source has been given them.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from anyio import Event

from .._errors import CredentialUsageError, explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._redaction import Secret


class Round:
    """One question to the source, asked once.

    Attributes:
        requested: Whether a caller waits for it, rather than the schedule.
        forced: Whether it is made now, and what it brings counts also where it ends earlier than what is held.
        rejected: Tokens that were turned down, which it must not bring again.
        claims: Those of a challenge that the source has to meet.
        began: When the source was asked, by the event loop's clock.
        cause: Why it brought no token.
    """

    __slots__ = ("_done", "_source_at_work", "_threads", "began", "cause", "claims", "forced", "rejected", "requested")

    def __init__(self) -> None:
        self.requested: bool = False
        self.forced: bool = False
        self.rejected: list[Secret] = []
        self.claims: str | None = None
        self.began: float | None = None
        self.cause: BaseException | None = None
        self._source_at_work = False
        self._done: Event | None = None  # made for the first who waits: most rounds have nobody
        self._threads: list[Callable[[], object]] = []

    def refuse_its_source(self) -> None:
        """Refuse to have this round's own source wait for it, in whatever task or thread it does.

        Raises:
            CredentialUsageError: when it is the source that asks.
        """
        if self._source_at_work and _asking.get() is self:
            raise explained(
                "own-source",
                CredentialUsageError(
                    "the token source asked its own credential for a token, which would wait for itself; "
                    "give the source a credential of its own, or none"
                ),
            )

    def force(self, *, rejected: Secret | None = None, claims: str | None = None) -> None:
        """Have it made whatever the schedule says.

        Args:
            rejected: A token that it must not bring again.
            claims: Those of a challenge that it has to meet. A round that has begun has them already.
        """
        self.forced = True
        if rejected is not None:
            self.rejected.append(rejected)
        if claims is not None:
            self.claims = claims

    def begin(self, now: float) -> None:
        """The source is about to be asked."""
        self.began = now

    def as_its_source(self) -> None:
        """Mark the running context, and all that is started in it, as being this round's source."""
        self._source_at_work = True
        _asking.set(self)

    def source_ended(self) -> None:
        """What the source has left behind may ask."""
        self._source_at_work = False

    def fail(self, cause: BaseException) -> None:
        """It brings no token."""
        self.cause = cause

    def end(self) -> None:
        """Wake all who wait."""
        threads, self._threads = self._threads, []
        if self._done is None:
            self._done = Event()  # for who comes late
        wake(self._done)
        for tell in threads:
            tell()

    async def wait(self) -> None:
        """Wait until it is over."""
        if self._done is None:
            self._done = Event()
        await self._done.wait()

    def tell(self, thread: Callable[[], object]) -> None:
        """Have a function called when it is over, which tells a thread that waits."""
        self._threads.append(thread)

    def leave(self, thread: Callable[[], object]) -> None:
        """That thread waits no longer."""
        with suppress(ValueError):
            self._threads.remove(thread)

    @property
    def threads(self) -> int:
        """Threads that wait."""
        return len(self._threads)

    @property
    def waiting(self) -> int:
        """Tasks and threads that wait."""
        tasks = self._done.statistics().tasks_waiting if self._done is not None else 0
        return tasks + self.threads


def wake(event: Event) -> None:
    """Set an event for which the program's main task may wait."""
    # On asyncio Ctrl-C cancels the main task between any two lines of set(), which then raises InvalidStateError. Some
    # waiters stay asleep then; the end of the main task cancels them.
    with suppress(Exception):
        event.set()


_asking: ContextVar[Round | None] = ContextVar("anyio_acs_credential.round", default=None)
