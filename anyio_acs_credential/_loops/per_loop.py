"""Objects that belong to one event loop, and are made when they are first used there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerLoop(Generic[T]):
    """A lock or limiter for each event loop, which lasts as long as the loop.

    Args:
        make: Makes one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[object, T] = WeakKeyDictionary()

    def get(self) -> T:
        """The one of the running event loop."""
        loop = current_token().native_token
        if (made := self._made.get(loop)) is None:
            made = self._made[loop] = self._make()
        return made
