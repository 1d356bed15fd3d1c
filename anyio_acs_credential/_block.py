"""The block of an entered credential: a task group that nobody sees.

What the body raises leaves the block as the object that it is. A task group would wrap it into an exception group, and
which errors are in that group depends on the backend; so it is not the group that is looked at, but what is known
without it: what the body raised, and what ended the refresh task.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import create_task_group, get_cancelled_exc_class

from ._errors import CredentialClosedError
from ._refresh import RefreshTask
from ._source import call
from ._waiting import join

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ("running",)


@asynccontextmanager
async def running(task: RefreshTask) -> AsyncIterator[None]:
    """Run a refresh task beside the block, and end it with the block."""
    raised: BaseException | None = None
    _keep_interrupts_out()
    try:
        async with create_task_group() as group:
            group.start_soon(task.run, name="access token refresh")
            try:
                yield
            except BaseException as error:
                raised = error
                raise
            finally:
                task.close()
    except BaseExceptionGroup as group_error:
        # Without either of the two, a signal has struck while the group waited for the task: on trio, it is wrapped.
        raised = _what_went_wrong(raised, task.crash) or group_error.exceptions[0]
    if raised is not None:
        raise raised


def _keep_interrupts_out() -> None:
    """Let Ctrl-C strike the program and the source, but not what keeps the refresh task and its callers together.

    Trio raises `KeyboardInterrupt` between any two instructions, in its own primitives as well. Struck while it enters
    a cancel scope, the refresh task would end with an error about that; struck while it begins to wait, a caller would
    be woken once more later, where it does not expect it. Protected code goes on, and trio interrupts the main task
    where that waits.
    """
    if get_cancelled_exc_class().__module__ == "trio":
        from trio.lowlevel import disable_ki_protection, enable_ki_protection

        for protected in (RefreshTask.run, RefreshTask.publication, join):
            enable_ki_protection(protected)
        disable_ki_protection(call)


def _what_went_wrong(raised: BaseException | None, crash: BaseException | None) -> BaseException | None:
    """What the body raised; but what ended the task, where that is why the body was cancelled, or ends the program."""
    if crash is None:
        return raised
    consequences = (get_cancelled_exc_class(), CredentialClosedError)
    if raised is None or isinstance(raised, consequences) or not isinstance(crash, Exception):
        return crash
    raised.add_note(f"the refresh task had ended too, with {type(crash).__name__}")
    return raised
