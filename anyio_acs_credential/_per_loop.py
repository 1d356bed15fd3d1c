"""What belongs to one event loop, and is not made before it is used there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.lowlevel import EventLoopToken

__all__ = ("PerLoop",)

T = TypeVar("T")


class PerLoop(Generic[T]):
    """A lock or limiter of the event loop that runs. A second loop gets another one.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[EventLoopToken, T] | None = None

    def get(self) -> T:
        """The running loop's own."""
        token = current_token()
        if self._made is None or self._made[0] != token:
            self._made = token, self._make()
        return self._made[1]
