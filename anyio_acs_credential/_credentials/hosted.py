"""A credential that is open in a task which has nothing else to do: that task is the refresh task as well.

So a credential in a pool costs one task and no task group. It is entered and left as ever, by `async with`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from anyio import sleep_forever

from .._refreshing.block import block_of, keep_interrupts_out_of_refreshing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from .._refreshing.task import RefreshTask
    from .credential import CommunicationTokenCredential


async def host(credential: CommunicationTokenCredential, opened: Callable[[], None]) -> None:
    """Keep a credential open until it is closed, or this is cancelled while it opens.

    Args:
        credential: It is entered and left here.
        opened: Called as soon as it is open.
    """
    credential._block_of = _block_of
    try:
        async with credential:
            opened()
            task = credential._task
            await (sleep_forever() if task is None else task.run())
    finally:
        credential._block_of = block_of


def close_hosted(credential: CommunicationTokenCredential) -> None:
    """Close a credential, of which `host()` takes note. Its refresh task is shielded from other cancellation."""
    if credential._task is not None:
        credential._task.close()
    credential._publish(None)


def _block_of(task: RefreshTask | None) -> AbstractAsyncContextManager[None]:
    return nullcontext() if task is None else _ending(task)


@asynccontextmanager
async def _ending(task: RefreshTask) -> AsyncIterator[None]:
    keep_interrupts_out_of_refreshing()
    try:
        yield
    finally:
        task.close()
