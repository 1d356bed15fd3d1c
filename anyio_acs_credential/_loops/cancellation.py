"""Whose a cancellation is: of this task, or one that somebody else's code has let out of its own."""

from __future__ import annotations

from math import inf

from anyio import current_effective_deadline, get_cancelled_exc_class

_ALWAYS_PASS = (KeyboardInterrupt, SystemExit, GeneratorExit)


def is_fault(error: BaseException, cancellations: int) -> bool:
    """Whether what other people's code raised is a fault of that code, and not a cancellation of this task.

    A driver may let a cancellation out of its own tasks, or a group that holds one.

    Args:
        error: What it raised.
        cancellations: What `native_cancellations()` was before it was called.
    """
    if isinstance(error, Exception):
        return True
    if current_effective_deadline() == -inf or native_cancellations() > cancellations:
        return False
    return isinstance(error, (BaseExceptionGroup, get_cancelled_exc_class())) and not ends_program(error)


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception is a cancellation, or a group that holds one, as trio's own nurseries raise it."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(get_cancelled_exc_class()) is not None and not ends_program(error)
    return isinstance(error, get_cancelled_exc_class())


def ends_program(error: BaseException) -> bool:
    """Whether an exception is, or holds, one that nobody but the program's end may stop."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_ALWAYS_PASS) is not None
    return isinstance(error, _ALWAYS_PASS)


def native_cancellations() -> int:
    """How often asyncio's own `Task.cancel()` was called on this task, as `asyncio.run` does at its end."""
    if get_cancelled_exc_class().__module__ == "trio":
        return 0
    import asyncio

    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
