"""Single flight: callers who ask the same question at the same time share one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from anyio import Lock

from .._common.errors import TokenSourceError
from .per_loop import PerLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


class SharedAnswers(Generic[T]):
    """Answers one question at a time. Who waited while the same question was answered gets that answer.

    The first caller finds the answer, in its own cancel scope. Where that caller is cancelled, the next in line does.
    """

    def __init__(self) -> None:
        self._lock = PerLoop(Lock)
        self._found_so_far = 0
        self._asking = 0
        self._answers: dict[Hashable, tuple[int, T | TokenSourceError]] = {}  # empty while nobody is asking

    async def ask(self, question: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """The answer to a question.

        It waits for its turn, and for `find`. Cancelling it ends its own call of `find`, and no other.

        Args:
            question: What is asked. Equal questions share an answer.
            find: Finds the answer.

        Raises:
            TokenSourceError: what `find` raised, as a copy for each caller. Any other exception goes to no one but the
                caller whose `find` raised it, and the next in line calls its own.
        """
        before = self._found_so_far
        self._asking += 1
        try:
            async with self._lock.get():
                found = self._answers.get(question)
                answer = found[1] if found is not None and found[0] > before else await self._find(question, find)
        finally:
            self._asking -= 1
            if not self._asking:
                self._answers.clear()
        if isinstance(answer, TokenSourceError):
            raise _copy(answer) from answer.__cause__
        return answer

    async def _find(self, question: Hashable, find: Callable[[], Awaitable[T]]) -> T | TokenSourceError:
        try:
            answer: T | TokenSourceError = await find()
        except TokenSourceError as error:
            answer = error
        self._found_so_far += 1
        self._answers[question] = self._found_so_far, answer
        return answer


def _copy(error: TokenSourceError) -> TokenSourceError:
    """A copy of an error, for one caller. `copy()` would call `__init__` with `args`, which a subclass may not take."""
    copied = type(error).__new__(type(error), *error.args)
    vars(copied).update(vars(error))
    return copied
