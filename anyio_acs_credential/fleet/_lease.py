"""What a lease is held for: one question to the source, while the lease is prolonged beside it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from anyio import CancelScope, current_time, move_on_after, sleep

from .._refreshing.round import Round

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PATIENCE = 1.0  # seconds for one prolongation; the next one may be in time
_LONGEST = 60.0  # seconds that a lease is prolonged for: what takes longer will hardly come, and others wait for it


class Lease:
    """Prolongs a lease, beside a block, until that is left or the lease has passed to another, for a minute at most.

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
            is_ours, began = True, current_time()
            while is_ours and current_time() - began < _LONGEST:
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
