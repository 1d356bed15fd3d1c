"""Entering and leaving a credential, and what it has in between alone: its task, its home, and what it hands out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from anyio.lowlevel import checkpoint

from .._errors import CredentialError
from .._loops.beside import check_entering, leaving
from .._loops.home import Nowhere
from .._loops.virtual import refuse_real_time
from .._refreshing import waiting
from .._refreshing.block import block_of
from .._refreshing.task import RefreshTask
from .._tokens.access_token import ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from .._decisions.events import CredentialEvent
    from .._decisions.state import Held, RefreshState
    from .._loops.home import Home
    from .._refreshing.source import TokenSource
    from .._tokens.own_source import OwnSource


class Lifecycle:
    """What a credential is entered and left as.

    Args:
        state: What it holds, also while it is closed.
    """

    _refresher: TokenSource | None  # what is asked for tokens; None where it is static
    _own: OwnSource | None  # the same, where it is one of this package
    _observer: Callable[[CredentialEvent], object] | None

    def __init__(self, state: RefreshState) -> None:
        self._state = state
        self._held: Held | None = state.held if self._refresher is None else None
        self._home: Home | type[Nowhere] = Nowhere
        self._check_cancelled: Callable[[], Awaitable[None]]  # for fresh reads, which only an entered one has
        self._task: RefreshTask | None = None
        self._closed = False
        self._block_of: Callable[[RefreshTask | None], AbstractAsyncContextManager[None]] = block_of
        self._block: AbstractAsyncContextManager[None] | None = None

    async def close(self) -> None:
        """End refreshing, as leaving the block does; whoever waits gets `CredentialClosedError`. May be called again.

        Raises:
            CredentialUsageError: when called in another event loop than it was entered in.
        """
        if self._task is not None:
            self._task.home.check()
            self._task.close()
        self._publish(None)
        await checkpoint()

    async def __aenter__(self) -> Self:
        # What survives a re-entry is the state: the held token and the counts. Waits, the task and its home are new.
        check_entering(self._block, "the credential")
        self._held, self._closed = self._state.held, False
        block = self._block_of(None if self._refresher is None else self._begin(self._refresher))
        # Entering the block never yields, so that no second task comes between; and nothing from here to the next line
        # may raise, or the task that has begun would belong to nobody.
        await block.__aenter__()
        self._block = block
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        block = leaving(self._block)
        try:
            # Its task is cancelled by then.
            return await block.__aexit__(exc_type, exc, traceback) if block else None  # noqa: ASYNC102
        finally:
            self._publish(None)
            self._block = self._task = None

    def _begin(self, refresher: TokenSource) -> RefreshTask:
        from .._refreshing.report import Reporter

        refuse_real_time("the credential", self._state.clock, beside="its source")
        self._state.begin()
        self._task = RefreshTask(refresher, self._state, Reporter(self._observer, self._secrets), self._publish)
        # checkpoint_if_cancelled() finds its backend anew at each call, as long as all else in a fresh read takes.
        self._home = self._task.home
        self._check_cancelled = self._home.loop.backend_class.checkpoint_if_cancelled
        return self._task

    def _publish(self, held: Held | None) -> None:
        # Apart from entering, this alone sets what readers see: called by the refresh task, and at the end.
        self._held = held
        self._closed = held is None

    def _secrets(self) -> list[str]:
        others = self._own.secrets() if self._own is not None else ()
        return [*(token.token for token in self._state.known), *others]

    def _entered(self) -> RefreshTask:
        if self._task is None or self._closed:
            raise self._unavailable()
        self._task.home.check_process()
        return self._task

    def _misuse(self) -> CredentialError | None:
        """Why it has no token to give, whatever its source says; None where it is in use, or needs no block."""
        if self._refresher is None and not self._closed:
            return None
        try:
            task = self._entered()
        except CredentialError as misuse:
            return misuse
        return waiting.closed_error() if task.home.is_lost else None  # nothing has told it so where its loop was closed

    def _unavailable(self) -> CredentialError:
        entered = self._task is not None
        held = self._state.held
        return waiting.unavailable_error(
            closed=self._closed,
            refreshes=self._refresher is not None,
            entered=entered,
            hint="" if held is None else ended(held.token.expires_on),
        )
