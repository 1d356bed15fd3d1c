"""A block that an async generator makes, and that is left only where it can be left.

A generator cannot refuse: it resumes, and finds in its last lines that another task runs them. On trio, its task group
would then stay open in the task that entered. So the block refuses before the generator resumes, as a credential does.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from .beside import entered_here
from .block import check_entering, leaving

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .block import Block

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


def guarded(
    what: str,
) -> Callable[[Callable[P, AbstractAsyncContextManager[T_co]]], Callable[P, AbstractAsyncContextManager[T_co]]]:
    """A decorator, above `asynccontextmanager`, for what has a task group open while its block runs.

    Args:
        what: What is entered, as messages name it.
    """

    def decorate(
        make: Callable[P, AbstractAsyncContextManager[T_co]],
    ) -> Callable[P, AbstractAsyncContextManager[T_co]]:
        @wraps(make)
        def made(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T_co]:
            return _Guarded(what, partial(make, *args, **kwargs))

        return made

    return decorate


class _Guarded(AbstractAsyncContextManager[T_co]):
    """A block that is entered and left as a credential is, and may be entered again."""

    def __init__(self, what: str, make: Callable[[], AbstractAsyncContextManager[T_co]]) -> None:
        self._what = what
        self._make = make
        self._guard: Block | None = None

    async def __aenter__(self) -> T_co:
        check_entering(self._guard, self._what)
        self._guard, self._block = await entered_here(), self._make()
        try:
            return await self._block.__aenter__()
        except BaseException:
            self._guard = None
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        guard = leaving(self._guard)
        self._guard = None
        if guard is None:
            return None
        return await self._block.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - the block's own way to leave
