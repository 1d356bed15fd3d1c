"""The block of an entered credential, or of a pool: a task group that nobody sees.

What the body raises leaves the block as the object that it is. A task group would wrap it into an exception group, or
on trio put another cancellation in its place, with such a group as its cause; and which errors are in that group
depends on the backend. So it is not the group that is looked at, but what is known without it: what the body raised,
and what ended the task beside it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from anyio import create_task_group, get_cancelled_exc_class

from ._errors import CredentialClosedError
from ._refresh import RefreshTask
from ._source import answer, call
from ._waiting import join

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import Any

__all__ = ("block_of", "keep_interrupts_out", "keep_interrupts_out_of_refreshing", "running")


class Service(Protocol):
    """What runs beside a block, in a task of its own.

    Attributes:
        crash: What ended it, where it was not closing.
    """

    crash: BaseException | None

    async def run(self) -> None:
        """Work until it is closed."""

    def close(self) -> None:
        """End `run()`. Doing it again does nothing."""


def block_of(task: RefreshTask | None) -> AbstractAsyncContextManager[None]:
    """The block of a credential, in which its refresh task runs, if it has one."""
    return nullcontext() if task is None else running(task, "access token refresh")


@asynccontextmanager
async def running(service: Service, name: str) -> AsyncIterator[None]:
    """Run a service in a task beside the block, and end it with the block."""
    raised: BaseException | None = None
    keep_interrupts_out_of_refreshing()
    try:
        async with create_task_group() as group:
            group.start_soon(service.run, name=name)
            try:
                yield
            except BaseException as error:
                raised = error
                raise
            finally:
                service.close()
    except (BaseExceptionGroup, get_cancelled_exc_class()) as error:  # noqa: ASYNC103 - it is raised below
        raised = _what_went_wrong(raised, service.crash, error)
    if raised is not None:
        raise raised


def keep_interrupts_out_of_refreshing() -> None:
    """Do that for every refresh task."""
    keep_interrupts_out(RefreshTask.run, RefreshTask.publication, answer, join, but_not=call)


def keep_interrupts_out(*protected: Callable[..., Any], but_not: Callable[..., Any]) -> None:
    """Let Ctrl-C strike the program and the source, but not what keeps the refresh task and its callers together.

    Trio raises `KeyboardInterrupt` between any two instructions, in its own primitives as well. Struck while it enters
    a cancel scope, the refresh task would end with an error about that; struck while it begins to wait, a caller would
    be woken once more later, where it does not expect it. Protected code goes on, and trio interrupts the main task
    where that waits.
    """
    if get_cancelled_exc_class().__module__ == "trio":
        from trio.lowlevel import disable_ki_protection, enable_ki_protection

        for function in protected:
            enable_ki_protection(function)
        disable_ki_protection(but_not)


def _what_went_wrong(raised: BaseException | None, crash: BaseException | None, group: BaseException) -> BaseException:
    """What the body raised; but what ended the task, where that is why the body was cancelled, or ends the program."""
    if raised is None or isinstance(raised, (get_cancelled_exc_class(), CredentialClosedError)):
        return crash or _struck(group) or raised or group
    if crash is None:
        return raised
    if not isinstance(crash, Exception):
        return crash
    raised.add_note(f"the refresh task had ended too, with {type(crash).__name__}")
    return raised


def _struck(error: BaseException) -> BaseException | None:
    """Ctrl-C that struck where no code of ours saw it, on trio: as a group waited, or between lines of anyio's."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_struck, error.exceptions)), None)
    return error if isinstance(error, KeyboardInterrupt) else None
