"""Callers who ask the same question at the same time share one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from anyio import Lock

from .._errors import TokenSourceError
from .._loops.per_loop import PerLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


class SharedAnswers(Generic[T]):
    """One flight at a time; who waits while the own question is answered is served from that answer.

    The flight is the first caller's own. Where that one is cancelled, the next in line flies.
    """

    def __init__(self) -> None:
        self._lock = PerLoop(Lock)
        self._landed = 0
        self._asking = 0
        self._answers: dict[Hashable, tuple[int, T | TokenSourceError]] = {}  # for those who wait

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
        self._asking += 1
        try:
            async with self._lock.get():
                found = self._answers.get(question)
                answer = found[1] if found is not None and found[0] > before else await self._fly(question, fly)
        finally:
            self._asking -= 1
            if not self._asking:
                self._answers.clear()
        if isinstance(answer, TokenSourceError):
            raise _copy(answer) from answer.__cause__
        return answer

    async def _fly(self, question: Hashable, fly: Callable[[], Awaitable[T]]) -> T | TokenSourceError:
        try:
            answer: T | TokenSourceError = await fly()
        except TokenSourceError as error:
            answer = error
        self._landed += 1
        self._answers[question] = self._landed, answer
        return answer


def _copy(error: TokenSourceError) -> TokenSourceError:
    """The same, for one waiter. A class of somebody else's is not made by what `args` holds, as copy() would."""
    copied = type(error).__new__(type(error), *error.args)
    vars(copied).update(vars(error))
    return copied
