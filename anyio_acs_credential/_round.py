"""A round: one question to the token source, and its answer for all who wait."""

from __future__ import annotations

from contextvars import ContextVar

from anyio import Event

__all__ = ("Round",)


class Round:
    """One question to the source, asked once."""

    __slots__ = ("_done", "_over", "began", "cause", "forced", "rejected", "requested")

    def __init__(self) -> None:
        self.requested = False
        self.forced = False
        self.rejected: set[str] = set()
        self.began: float | None = None  # on the monotonic clock
        self.cause: BaseException | None = None  # why it brought no token
        self._over = False
        self._done: Event | None = None  # made for the first who waits: most rounds have nobody

    async def wait(self) -> None:
        """Wait until the round is over; return at once where it is."""
        if self._over:
            return
        if self._done is None:
            self._done = Event()
        await self._done.wait()

    def end(self) -> None:
        """Wake all who wait."""
        self._over = True
        if self._done is not None:
            self._done.set()

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


_asking: ContextVar[Round | None] = ContextVar("anyio_acs_credential.round", default=None)
