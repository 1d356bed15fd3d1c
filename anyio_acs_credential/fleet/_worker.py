"""A thread that makes blocking calls, one after the other, and holds up nobody when one of them hangs.

anyio's worker threads will not do: on asyncio, the interpreter waits for them at its end, and a call that hangs keeps
its place in their limiter from others.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import Event, move_on_after

from .._errors import cut_repeats

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._loops.home import Home

_LAST_WAIT = 1.0  # seconds at most that `stop()` waits for the thread

Result = TypeVar("Result")


class Worker:
    """A daemon thread, which starts with the first call.

    Args:
        home: The event loop that makes the calls.
        name: The thread's name.
    """

    def __init__(self, home: Home, name: str) -> None:
        self._home = home
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=_run, args=(self._jobs,), name=name, daemon=True)

    async def call(self, function: Callable[..., Result], *args: Any) -> Result:
        """Have the thread call a function.

        It waits for the call, and for the calls before it. Cancelling it leaves a call that has begun to the thread,
        and drops one that has not begun.

        Args:
            function: The function.
            args: Its arguments. A secret is passed as a `Secret`.

        Returns:
            What the function returned.

        Raises:
            BaseException: what the function raised.
        """
        if self._thread.ident is None:
            self._thread.start()
        job = self._put(partial(function, *args))
        try:
            await job.ended.wait()
        finally:
            job.is_wanted = False
        return job.outcome()  # type: ignore[no-any-return]  # what the function returned

    async def stop(self, last: Callable[[], object]) -> None:
        """Call one more function and end the thread. It is shielded, and waits for a second at most."""
        if self._thread.ident is None:
            return
        job = self._put(last)
        self._jobs.put(None)
        with move_on_after(_LAST_WAIT, shield=True):
            await job.ended.wait()

    def _put(self, function: Callable[[], Any]) -> _Job:
        job = _Job(function, self._home)
        self._jobs.put(job)
        return job


class _Job:
    """One call.

    Attributes:
        ended: Set when the call is over.
        is_wanted: Whether anybody waits for it.
        outcome: Returns or raises what the function returned or raised. Not set before `ended`.
    """

    def __init__(self, function: Callable[[], Any], home: Home) -> None:
        self._function = function
        self._home = home
        self.ended = Event()
        self.is_wanted = True
        self.outcome: Callable[[], Any]

    def run(self) -> None:
        if not self.is_wanted:
            return
        try:
            self.outcome = partial(_returned, self._function())
        except BaseException as error:  # noqa: ASYNC103, BLE001 - the caller raises it
            self.outcome = partial(_raised, error)
        with suppress(RuntimeError):  # the event loop has ended
            self._home.post(self.ended.set)


def _returned(value: Any) -> Any:
    return value


def _raised(error: BaseException) -> Any:
    cut_repeats(error)
    raise error


def _run(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # otherwise the thread would keep its result, perhaps a token, until the next job
