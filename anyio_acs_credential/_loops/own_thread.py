"""A blocking call in a thread of its own, which nobody has to wait for.

anyio's worker threads will not do for what may hang: on asyncio, the interpreter waits for them at its end, and a call
that was left behind has given its place in the limiter away.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, Event
from anyio.lowlevel import current_token

from .home import post

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

T = TypeVar("T")


async def in_own_thread(function: Callable[..., T], *args: Any, limiter: CapacityLimiter | None = None) -> T:
    """Call a blocking function in a daemon thread, with the caller's context variables.

    It waits for a place in the limiter, and for the function. Cancelling it leaves a call that has begun to its thread,
    which keeps its place until the call ends. `anyio.from_thread` knows the event loop only by a token there.

    Args:
        function: The function.
        args: What to call it with.
        limiter: Bounds the threads at the same time, those that were left behind included; None for no bound.

    Returns:
        What the function returned.

    Raises:
        RuntimeError: when the system has no thread left.
        BaseException: what the function raised.
    """
    places = limiter or CapacityLimiter(1)
    ended, loop, context = Event(), current_token(), _context()
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(context.run(function, *args))
        except BaseException as error:  # noqa: ASYNC103, BLE001 - it belongs to the caller
            raised.append(error)
        with suppress(RuntimeError):  # the event loop has ended
            post(loop, end)

    def end() -> None:
        places.release_on_behalf_of(ended)
        ended.set()

    await places.acquire_on_behalf_of(ended)
    try:
        Thread(target=run, daemon=True).start()
    except RuntimeError:
        places.release_on_behalf_of(ended)
        raise
    await ended.wait()
    if raised:
        raise raised.pop()  # no frame in its traceback keeps it
    return returned.pop()


def _context() -> Context:
    """The caller's context, but for sniffio's note in it that an event loop runs: in the thread, none does."""
    context = copy_context()
    if (sniffio := sys.modules.get("sniffio")) is not None:  # pragma: no branch - trio brings it
        context.run(sniffio.current_async_library_cvar.set, None)
    return context
