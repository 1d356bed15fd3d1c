"""Closing what is not needed any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import move_on_after

from .cancellation import is_fault, native_cancellations

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
    cancellations = native_cancellations()
    with move_on_after(_TIMEOUT, shield=True):
        try:
            await close()
        except BaseException as error:  # noqa: ASYNC103 - a transport's driver may raise anything
            if not is_fault(error, cancellations):
                raise
