"""A task that runs beside a block, and ends with it. Where that takes a task group, nobody sees the group.

On asyncio there is no task group (see `_loops.on_asyncio`). On trio there is one, which only the task that opened it
may leave (see `_loops.on_trio`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import get_cancelled_exc_class

from .block import Block

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from .block import Service


def beside(service: Service, name: str) -> AbstractAsyncContextManager[None]:
    """A block with a service that runs in a task beside it.

    Args:
        service: The service. Leaving the block closes it and waits for its end, whatever cancels the leaving.
        name: The name of the task.
    """
    if get_cancelled_exc_class().__module__ == "trio":
        from .on_trio import OnTrio

        return OnTrio(service, name)
    from .on_asyncio import OnAsyncio

    return OnAsyncio(service, name)


async def entered_here() -> Block:
    """An entered block with nothing beside it, to tell where a block with a task group may be left. It never yields."""
    if get_cancelled_exc_class().__module__ == "trio":
        from .on_trio import OfATask

        block: Block = OfATask()
    else:
        block = Block()
    await block.__aenter__()
    return block
