"""Where something was entered: the process, the thread and the event loop. Whoever waits for it has to be there."""

from __future__ import annotations

import os
import sys
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from anyio.lowlevel import current_token

from ._errors import CredentialUsageError, explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.lowlevel import EventLoopToken

_homes: WeakSet[Home] = WeakSet()


class Home:
    """The event loop that runs, and the thread and the process that it runs in.

    Args:
        name: What was entered, as messages have it: "credential".
        in_another_loop: What is said in another event loop, with what to do there.

    Attributes:
        loop: The event loop.
        thread: The thread's identity; None in a process that was forked since.
        runs: Tells whether the loop is at work in its thread. None where its own functions refuse whom it does not run.
    """

    __slots__ = ("__weakref__", "_in_another_loop", "_name", "loop", "runs", "thread")

    def __init__(self, name: str, in_another_loop: str) -> None:
        self._name = name
        self._in_another_loop = in_another_loop
        self.loop: EventLoopToken = current_token()
        self.thread: int | None = get_ident()
        self.runs = _whether_it_runs(self.loop.native_token)
        _homes.add(self)

    def check(self) -> None:
        """Refuse to wait in another process or event loop.

        Raises:
            CredentialUsageError: when called in another one.
        """
        self.check_process()
        if _running() != self.loop:
            raise CredentialUsageError(explained("another-loop", self._in_another_loop))

    def check_process(self) -> None:
        """Refuse to wait in a forked process.

        Raises:
            CredentialUsageError: when the process was forked since.
        """
        if self.thread is None:
            raise CredentialUsageError(
                explained(
                    "forked",
                    f"the {self._name} was entered before this process was forked from another, where its event "
                    "loop has stayed: enter one in each process, after the fork (with gunicorn, in the application's "
                    "lifespan or in post_fork; with Celery, at worker_process_init)",
                )
            )

    @property
    def is_lost(self) -> bool:
        """Whether the event loop will never run again here."""
        return self.thread is None or _is_closed(self.loop.native_token)

    def time(self) -> float:
        """The event loop's time, in seconds, in its tasks and in what was posted to it."""
        return self.loop.backend_class.current_time()

    def post(self, callback: Callable[[], object]) -> None:
        """Have the event loop call a function soon. It waits for nothing, and may be called in any thread.

        Raises:
            RuntimeError: when the event loop has ended.
        """
        native: Any = self.loop.native_token
        post = native.run_sync_soon if _is_trio(native) else native.call_soon_threadsafe
        post(callback)


class Nowhere:
    """In place of a home, where nothing was entered."""

    thread = None
    runs = None


def _running() -> EventLoopToken | None:
    try:
        return current_token()
    except RuntimeError:
        return None


def _is_trio(native: Any) -> bool:
    return hasattr(native, "run_sync_soon")


def _is_closed(native: Any) -> bool:
    if not _is_trio(native):
        return bool(native.is_closed())
    try:
        native.run_sync_soon(int, idempotent=True)
    except RuntimeError:  # trio.RunFinishedError
        return True
    return False


def _whether_it_runs(native: Any) -> Callable[[], bool] | None:
    if _is_trio(native):
        return None
    runs: Callable[[], bool] = native.is_running
    if "trio" not in sys.modules:
        return runs
    from trio.lowlevel import in_trio_task

    # In a guest of this loop: trio runs in its callbacks, where asyncio has no task that could be cancelled.
    return lambda: runs() and not in_trio_task()


def _forget() -> None:
    for home in tuple(_homes):
        home.thread = None


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_forget)
