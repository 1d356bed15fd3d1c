"""A program that a command runs, and ends with."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anyio.abc import Process

_SIGNALLED = 128


class Program:
    """A program whose standard streams are this process's own.

    Args:
        words: Its name and its arguments.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._process: Process | None = None

    async def run(self, environment: Mapping[str, str]) -> int:
        """Run it to its end; cancelling kills it.

        Args:
            environment: What it has besides the environment of this process.

        Returns:
            Its exit status; 128 and the number of the signal that ended it, as in a shell.

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
        """Pass a signal on.

        Args:
            number: Which one came.

        Returns:
            Whether there is, or was, a program that it is for.
        """
        if self._process is not None and not _was_typed(number):
            with suppress(ProcessLookupError):  # it has just ended
                self._process.send_signal(number)
        return self._process is not None


class _NotRunError(click.ClickException):
    """The program cannot be run; the statuses are a shell's."""

    exit_code = 126


class _NotFoundError(_NotRunError):
    exit_code = 127


def _was_typed(number: signal.Signals) -> bool:
    """Whether the terminal has sent it, to the program as well: passed on, one Ctrl-C would be two.

    Nothing says who sent a signal. Where standard input is the terminal and this is what runs there, it was Ctrl-C;
    where a test suite has started this, with a pipe or nothing at its standard input, it was the test suite.
    """
    try:
        return number == signal.SIGINT and (sys.platform == "win32" or os.tcgetpgrp(0) == os.getpgrp())
    except OSError:  # standard input is no terminal
        return False
