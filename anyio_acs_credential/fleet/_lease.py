"""What a lease is held for: one question to the source, while the lease is prolonged beside it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from anyio import CancelScope, move_on_after, sleep

from .._refreshing.round import Round

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PATIENCE = 1.0  # seconds for one prolongation; the next one may be in time


class Lease:
    """Prolongs a lease, beside a block, until that is left or the lease has passed to another.

    Args:
        prolong: Prolongs it once, and says whether it is still there.
        seconds: How long it lasts each time.
    """

    def __init__(self, prolong: Callable[[], Awaitable[bool]], seconds: float) -> None:
        self.crash: BaseException | None = None
        self._prolong = prolong
        self._seconds = seconds
        self._scope = CancelScope()

    async def run(self) -> None:
        """Prolong it, again and again."""
        with self._scope:
            is_ours = True
            while is_ours:
                await sleep(self._seconds / 3)
                with suppress(Exception), move_on_after(_PATIENCE):
                    is_ours = await self._prolong() is not False

    def close(self) -> None:
        """Prolong it no more."""
        self._scope.cancel("the source has answered")


class Question(Round):
    """A question that is part of a credential's round.

    Args:
        claims: Those of a challenge that the source has to meet.
    """

    __slots__ = ()

    def __init__(self, claims: str | None) -> None:
        super().__init__()
        self.claims = claims

    def as_its_source(self) -> None:
        """The running context is marked already, as that of the credential's round."""

    def source_ended(self) -> None:
        """Nor does that mark end with this question."""
