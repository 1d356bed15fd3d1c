"""A block that an async generator makes, left only where it can be.

A generator cannot be asked: it goes on, and finds in its last lines that another task runs them. On trio, its task
group would then stay open in the task that entered. So the block is asked, as a credential is, before it goes on.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from .beside import check_entering, entered_here, leaving

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .beside import Beside

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


def guarded(
    what: str,
) -> Callable[[Callable[P, AbstractAsyncContextManager[T_co]]], Callable[P, AbstractAsyncContextManager[T_co]]]:
    """Above `asynccontextmanager`, for what has a task group open while its block runs.

    Args:
        what: What is entered, as messages have it.
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
    """Entered and left as a credential is, again as well."""

    def __init__(self, what: str, make: Callable[[], AbstractAsyncContextManager[T_co]]) -> None:
        self._what = what
        self._make = make
        self._guard: Beside | None = None

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
        return None if guard is None else await self._block.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102
