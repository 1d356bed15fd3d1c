"""Entering and leaving a credential, and what it has only in between: its task, its home, and what it hands out."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from anyio import sleep_forever
from anyio.lowlevel import checkpoint

from .._common.errors import CredentialError, CredentialUsageError, explained
from .._loops.block import Block, check_entering, leaving
from .._loops.home import Nowhere
from .._refreshing import waiting
from .._tokens.access_token import hint_of_a_life

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from .._decisions.events import CredentialEvent
    from .._decisions.state import Held, RefreshState
    from .._loops.home import Home
    from .._refreshing.task import RefreshTask
    from .._tokens.token_source import TokenSource


class OneBlock:
    """Base of what has one `async with` block at a time, and may be entered again.

    A subclass makes what lasts for a block in `_begin()` and drops it in `_end()`. Neither step waits.
    """

    _what: ClassVar[str]  # what is entered, as messages name it
    _block: AbstractAsyncContextManager[None] | None = None

    @abstractmethod
    def _begin(self) -> AbstractAsyncContextManager[None]:
        """Make whatever lasts for one block, and the block itself, whose entering must not yield."""
        ...

    @abstractmethod
    def _end(self) -> None:
        """Drop what `_begin()` has made. The block has been left, or its event loop has ended."""
        ...

    async def __aenter__(self) -> Self:
        check_entering(self._block, self._what)
        block = self._begin()
        # Entering the block never yields, so that no second task enters in between. Nothing may raise from the entering
        # to the next line, or the task that has begun would have no owner.
        await block.__aenter__()
        self._block = block
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        block = leaving(self._block)
        try:
            if block is None:
                return None
            return await block.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - its task has been told to end
        finally:
            self._block = None
            self._end()


class Lifecycle(OneBlock):
    """How a credential is entered and left.

    Of the private names here, the pool, `otel` and `azure` use `_stay_open()`, `_shut()`, `_closed`, `_watch()`,
    `_remaining()` and `_from_thread()`, and no others.

    Args:
        state: The held token and the counts, which the credential keeps while it is closed.
    """

    _what = "the credential"
    _source: TokenSource | None  # None for a static credential
    _observer: Callable[[CredentialEvent], object] | None
    _is_hosted = False  # whether the task that enters runs the refresh task itself
    _is_watched = False

    def __init__(self, state: RefreshState) -> None:
        self._state = state
        self._held: Held | None = state.held if self._source is None else None
        self._home: Home | type[Nowhere] = Nowhere
        self._check_cancelled: Callable[[], Awaitable[None]]  # for fresh reads, which need an entered credential
        self._task: RefreshTask | None = None
        self._closed = False

    async def close(self) -> None:
        """End refreshing, as leaving the block does. It may be called again.

        The credential is closed at once: a round in flight is cancelled, and tasks that wait for a token get
        `CredentialClosedError`. Then this lets other tasks run once; it never waits. Cancelling it does not undo the
        closing.

        Raises:
            CredentialUsageError: when called in another event loop than it was entered in.
        """
        if self._task is not None:
            self._task.home.check()
        self._shut()
        await checkpoint()

    def _shut(self) -> None:
        """Close it at once. This also ends `_stay_open()`, whose refresh task is shielded from other cancellation."""
        if self._task is not None:
            self._task.close()
        self._publish(None)

    async def _stay_open(self, opened: Callable[[], None]) -> None:
        """Enter the credential, run its refresh task in the running task, and leave the credential.

        So a credential in a pool costs one task and no task group. Closing the credential ends this, and so does a
        cancellation while it opens. A static one has no refresh task, and is ended by a cancellation at any time.

        Args:
            opened: Called as soon as the credential is open.
        """
        self._is_hosted = True
        try:
            async with self:
                opened()
                await (sleep_forever() if self._task is None else self._task.run())
        finally:
            self._is_hosted = False

    def _begin(self) -> AbstractAsyncContextManager[None]:
        # What survives a re-entry is the state: the held token and the counts. Waits, the task and its home are new.
        self._held, self._closed = self._state.held, False
        if self._source is None:
            return Block()
        from .._loops.virtual import refuse_real_time
        from .._refreshing.block import hosted, running
        from .._refreshing.report import Reporter
        from .._refreshing.task import RefreshTask

        refuse_real_time("the credential", self._state.clock, beside="its source")
        self._state.begin()
        task = RefreshTask(self._source, self._state, Reporter(self._observer, self._secrets), self._publish)
        # anyio's own checkpoint_if_cancelled() looks up its backend, which takes as long as all else in a fresh read.
        self._home, self._task = task.home, task
        self._check_cancelled = task.home.loop.backend_class.checkpoint_if_cancelled
        return hosted(task) if self._is_hosted else running(task, "access token refresh")

    def _end(self) -> None:
        self._publish(None)
        self._task = None

    def _publish(self, held: Held | None) -> None:
        # In a block, nothing else sets `_held`, which readers see. The refresh task passes each token; None, with which
        # the task, `_shut()` and `_end()` call this, means closed.
        self._held = held
        self._closed = held is None

    def _watch(
        self,
        observe: Callable[[CredentialEvent], object],
        around: Callable[[TokenSource], TokenSource],
    ) -> None:
        """Have its rounds and exchanges watched, from its next block on.

        Args:
            observe: Called with each event, before the program's observer.
            around: Takes the source, and gives what is asked in its place.

        Raises:
            CredentialUsageError: when it is open, or watched already.
        """
        if self._block is not None or self._is_watched:
            raise explained(
                "instrumented",
                CredentialUsageError(
                    "the credential is open or instrumented already: instrument it once, before its block"
                ),
            )
        self._is_watched = True
        users = self._observer

        def both(event: CredentialEvent) -> None:
            observe(event)
            if users is not None:
                users(event)

        self._observer = both
        if self._source is not None:
            self._source = around(self._source)

    def _secrets(self) -> list[str]:
        others = self._source.secrets() if self._source is not None else ()
        return [*(token.token for token in self._state.known), *others]

    def _remaining(self) -> float | None:
        """Seconds until the held token ends, 0 once it has ended; None while the credential is not in use."""
        return self._state.remaining() if self._misuse() is None else None

    def _entered(self) -> RefreshTask:
        if self._task is None or self._closed:
            raise self._unavailable()
        self._task.home.check_process()
        return self._task

    def _misuse(self) -> CredentialError | None:
        """Why it can give no token, whatever its source says; None where it is in use, or needs no block."""
        if self._source is None and not self._closed:
            return None
        try:
            task = self._entered()
        except CredentialError as misuse:
            return misuse
        # `_closed` is not set where the event loop was closed and the block never left: its home knows.
        return task.home.ended_error() if task.home.is_lost else None

    def _unavailable(self) -> CredentialError:
        held = self._state.held
        return waiting.unavailable_error(
            closed=self._closed,
            refreshes=self._source is not None,
            entered=self._task is not None,
            hint="" if held is None else hint_of_a_life(held.token.expires_on),
        )
