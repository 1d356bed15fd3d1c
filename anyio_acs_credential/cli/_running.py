"""Running what waits, until it ends or a signal comes."""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anyio
import click

from .._extras import missing_extra

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_SIGNALLED = 128

# Without a handler, Python would print the library's warnings into what a command shows, which tells the same.
logging.getLogger("anyio_acs_credential").addHandler(logging.NullHandler())


def run(
    work: Callable[[], Awaitable[int | None]],
    backend: str,
    take: Callable[[signal.Signals], bool] = lambda _number: False,
) -> int:
    """Run an async function, which SIGINT, SIGTERM and SIGHUP cancel; not SIGHUP where it is ignored, as under nohup.

    Args:
        work: Gives the exit status; None is 0.
        backend: "asyncio" or "trio".
        take: Told of each signal; where it returns true, it has dealt with it, and nothing is cancelled.

    Returns:
        That status, or the one of a program that the signal ended.

    Raises:
        click.UsageError: when the backend is not installed.
    """
    if not find_spec(backend):
        raise click.UsageError(missing_extra(backend, backend))
    return anyio.run(_until_signalled, work, take, backend=backend)


async def _until_signalled(work: Callable[[], Awaitable[int | None]], take: Callable[[signal.Signals], bool]) -> int:
    stopped: list[int] = []
    status = 0
    with ExitStack() as stack:  # left after the task group, so that an impatient second Ctrl-C changes nothing
        async with anyio.create_task_group() as group:
            try:
                signals = stack.enter_context(anyio.open_signal_receiver(*_ending()))
            except NotImplementedError:
                pass  # asyncio on Windows: there, Ctrl-C raises KeyboardInterrupt
            else:
                group.start_soon(_stop, signals, take, stopped, group.cancel_scope)
            status = await work() or 0
            group.cancel_scope.cancel()
    return _SIGNALLED + stopped[0] if stopped else status


def _ending() -> list[signal.Signals]:
    ending = [signal.SIGINT, signal.SIGTERM]
    # Ignored under nohup, and so in a process of its own, which is not measured.
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # pragma: no branch
        ending.append(signal.SIGHUP)
    return ending


async def _stop(
    signals: AsyncIterator[signal.Signals],
    take: Callable[[signal.Signals], bool],
    stopped: list[int],
    scope: anyio.CancelScope,
) -> None:
    async for number in signals:
        if not take(number):
            stopped.append(number)
            scope.cancel()
