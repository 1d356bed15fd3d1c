"""The block of an entered credential, or of a pool: what runs beside it, and where Ctrl-C may strike that."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import get_cancelled_exc_class

from .._loops.beside import beside
from .source import answer, call
from .task import RefreshTask
from .waiting import join

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from .._loops.block import Service


def running(service: Service, name: str) -> AbstractAsyncContextManager[None]:
    """A block with a service in a task beside it, which ends with the block."""
    keep_interrupts_out_of_refreshing()
    return beside(service, name)


@asynccontextmanager
async def hosted(task: RefreshTask) -> AsyncIterator[None]:
    """A block whose body awaits `task.run()` itself: nothing runs beside it, and its end closes the refresh task."""
    keep_interrupts_out_of_refreshing()
    try:
        yield
    finally:
        task.close()


def keep_interrupts_out_of_refreshing() -> None:
    """Keep Ctrl-C out of every refresh task, and out of the waiting of its callers."""
    keep_interrupts_out(RefreshTask.run, RefreshTask.wait_for_change, answer, join, but_not=call)


def keep_interrupts_out(*protected: Callable[..., Any], but_not: Callable[..., Any]) -> None:
    """Let Ctrl-C strike the program and the source, but not what keeps the refresh task and its callers together.

    Trio raises `KeyboardInterrupt` between any two instructions, in its own primitives as well. A refresh task that it
    strikes on entering a cancel scope would end with trio's error about that; a caller that it strikes on beginning to
    wait would be woken a second time, at some later wait. Protected code goes on, and trio interrupts the main task
    where that waits next.

    Args:
        *protected: The functions that Ctrl-C does not strike, nor what they call.
        but_not: The function that Ctrl-C may strike all the same.
    """
    if get_cancelled_exc_class().__module__ == "trio":
        from trio.lowlevel import disable_ki_protection, enable_ki_protection

        for function in protected:
            enable_ki_protection(function)
        disable_ki_protection(but_not)
