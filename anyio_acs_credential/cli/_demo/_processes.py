"""The processes of a demonstration's workers: they are started, listened to and ended, and none is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, IncompleteRead
from anyio.streams.buffered import BufferedByteReceiveStream

from ._worker import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import Process

    from ._worker import Assignment

Stream = TypeVar("Stream")

_LONGEST_LINE = 65_536


class WorkerProcess:
    """One process.

    Args:
        assignment: Gives what it is told, when it is time. It has loaded what it needs before.
        listen: Told each line that it writes; the first when it is ready.
    """

    def __init__(
        self, assignment: Callable[[], Awaitable[Assignment]], listen: Callable[[dict[str, Any]], object]
    ) -> None:
        self._assignment = assignment
        self._listen = listen
        self._process: Process | None = None

    async def run(self) -> int:
        """Run it to its end; cancelling kills it.

        Returns:
            Its exit status.
        """
        # Its faults are among its lines. On standard error there would be the traceback of a Ctrl-C that meets it while
        # it loads modules.
        process = await anyio.open_process(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        async with process:
            self._process = process
            lines = BufferedByteReceiveStream(_there(process.stdout))
            while (line := await _next(lines)) is not None:
                message = json.loads(line)
                self._listen(message)
                if message["told"] == "ready":
                    told = (await self._assignment()).to_line()
                    with suppress(BrokenResourceError, ClosedResourceError):  # it is dead already, or told to end
                        await _there(process.stdin).send(told)
            return await process.wait()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it has just ended
                self._process.kill()

    async def end(self) -> None:
        """Tell it to finish what it does."""
        if self._process is not None:
            await _there(self._process.stdin).aclose()


def _there(stream: Stream | None) -> Stream:
    """A stream that is a pipe, and so is there."""
    return cast("Stream", stream)


async def _next(lines: BufferedByteReceiveStream) -> bytes | None:
    """The next line, or None at the end; one that a dying process has not finished is left out."""
    try:
        return await lines.receive_until(b"\n", _LONGEST_LINE)
    except (EndOfStream, IncompleteRead):
        return None
