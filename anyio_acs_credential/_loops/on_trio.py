"""A task beside a block on trio, where every task is in a nursery, which only the task that opened it may leave."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import create_task_group, get_cancelled_exc_class, get_current_task

from .block import Block, refused_error, what_went_wrong

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from .block import Service


class OfATask(Block):
    """A block on trio, which only the task that entered may leave."""

    async def __aenter__(self) -> None:
        await super().__aenter__()
        self._host = get_current_task().id

    def check(self) -> None:
        super().check()
        if get_current_task().id != self._host:
            raise refused_error()


class OnTrio(OfATask):
    """A block on trio whose service is in a task group."""

    def __init__(self, service: Service, name: str) -> None:
        self._group = _grouped(service, name)

    async def __aenter__(self) -> None:
        await super().__aenter__()
        await self._group.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._group.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - its task has been told to end


@asynccontextmanager
async def _grouped(service: Service, name: str) -> AsyncIterator[None]:
    raised: BaseException | None = None
    try:
        async with create_task_group() as group:
            group.start_soon(service.run, name=name)
            try:
                yield
            except BaseException as error:
                raised = error
                raise
            finally:
                service.close()
    except (BaseExceptionGroup, get_cancelled_exc_class()) as error:  # noqa: ASYNC103 - it is raised below
        raised = what_went_wrong(raised, service.crash, error, name)
    if raised is not None:
        raise raised
