"""A round: one question to the token source, and its answer for all who wait."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar

from anyio import Event

__all__ = ("Round", "wake")


class Round:
    """One question to the source, asked once."""

    __slots__ = ("_done", "_over", "began", "cause", "claims", "forced", "rejected", "requested")

    def __init__(self) -> None:
        self.requested: bool = False
        self.forced: bool = False
        self.rejected: set[str] = set()
        self.claims: str | None = None  # of a challenge that the source has to meet
        self.began: float | None = None  # on the monotonic clock
        self.cause: BaseException | None = None  # why it brought no token
        self._over = False
        self._done: Event | None = None  # made for the first who waits: most rounds have nobody

    def done(self) -> Event:
        """What is set when the round is over."""
        if self._done is None:
            self._done = Event()
            if self._over:
                self._done.set()
        return self._done

    def end(self) -> None:
        """Wake all who wait."""
        self._over = True
        # Let go of: the context that the source ran in holds the round, and with it what it holds, until the next.
        done, self._done = self._done, None
        if done is not None:
            wake(done)

    @property
    def is_answered(self) -> bool:
        """Whether the round is over and has brought a token."""
        return self._over and self.cause is None

    @property
    def waiting(self) -> int:
        """Tasks that wait."""
        return self._done.statistics().tasks_waiting if self._done is not None else 0

    def enter(self) -> None:
        """Mark the running context, and all that is started in it, as being this round's source."""
        _asking.set(self)

    @property
    def is_asking(self) -> bool:
        """Whether the running code is part of this round's source, in whatever task or thread."""
        return _asking.get() is self


def wake(event: Event) -> None:
    """Set an event for which the program's main task may wait."""
    # On asyncio Ctrl-C cancels the main task between any two lines of set(), which then raises InvalidStateError.
    # Whom it has not woken by then, the end of the main task cancels.
    with suppress(Exception):
        event.set()


_asking: ContextVar[Round | None] = ContextVar("anyio_acs_credential.round", default=None)
