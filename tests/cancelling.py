"""Calls that are cancelled at each of their moments, counted in turns of the event loop and not in seconds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from servers import Server


async def cancel_everywhere(call: Callable[[], Awaitable[object]], server: Server, times: int = 1000) -> Counter[str]:
    """Cancel a call so many times, each time one turn later than before, and from the first once it ends before that.

    Returns:
        How often it was cancelled "before the request" had come to the server and "after the request", and how often
        it had "ended".
    """
    struck: Counter[str] = Counter()
    turns = 0
    for _ in range(times):
        seen, ended = len(server.requests), False

        async def run() -> None:
            nonlocal ended
            await call()
            ended = True

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            for _ in range(turns):
                await checkpoint()
            group.cancel_scope.cancel()
        struck["ended" if ended else "after the request" if len(server.requests) > seen else "before the request"] += 1
        turns = 0 if ended else turns + 1
    return struck
