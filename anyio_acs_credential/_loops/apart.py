"""Awaiting other people's code in a task of its own, which takes along what that code leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from anyio import create_task_group
from anyio.lowlevel import checkpoint_if_cancelled

from .block import interrupt_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def apart(call: Callable[[], Awaitable[T]], name: str) -> T:
    """What a call returns or raises. Cancelling this cancels the call, and waits for its end.

    The call may leave a cancel scope or a task group open, such as one in an async generator that it has not read to
    the end. In the caller's task, that would stay open around all that comes later.

    Args:
        call: The call.
        name: The name of its task.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    async def run() -> None:
        try:
            returned.append(await call())
        except BaseException as error:  # noqa: ASYNC103, BLE001 - whoever is cancelled, the task group tells the caller
            raised.append(error)

    try:
        async with create_task_group() as group:  # noqa: ASYNC112 - a task of its own is the point
            group.start_soon(run, name=name)
    except BaseExceptionGroup as left_behind:
        if (interrupt := interrupt_in(left_behind)) is not None:
            raise interrupt from None  # pragma: no cover - Ctrl-C that strikes between two lines of anyio's
        await checkpoint_if_cancelled()
        # Any other error is trio's, of what the call has left open.
    for error in raised:
        raise error
    return returned[0]
