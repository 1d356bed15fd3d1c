"""A task that runs beside a block, and ends with it. Where that takes a task group, nobody sees the group.

What the body raises leaves the block as the object that it is. A task group would wrap it into an exception group, or
on trio put another cancellation in its place, with such a group as its cause; and which errors are in that group
depends on the backend. So the block decides without the group, by what the body raised and what ended the task.

On asyncio there is no task group (see `_loops.on_asyncio`). On trio every task is in a nursery, which only the task
that opened it may leave: any other task is refused.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from anyio import create_task_group, get_cancelled_exc_class, get_current_task

from .._errors import CredentialClosedError, CredentialUsageError, explained
from .home import Home

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Protocol

    class Service(Protocol):
        """What runs beside a block, in a task of its own.

        Attributes:
            crash: The exception that ended it, unless closing did.
        """

        crash: BaseException | None

        async def run(self) -> None:
            """Work until the service is closed."""

        def close(self) -> None:
            """End `run()`. Doing it again does nothing."""


def beside(service: Service, name: str) -> AbstractAsyncContextManager[None]:
    """A block with a service that runs in a task beside it.

    Args:
        service: The service. Leaving the block closes it and waits for its end, whatever cancels the leaving.
        name: The name of the task.
    """
    if get_cancelled_exc_class().__module__ == "trio":
        return _OnTrio(service, name)
    from .on_asyncio import OnAsyncio

    return OnAsyncio(service, name)


def check_entering(block: AbstractAsyncContextManager[None] | None, what: str) -> None:
    """Refuse to enter what is open, unless its event loop has ended, so that nobody could leave the block any more.

    Raises:
        CredentialUsageError: when it is open.
    """
    if block is not None and not _has_ended(block):
        raise explained(
            "open-already",
            CredentialUsageError(f"{what} is open already: enter it once, where the program starts, and inject it"),
        )


def leaving(
    block: AbstractAsyncContextManager[None] | None,
) -> AbstractAsyncContextManager[None] | None:
    """Refuse to leave a block where it cannot be left. Nothing has changed then: the task that entered can leave it.

    Returns:
        The block; None where its event loop has ended, so that nothing of it can be awaited any more.

    Raises:
        CredentialUsageError: when no block is open; in another event loop; in the service that runs beside the block;
            and on trio, in another task than the one that entered.
    """
    if block is None:
        raise explained("open-already", CredentialUsageError("left, and never entered: `async with` does both"))
    if _has_ended(block):
        return None
    if isinstance(block, Beside):
        block.check()
    return block


def _has_ended(block: AbstractAsyncContextManager[None]) -> bool:
    return isinstance(block, Beside) and block.has_ended()


class Beside(AbstractAsyncContextManager[None]):
    """A block that knows its event loop. By itself, it has nothing beside it."""

    async def __aenter__(self) -> None:
        self._home = Home("block", "left in another event loop than it was entered in: leave it there")

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return None

    def check(self) -> None:
        """Refuse to be left where the block cannot be left.

        Raises:
            CredentialUsageError: when it cannot be left here.
        """
        self._home.check()

    def has_ended(self) -> bool:
        """Whether its event loop will never run again in this process."""
        return self._home.is_lost


async def entered_here() -> Beside:
    """An entered block with nothing beside it, to tell where a block with a task group may be left. It never yields."""
    block = _OfATask() if get_cancelled_exc_class().__module__ == "trio" else Beside()
    await block.__aenter__()
    return block


class _OfATask(Beside):
    """A block on trio, which only the task that entered may leave."""

    async def __aenter__(self) -> None:
        await super().__aenter__()
        self._host = get_current_task().id

    def check(self) -> None:
        super().check()
        if get_current_task().id != self._host:
            raise refused()


class _OnTrio(_OfATask):
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


def refused() -> CredentialUsageError:
    """The error for leaving where that is not possible."""
    return explained(
        "another-task",
        CredentialUsageError(
            "left where it cannot be (by its own source, or on trio by another task than entered it): "
            "use one `async with` around all that needs it"
        ),
    )


def what_went_wrong(
    raised: BaseException | None, crash: BaseException | None, failure: BaseException, name: str
) -> BaseException:
    """What leaves a block whose service may have failed.

    * Where the body was cancelled, found its credential closed, or raised nothing: what ended the service, if anything.
    * Where that is to end the program, it comes first in any case.
    * Otherwise what the body raised, with a note where the service had failed as well.

    Args:
        raised: What the body raised, if anything.
        crash: What ended the service, where it was not closing.
        failure: What came out of the service's task or task group.
        name: The name of the service's task.
    """
    if raised is None or isinstance(raised, (get_cancelled_exc_class(), CredentialClosedError)):
        return crash or struck(failure) or raised or failure
    if crash is None:
        return raised
    if not isinstance(crash, Exception):
        return crash
    raised.add_note(f'the task "{name}" had failed too, with {type(crash).__name__}')
    return raised


def struck(error: BaseException) -> BaseException | None:
    """A Ctrl-C that struck where no code of ours saw it: as a task group waited, or between lines of anyio's."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(struck, error.exceptions)), None)
    return error if isinstance(error, KeyboardInterrupt) else None
