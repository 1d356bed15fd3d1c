"""Waiting for a token in a thread, without a task in the event loop and without any of the event loop's own threads.

The thread posts its request to the event loop with `Home.post`, and waits on a future of its own. So its time limit
holds whatever the event loop does, and it notices that its caller was cancelled, or that the event loop has ended.

Threads that wait may be all that an executor has, and a round may need one of them: the HTTP client of a program looks
up host names there. So while rounds fail, one thread at most waits for the next round, and for half of its time limit
at most; the other threads get the last answer at once.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING

from anyio import from_thread

from .._common.errors import CredentialError
from .waiting import answer_of, closed_error, look, refresh_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._tokens.access_token import AccessToken
    from .round import Round
    from .task import RefreshTask

_POLL = 0.05  # seconds between looks at what no event tells a thread: its cancellation, and the end of the event loop
_LONGEST_IDLE = 1.0  # seconds in which nobody runs the event loop, as between two calls of run_until_complete()


def wait_in_thread(
    task: RefreshTask, timeout: float | None = None, rounds: Iterator[Round] | None = None
) -> AccessToken:
    """The token that `get_token()` would give, for a thread that blocks.

    Args:
        task: The refresh task.
        timeout: Seconds that this may wait; None for no limit.
        rounds: What has to be waited for whatever is held, as `join_each()` takes it; None for a plain token.

    Raises:
        TimeoutError: when the time is up.
        CredentialClosedError: when the credential closes meanwhile, or its event loop has ended.
        CredentialUsageError: when nobody runs its event loop.
        CredentialError: as `get_token()` does.
    """
    _check_cancelled()
    waiter = _Waiter(task, rounds)
    deadline = inf if timeout is None else timeout
    idle = 0.0
    waiter.post(waiter.ask if rounds is None else waiter.join_each)
    try:
        while not waiter.answer.done():
            now = waiter.time()
            if now >= deadline:
                raise TimeoutError(f"no access token was to be had within {timeout:g} seconds")
            if now >= waiter.patience_ends:
                waiter.patience_ends = inf
                waiter.post(waiter.give_up)
            _check_cancelled()
            if task.home.is_lost:
                raise task.home.ended_error()
            idle = idle + _POLL if task.home.is_idle else 0.0
            if idle > _LONGEST_IDLE:
                raise task.home.idle_error()
            waiter.wait(min(_POLL, deadline - now, max(0.0, waiter.patience_ends - now)))
        return waiter.answer.result()
    finally:
        waiter.leave()


class _Waiter:
    """One thread that waits. Its methods run in the event loop, except for `post()`, `wait()`, `time()` and `leave()`.

    Attributes:
        answer: The future that the thread waits on.
        patience_ends: When the thread gets the last answer instead, by `time()`.
    """

    def __init__(self, task: RefreshTask, rounds: Iterator[Round] | None) -> None:
        self.answer: Future[AccessToken] = Future()
        self.patience_ends = inf
        self._began = time.monotonic()
        self._waited = 0.0
        self._task = task
        self._rounds = iter(()) if rounds is None else rounds
        self._asked: Round = task.round
        self._then: Callable[[], None] = self._take
        self._context = copy_context()  # it says whether the source asks

    def post(self, step: Callable[[], None]) -> None:
        """Have the event loop take a step.

        Raises:
            CredentialClosedError: when the event loop has ended.
        """
        try:
            self._task.home.post(lambda: self._take_step(step))
        except RuntimeError:
            raise self._task.home.ended_error() from None

    def wait(self, seconds: float) -> None:
        """Wait for the answer, or for so long."""
        try:
            self.answer.exception(seconds)
        except TimeoutError:
            self._waited += seconds

    def time(self) -> float:
        """Seconds since the thread began to wait. It has waited them where the clock stands still, as a test's may."""
        return max(time.monotonic() - self._began, self._waited)

    def leave(self) -> None:
        """Give up waiting."""
        if self.answer.cancel():
            with suppress(RuntimeError):
                self._task.home.post(self._forget)

    def ask(self) -> None:
        """Answer at once, or join the round."""
        task, state, asked = self._task, self._task.state, self._task.round
        found: AccessToken | CredentialError | float | None = look(task)
        if isinstance(found, float | int) and state.cause is not None:
            # The last failure is an answer, too: so one thread waits for a better one, for half of a round's time.
            waited = 0.0 if asked.began is None else task.home.time() - asked.began
            left = state.policy.refresh_timeout / 2 - waited
            found = min(found, left) if left > 0 and not asked.threads_waiting else self._last_answer()
        if isinstance(found, float | int):
            asked.refuse_its_source()
            self._join(asked, self._take)
            self.patience_ends = self.time() + found
        else:
            self._give(found)

    def join_each(self) -> None:
        """Join the next of the rounds that are waited for whatever is held. After them, it is as without them."""
        if self._task.closed:
            raise closed_error()  # its last round has ended, and calls nobody any more
        asked = next(self._rounds, None)
        if asked is None:
            self._give(self._task.state.valid())
        else:
            self._join(asked, self.join_each)

    def _join(self, asked: Round, then: Callable[[], None]) -> None:
        self._asked, self._then = asked, then
        asked.call_at_end(self._over)
        self._task.request(asked)

    def give_up(self) -> None:
        """Give the last answer, since the round takes longer than this thread waits."""
        self._forget()
        self._give(self._last_answer())

    def _last_answer(self) -> AccessToken | CredentialError | None:
        state = self._task.state
        return state.valid() or (None if state.cause is None else refresh_error(state.cause))

    def _over(self) -> None:
        self._take_step(self._then)

    def _take(self) -> None:
        self._give(answer_of(self._task, self._asked))

    def _give(self, found: AccessToken | CredentialError | None) -> None:
        if isinstance(found, CredentialError):
            raise found
        if found is None:
            self.ask()
        else:
            self.answer.set_result(found)

    def _take_step(self, step: Callable[[], None]) -> None:
        if self.answer.done():
            return
        with suppress(InvalidStateError):  # the thread has left in between
            try:
                self._context.run(step)
            except Exception as error:  # noqa: BLE001 - what `_give` raises, and a clock that fails, is the thread's
                self.answer.set_exception(error)

    def _forget(self) -> None:
        self._asked.call_no_more(self._over)


def _check_cancelled() -> None:
    """Let the cancellation of a worker thread's caller through, in anyio's threads and in trio's own."""
    with suppress(RuntimeError):  # no worker thread
        from_thread.check_cancelled()
    if "trio" in sys.modules:
        import trio

        with suppress(RuntimeError):
            trio.from_thread.check_cancelled()
