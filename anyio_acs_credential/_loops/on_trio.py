"""A task beside a block on trio, where every task is in a nursery, which only the task that opened it may leave."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from anyio import create_task_group, get_cancelled_exc_class, get_current_task
from trio.lowlevel import RunVar, current_task

from .._common.errors import CredentialUsageError, explained
from .block import Block, refused_error, what_went_wrong

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from trio import Nursery

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


_open: RunVar[dict[Nursery, OnTrio]] = RunVar("open blocks")


def _open_blocks() -> dict[Nursery, OnTrio]:
    """The open blocks of this run of trio, by the nurseries of their task groups.

    A weak dictionary of all runs would not do: blocks leave such a dictionary in Python code that runs as a finalizer,
    and a Ctrl-C that trio raises there is lost.
    """
    try:
        return _open.get()
    except LookupError:
        blocks: dict[Nursery, OnTrio] = {}
        _open.set(blocks)
        return blocks


class OnTrio(OfATask):
    """A block on trio whose service is in a task group."""

    def __init__(self, service: Service, name: str) -> None:
        self._group = _grouped(service, name)

    async def __aenter__(self) -> None:
        await super().__aenter__()
        await self._group.__aenter__()
        self._nursery = current_task().child_nurseries[-1]
        _open_blocks()[self._nursery] = self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        blocks = _open_blocks()
        if self._nursery not in blocks:
            return None  # it was closed when the task left what it had entered before
        since = self._entered_since()
        for block in (self, *since):
            del blocks[block._nursery]
        if not since:
            return await self._group.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - its task was told to end
        # An error alone would end the program with all of them open, and trio then tells of nothing but itself.
        async with AsyncExitStack() as stack:  # noqa: ASYNC102 - their tasks were told to end
            for block in (self, *since):
                stack.push_async_exit(block._group)
        error = CredentialUsageError(
            "left before what the same task had entered after it, which trio cannot do, so all of them are closed now: "
            "leave in the reverse order, as nested `async with` does"
        )
        if exc is None:
            raise explained("another-task", error)
        exc.add_note(str(error))
        return None

    def _entered_since(self) -> list[OnTrio]:
        """What the task has entered since, in order; nothing where that is not of ours alone, which trio tells."""
        blocks = [_open_blocks().get(nursery) for nursery in current_task().child_nurseries]
        since = blocks[blocks.index(self) + 1 :] if self in blocks else []
        ours = [block for block in since if block is not None]
        return ours if len(ours) == len(since) else []


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
