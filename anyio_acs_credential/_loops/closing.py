"""Closing something within a second, and without an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import move_on_after

from .cancellation import is_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_TIMEOUT = 1.0


async def close_quietly(close: Callable[[], Awaitable[object]]) -> None:
    """Close something within a second, also where the task is cancelled.

    What closing raises is dropped, a cancellation that nobody asked for included: what the thing was for has succeeded
    or failed by then, and its connections are as good as closed.

    Args:
        close: Closes it, such as a client's `aclose`.
    """
    with move_on_after(_TIMEOUT, shield=True):
        try:
            await close()
        except BaseException as error:  # noqa: ASYNC103 - a transport's driver may raise anything
            # Compared with 0, and not with the number before: asyncio may have cancelled this task as it ran, as Ctrl-C
            # does, and raises that where the task waits next, which is here.
            if not is_fault(error, 0):
                raise
