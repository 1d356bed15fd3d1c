"""Callers who ask the same question at the same time share one answer."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Generic, TypeVar

from anyio import Lock

from ._errors import TokenSourceError
from ._per_loop import PerLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

__all__ = ("Flights",)

T = TypeVar("T")


class Flights(Generic[T]):
    """One flight at a time; who waits while the own question is answered is served from that answer.

    The flight is the first caller's own. Where that one is cancelled, the next in line flies.
    """

    def __init__(self) -> None:
        self._lock = PerLoop(Lock)
        self._landed = 0
        self._last: tuple[Hashable, T | TokenSourceError] | None = None

    async def ask(self, question: Hashable, fly: Callable[[], Awaitable[T]]) -> T:
        """The answer.

        Args:
            question: What is asked.
            fly: Finds the answer.

        Raises:
            TokenSourceError: what `fly` raised, a copy for each who waited. What else it raises goes to its caller
                alone.
        """
        before = self._landed
        async with self._lock.get():
            if self._last is not None and self._landed > before and self._last[0] == question:
                return _unpack(self._last[1])
            try:
                answer: T | TokenSourceError = await fly()
            except TokenSourceError as error:
                answer = error
            self._last = question, answer
            self._landed += 1
        return _unpack(answer)


def _unpack(answer: T | TokenSourceError) -> T:
    if isinstance(answer, TokenSourceError):
        raise copy(answer) from answer.__cause__
    return answer
