"""How an async function, or a program, is run until it ends or a signal comes."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anyio
import click

from .._common.extras import missing_extra

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from anyio.abc import Process

_SIGNALLED = 128

# Without a handler, Python would print the library's warnings between the lines of a command that reports the same.
logging.getLogger("anyio_acs_credential").addHandler(logging.NullHandler())


def run(
    work: Callable[[], Awaitable[int | None]],
    backend: str,
    take: Callable[[signal.Signals], bool] = lambda _number: False,
) -> int:
    """Run an async function. SIGINT, SIGTERM and SIGHUP cancel it; SIGHUP does not where it is ignored, as under nohup.

    Args:
        work: The function. It returns the exit status, or None for 0.
        backend: "asyncio" or "trio".
        take: Called with each signal. If it returns True, it has handled the signal, and nothing is cancelled.

    Returns:
        The exit status; after a signal, 128 and the signal's number.

    Raises:
        click.UsageError: when the backend is not installed.
    """
    if not find_spec(backend):
        raise click.UsageError(missing_extra(backend, backend))
    return anyio.run(_until_signalled, work, take, backend=backend)


async def _until_signalled(work: Callable[[], Awaitable[int | None]], take: Callable[[signal.Signals], bool]) -> int:
    stopped: list[int] = []
    status = 0
    with ExitStack() as stack:  # left after the task group, so that a second Ctrl-C during clean-up changes nothing
        async with anyio.create_task_group() as group:
            try:
                signals = stack.enter_context(anyio.open_signal_receiver(*_ending()))
            except NotImplementedError:
                pass  # asyncio on Windows, where Ctrl-C raises KeyboardInterrupt
            else:
                group.start_soon(_stop, signals, take, stopped, group.cancel_scope)
            status = await work() or 0
            group.cancel_scope.cancel()
    return _SIGNALLED + stopped[0] if stopped else status


def _ending() -> list[signal.Signals]:
    ending = [signal.SIGINT, signal.SIGTERM]
    # SIGHUP is ignored under nohup.
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
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


class Program:
    """A program whose standard streams are this process's own.

    Args:
        words: The program's name and its arguments.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._process: Process | None = None

    async def run(self, environment: Mapping[str, str]) -> int:
        """Run the program to its end. Cancelling kills it.

        Args:
            environment: Variables besides those of this process.

        Returns:
            Its exit status; where a signal ended it, 128 and the signal's number, as in a shell.

        Raises:
            click.ClickException: when it cannot be run.
        """
        try:
            process = await anyio.open_process(
                self._words, stdin=None, stdout=None, stderr=None, env={**os.environ, **environment}
            )
        except OSError as error:
            refused = _NotFoundError if isinstance(error, FileNotFoundError) else _NotRunError
            raise refused(
                f"{self._words[0]!r} cannot be run ({error.strerror}): give a program's name on the PATH, or its path"
            ) from None
        async with process:
            self._process = process
            status = await process.wait()
        return status if status >= 0 else _SIGNALLED - status

    def take(self, number: signal.Signals) -> bool:
        """Pass a signal on to the program.

        Args:
            number: The signal.

        Returns:
            Whether the program was started, so that the signal is the program's.
        """
        if self._process is not None and not _was_typed(number):
            with suppress(ProcessLookupError):  # it has just ended
                self._process.send_signal(number)
        return self._process is not None


class _NotRunError(click.ClickException):
    """The program cannot be run. The exit statuses, here and below, are a shell's."""

    exit_code = 126


class _NotFoundError(_NotRunError):
    exit_code = 127


def _was_typed(number: signal.Signals) -> bool:
    """Whether the terminal sent the signal, and so to the program as well: passing it on would make two of one Ctrl-C.

    A signal does not say who sent it. Where standard input is the terminal and this process runs in its foreground, it
    was Ctrl-C. Where a test suite started this process, with a pipe or nothing at standard input, the suite sent it.
    """
    try:
        return number == signal.SIGINT and (sys.platform == "win32" or os.tcgetpgrp(0) == os.getpgrp())
    except OSError:  # standard input is not a terminal
        return False
