"""What belongs to one event loop, and is not made before it is used there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerLoop(Generic[T]):
    """A lock or limiter of the event loop that runs, for as long as that loop exists. Another loop has another one.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[object, T] = WeakKeyDictionary()

    def get(self) -> T:
        """The running loop's own."""
        loop = current_token().native_token
        if (made := self._made.get(loop)) is None:
            made = self._made[loop] = self._make()
        return made
