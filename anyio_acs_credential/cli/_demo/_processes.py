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
        assignment: Returns the assignment when it is time. By then the process has loaded its modules.
        listen: Called with each line that the process writes; with the first one when it is ready.
    """

    def __init__(
        self, assignment: Callable[[], Awaitable[Assignment]], listen: Callable[[dict[str, Any]], object]
    ) -> None:
        self._assignment = assignment
        self._listen = listen
        self._process: Process | None = None

    async def run(self) -> int:
        """Run the process to its end. Cancelling kills it.

        Returns:
            Its exit status.
        """
        # A process reports its faults among its lines. Its standard error would only show the traceback of a Ctrl-C
        # that comes while it loads modules.
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
                    with suppress(BrokenResourceError, ClosedResourceError):  # it has died, or was told to end
                        await _there(process.stdin).send(told)
            return await process.wait()

    def kill(self) -> None:
        """End the process as `kill -9` does."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it has just ended
                self._process.kill()

    async def end(self) -> None:
        """Tell the process to finish its request and end."""
        if self._process is not None:
            await _there(self._process.stdin).aclose()


def _there(stream: Stream | None) -> Stream:
    """A stream of the process. It is never None, since it is a pipe."""
    return cast("Stream", stream)


async def _next(lines: BufferedByteReceiveStream) -> bytes | None:
    """The next line, or None at the end. An unfinished line of a dying process is left out."""
    try:
        return await lines.receive_until(b"\n", _LONGEST_LINE)
    except (EndOfStream, IncompleteRead):
        return None
