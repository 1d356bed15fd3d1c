"""A block that is entered and left where that can be done, and what leaves it where something ran beside it.

What the body raises leaves the block as the object that it is. A task group would wrap it into an exception group, or
on trio put another cancellation in its place, with such a group as its cause; and which errors are in that group
depends on the backend. So the block decides without the group, by what the body raised and what ended the task.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from anyio import get_cancelled_exc_class

from .._common.errors import CredentialClosedError, CredentialUsageError, explained
from .home import Home

if TYPE_CHECKING:
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


def check_entering(block: AbstractAsyncContextManager[None] | None, what: str) -> None:
    """Refuse to enter what is open, unless its event loop has ended, so that nobody could leave the block any more.

    Raises:
        CredentialUsageError: when it is open.
    """
    if block is not None and not _is_lost(block):
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
    if _is_lost(block):
        return None
    if isinstance(block, Block):
        block.check()
    return block


def _is_lost(block: AbstractAsyncContextManager[None]) -> bool:
    return isinstance(block, Block) and block.is_lost()


class Block(AbstractAsyncContextManager[None]):
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

    def is_lost(self) -> bool:
        """Whether its event loop will never run again in this process."""
        return self._home.is_lost


def refused_error() -> CredentialUsageError:
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

    * If the body raised nothing, was cancelled or found its credential closed: what ended the service; else a Ctrl-C
      that struck beside both; else what the body raised.
    * If what ended the service is to end the program, it leaves the block whatever the body raised.
    * Otherwise what the body raised leaves the block, with a note if the service had failed as well.

    Args:
        raised: What the body raised, if anything.
        crash: What ended the service; None where it was closed.
        failure: What came out of the service's task or task group.
        name: The name of the service's task.
    """
    if raised is None or isinstance(raised, (get_cancelled_exc_class(), CredentialClosedError)):
        return crash or interrupt_in(failure) or raised or failure
    if crash is None:
        return raised
    if not isinstance(crash, Exception):
        return crash
    raised.add_note(f'the task "{name}" had failed too, with {type(crash).__name__}')
    return raised


def interrupt_in(error: BaseException) -> BaseException | None:
    """A Ctrl-C that struck where no code of ours saw it: as a task group waited, or between lines of anyio's."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(interrupt_in, error.exceptions)), None)
    return error if isinstance(error, KeyboardInterrupt) else None
