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

from .._common.chains import cut_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from .._loops.home import Home

_MOST = 100  # calls in one block: a fork waits for it
_LAST_WAIT = 1.0  # seconds that leaving waits for what the thread still does

Result = TypeVar("Result")


class Worker:
    """A daemon thread, which starts with the first call.

    Args:
        home: The event loop that makes the calls.
        name: The thread's name.
        together: Makes a block in which several calls have their effect together, or none has where it raises.
    """

    def __init__(self, home: Home, name: str, together: Callable[[], AbstractContextManager[None]]) -> None:
        self._home = home
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=_run, args=(self._jobs, together), name=name, daemon=True)

    async def call(self, function: Callable[..., Result], *args: Any, together: bool = False) -> Result:
        """Have the thread call a function.

        It waits for the call, and for the calls before it. Cancelling it leaves a call that has begun to the thread,
        and drops one that has not begun.

        Args:
            function: What to call.
            args: What to call it with. A secret is given as a `Secret`.
            together: Whether it may be called in one block with others that wait, and again where that fails.

        Returns:
            What the function returned.

        Raises:
            BaseException: what the function raised.
        """
        if self._thread.ident is None:
            self._thread.start()
        job = self._put(partial(function, *args), together)
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

    def _put(self, function: Callable[[], Any], together: bool = False) -> _Job:
        job = _Job(function, self._home, together)
        self._jobs.put(job)
        return job


class _Job:
    """One call.

    Attributes:
        ended: Set when the call is over.
        is_wanted: Whether anybody waits for it.
        together: Whether it may be made in one block with others.
        outcome: Gives what it returned, or raises what it raised.
    """

    def __init__(self, function: Callable[[], Any], home: Home, together: bool) -> None:
        self._function = function
        self._home = home
        self.together = together
        self.ended = Event()
        self.is_wanted = True
        self.outcome: Callable[[], Any]

    def run(self) -> None:
        if not self.is_wanted:
            return
        try:
            self.make()
        except BaseException as error:  # noqa: ASYNC103, BLE001 - it belongs to whoever called
            self.outcome = partial(_raised, error)
        self.tell()

    def make(self) -> None:
        self.outcome = partial(_returned, self._function())

    def tell(self) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            self._home.post(self.ended.set)


def _returned(value: Any) -> Any:
    return value


def _raised(error: BaseException) -> Any:
    cut_repeats(error)
    raise error


def _run(jobs: SimpleQueue[_Job | None], together: Callable[[], AbstractContextManager[None]]) -> None:
    for batch in _batches(jobs):
        _make(batch, together)
        batch.clear()  # what they returned is not kept until the next ones come


def _batches(jobs: SimpleQueue[_Job | None]) -> Iterator[list[_Job]]:
    """What waits, in its order: several that may be made together, or one."""
    job = jobs.get()
    while job is not None:
        batch = [job]
        while batch[0].together and len(batch) < _MOST and not jobs.empty():
            job = jobs.get()
            if job is None or not job.together:
                yield batch
                break
            batch.append(job)
        else:
            del job
            yield batch
            job = jobs.get()


def _make(batch: list[_Job], together: Callable[[], AbstractContextManager[None]]) -> None:
    wanted = [job for job in batch if job.is_wanted]
    if len(wanted) > 1:
        try:
            with together():
                for job in wanted:
                    job.make()
        except BaseException:  # noqa: ASYNC103, BLE001, S110 - whose fault it is shows below
            pass
        else:
            for job in wanted:
                job.tell()
            return
    for job in batch:
        job.run()
