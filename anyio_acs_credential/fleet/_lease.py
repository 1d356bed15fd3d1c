"""What a lease is held for: one question to the source, beside which the lease is prolonged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import CancelScope, current_time, move_on_after, sleep

from .._loops.cancellation import is_fault, native_cancellations
from .._refreshing.round import Round

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PATIENCE = 1.0  # seconds for one prolongation; if it fails, the next one may be in time
_LONGEST = 60.0  # seconds after which a lease is no longer prolonged, since the other processes wait for the answer


class Lease:
    """Prolongs a lease beside a block, until the block is left or the lease has passed on, for a minute at most.

    Args:
        prolong: Prolongs the lease once, and says whether it is still this process's.
        seconds: How long the lease lasts each time.
    """

    def __init__(self, prolong: Callable[[], Awaitable[bool]], seconds: float) -> None:
        self.crash: BaseException | None = None
        self._prolong = prolong
        self._seconds = seconds
        self._scope = CancelScope()

    async def run(self) -> None:
        """Prolong the lease at each third of its time."""
        with self._scope:
            is_ours, began = True, current_time()
            while is_ours and current_time() - began < _LONGEST:
                await sleep(self._seconds / 3)
                cancellations = native_cancellations()
                try:
                    with move_on_after(_PATIENCE):
                        is_ours = await self._prolong() is not False
                except BaseException as error:  # noqa: ASYNC103 - whatever a store's driver raises
                    if not is_fault(error, cancellations):
                        raise

    def close(self) -> None:
        """Stop prolonging it."""
        self._scope.cancel("the source has answered")


class Question(Round):
    """A round of the shared source, inside of a credential's round.

    Args:
        claims: The claims of a challenge that the source has to meet, or None.
    """

    __slots__ = ()

    def __init__(self, claims: str | None) -> None:
        super().__init__()
        self.claims = claims

    def as_its_source(self) -> None:
        """Do nothing: the credential's round has marked the running context."""

    def source_ended(self) -> None:
        """Do nothing: the mark lasts until the credential's round ends."""
