"""A round: one question to the token source, and its answer for all who wait.

Until it begins, waiters may ask more of it: that it is made whatever the schedule says, or that it meets a challenge.
Once it has begun, a waiter may set two things and no more, which count when its answer is taken: `forced`, by joining
with `refresh()`, and one more `rejected` token. Its claims stay as they are, since the source has been given them.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from anyio import Event

from .._common.errors import CredentialUsageError, explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._common.redaction import Secret


class Round:
    """One question to the source. It is asked once more only if the wall clock was set ahead meanwhile.

    Attributes:
        requested: Whether a caller has asked for it, and not only the schedule.
        forced: Whether it is made whatever the schedule says. Its token then replaces the held one, also where it ends
            earlier.
        rejected: The texts of tokens that services have rejected, which it must not bring again.
        claims: The claims of a challenge that the source has to meet; None for a plain round.
        began: When the source was asked, in seconds of the event loop's clock; None before.
        cause: Why it brought no token; None while it has not failed.
    """

    __slots__ = ("_at_end", "_done", "_source_at_work", "began", "cause", "claims", "forced", "rejected", "requested")

    def __init__(self) -> None:
        self.requested: bool = False
        self.forced: bool = False
        self.rejected: list[Secret] = []
        self.claims: str | None = None
        self.began: float | None = None
        self.cause: BaseException | None = None
        self._source_at_work = False
        self._done: Event | None = None  # made for the first waiter: most rounds have none
        self._at_end: list[Callable[[], object]] = []  # one for each thread that waits

    def refuse_its_source(self) -> None:
        """Refuse to let this round's own source wait for it, in whatever task or thread the source asks.

        Raises:
            CredentialUsageError: when the source asks.
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
        """Have the round made whatever the schedule says.

        Args:
            rejected: The text of a token that it must not bring again.
            claims: The claims of a challenge that it has to meet. A round that has begun has the same claims already.
        """
        self.forced = True
        if rejected is not None:
            self.rejected.append(rejected)
        if claims is not None:
            self.claims = claims

    def begin(self, now: float) -> None:
        """Note when the source is asked."""
        self.began = now

    def as_its_source(self) -> None:
        """Mark the running context, and all tasks and threads that are started in it, as this round's source."""
        self._source_at_work = True
        _asking.set(self)

    def source_ended(self) -> None:
        """Let the tasks and threads that the source has left behind ask for tokens."""
        self._source_at_work = False

    def fail(self, cause: BaseException) -> None:
        """Note why the round brings no token."""
        self.cause = cause

    def end(self) -> None:
        """Wake all who wait."""
        callbacks, self._at_end = self._at_end, []
        if self._done is None:
            self._done = Event()  # for those who come late
        wake(self._done)
        for callback in callbacks:
            callback()

    async def wait(self) -> None:
        """Wait until the round is over."""
        if self._done is None:
            self._done = Event()
        await self._done.wait()

    def call_at_end(self, callback: Callable[[], object]) -> None:
        """Have a function called when the round is over, for a thread that waits."""
        self._at_end.append(callback)

    def call_no_more(self, callback: Callable[[], object]) -> None:
        """Forget that function, since its thread waits no longer."""
        with suppress(ValueError):
            self._at_end.remove(callback)

    @property
    def threads_waiting(self) -> int:
        """Threads that wait."""
        return len(self._at_end)

    @property
    def waiting(self) -> int:
        """Tasks and threads that wait."""
        tasks = self._done.statistics().tasks_waiting if self._done is not None else 0
        return tasks + self.threads_waiting


def wake(event: Event) -> None:
    """Set an event for which the program's main task may wait."""
    # On asyncio, Ctrl-C may cancel the main task between any two lines of set(), which then raises InvalidStateError.
    # Some waiters stay asleep then; the end of the main task cancels them.
    with suppress(Exception):
        event.set()


_asking: ContextVar[Round | None] = ContextVar("anyio_acs_credential.round", default=None)
