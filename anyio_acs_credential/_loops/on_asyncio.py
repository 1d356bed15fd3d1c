"""A task beside a block on asyncio, in no task group.

Only the task that entered a task group may leave it, but fixtures of pytest-asyncio and cells of a notebook leave their
blocks in another task. So the block owns a plain task instead, and whoever leaves ends that task and waits for it. If
the task fails, the task that entered is cancelled, as `asyncio.TaskGroup` does.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

from anyio import CancelScope

from .block import Block, refused_error, what_went_wrong

if TYPE_CHECKING:
    from types import TracebackType

    from .block import Service


_within: ContextVar[tuple[OnAsyncio, ...]] = ContextVar("anyio_acs_credential.within", default=())
"""The blocks whose services run the current code. It cannot leave them, since it would wait for itself."""


class OnAsyncio(Block):
    """A block on asyncio whose service is in a plain task."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name
        self._host_cancelled = self._leaving = False

    def check(self) -> None:
        super().check()
        if self in _within.get():
            raise refused_error()

    async def __aenter__(self) -> None:
        await super().__aenter__()
        self._loop = asyncio.get_running_loop()
        self._host = asyncio.current_task()
        self._task = self._loop.create_task(self._run(), name=self._name)
        self._task.add_done_callback(self._on_done)

    async def _run(self) -> None:
        _within.set((*_within.get(), self))
        try:
            await self._service.run()
        except BaseException:  # noqa: ASYNC103 - see below
            # A coroutine that is thrown away with its closed loop gets GeneratorExit, and has no loop to ask anything.
            if not self._loop.is_closed():  # pragma: no branch - what is thrown away may be so unmeasured
                raise

    def _on_done(self, task: asyncio.Task[None]) -> None:
        failed = not task.cancelled() and task.exception() is not None
        if not self._leaving:
            self._service.close()  # a task that was cancelled before its first step has not closed it
            self._host_cancelled = failed and self._host is not None and self._host.cancel()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leaving = True
        self._service.close()
        cancelled = await self._end(shielded=exc is not None)  # noqa: ASYNC102 - its task has been told to end
        if self._host_cancelled and self._host is not None and asyncio.current_task() is self._host:
            self._host.uncancel()
        raised = exc
        if cancelled is not None and (exc is None or isinstance(exc, asyncio.CancelledError)):
            raised = cancelled
        failure = None if self._task.cancelled() else self._task.exception()
        if failure is not None:
            raised = what_went_wrong(raised, self._service.crash, failure, self._name)
        if raised is not None and raised is not exc:
            raise raised

    async def _end(self, *, shielded: bool) -> asyncio.CancelledError | None:
        """Wait for the task, and return what cancelled the waiting. Only `Task.cancel()` can do so twice."""
        cancelled = None
        with CancelScope(shield=shielded) as scope:
            while True:
                try:
                    await asyncio.wait((self._task,))
                except asyncio.CancelledError as error:  # noqa: ASYNC103 - it is raised by the caller
                    scope.shield = True
                    cancelled = error
                else:
                    break
        return cancelled
