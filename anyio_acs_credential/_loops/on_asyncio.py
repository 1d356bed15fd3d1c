"""A task beside a block on asyncio, in no task group.

The cancel scope of a group could be left by no other task than the one that entered it, which pytest-asyncio's fixtures
and the cells of a notebook do. The block owns a plain task instead, which whoever leaves ends and waits for. Where the
task fails, the task that entered is cancelled, as `asyncio.TaskGroup` does it.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

from anyio import CancelScope

from .beside import Beside, refused, what_went_wrong

if TYPE_CHECKING:
    from types import TracebackType

    from .beside import Service


_within: ContextVar[tuple[OnAsyncio, ...]] = ContextVar("anyio_acs_credential.within", default=())
"""Whose services the running code is part of: by them, a block cannot be left, since it would wait for itself."""


class OnAsyncio(Beside):
    """The service has a task of asyncio's, in no group."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name
        self._told = self._leaving = False

    def check(self) -> None:
        super().check()
        if self in _within.get():
            raise refused()

    async def __aenter__(self) -> None:
        await super().__aenter__()
        self._loop = asyncio.get_running_loop()
        self._host = asyncio.current_task()
        self._task = self._loop.create_task(self._run(), name=self._name)
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        _within.set((*_within.get(), self))
        try:
            await self._service.run()
        except BaseException:  # noqa: ASYNC103 - see below
            # Thrown away with its closed loop, it is told GeneratorExit, and cannot even ask what cancellation is.
            if not self._loop.is_closed():  # pragma: no branch - what is thrown away may be so unmeasured
                raise

    def _ended(self, task: asyncio.Task[None]) -> None:
        failed = not task.cancelled() and task.exception() is not None
        if not self._leaving:
            self._service.close()  # which a task that was cancelled before its first step did not do
            self._told = failed and self._host is not None and self._host.cancel()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leaving = True
        self._service.close()
        struck = await self._end(shielded=exc is not None)  # noqa: ASYNC102 - its task has been told to end
        if self._told and self._host is not None and asyncio.current_task() is self._host:
            self._host.uncancel()
        raised = exc if struck is None or not (exc is None or isinstance(exc, asyncio.CancelledError)) else struck
        failure = None if self._task.cancelled() else self._task.exception()
        if failure is not None:
            raised = what_went_wrong(raised, self._service.crash, failure)
        if raised is not None and raised is not exc:
            raise raised

    async def _end(self, *, shielded: bool) -> asyncio.CancelledError | None:
        """Wait for the task, and tell what cancelled that; the second time it can only be `Task.cancel()`."""
        struck = None
        with CancelScope(shield=shielded) as scope:
            while True:
                try:
                    await asyncio.wait((self._task,))
                except asyncio.CancelledError as error:  # noqa: ASYNC103 - it is raised by the caller
                    scope.shield = True
                    struck = error
                else:
                    break
        return struck
