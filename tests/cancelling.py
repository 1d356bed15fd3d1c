"""Programs and calls that are cancelled at each of their moments, counted in turns of the loop and not in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from servers import Server


def tasks() -> set[int]:
    return {task.id for task in anyio.get_running_tasks()}


@dataclass
class Program:
    """What is cancelled somewhere, while others that it starts are not.

    Attributes:
        scope: What cancels it.
        finished: Whether it ended before that.
    """

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    finished: bool = False

    async def program(self, others: anyio.abc.TaskGroup) -> None:
        raise NotImplementedError

    async def cancelled_after(self, checkpoints: int) -> None:
        before = tasks()
        with anyio.fail_after(40):
            async with anyio.create_task_group() as others:
                others.start_soon(self._cancel, checkpoints)
                with self.scope:
                    await self.program(others)
        self.finished = self.finished or not self.scope.cancelled_caught
        assert tasks() == before

    async def _cancel(self, checkpoints: int) -> None:
        for _ in range(checkpoints):
            await checkpoint()
        self.scope.cancel()


Each = TypeVar("Each", bound=Program)


async def cancelled_at_every_checkpoint(make: Callable[[], Each]) -> AsyncIterator[Each]:
    """Programs that were cancelled after 0, 1, 2, … checkpoints; the last one finished."""
    for checkpoints in count():
        run = make()
        await run.cancelled_after(checkpoints)
        yield run
        if run.finished:
            return


async def cancel_everywhere(call: Callable[[], Awaitable[object]], server: Server, times: int = 300) -> None:
    """Cancel a call so many times, each time one turn later than before, and from the first once it ends before that.

    On a busy machine a request takes more turns to come to the server, so it goes on until the call has been cancelled
    ten times before its request was there, and ten times after.
    """
    before = after = turns = 0
    while before + after < times or min(before, after) < 10:
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
        if ended:
            turns = 0
        else:
            turns += 1
            after += len(server.requests) > seen
            before += len(server.requests) == seen
