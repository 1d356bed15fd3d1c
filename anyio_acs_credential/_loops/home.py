"""Where something was entered: the process, the thread and the event loop. Who waits for it has to wait there."""

from __future__ import annotations

import os
import sys
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar

from anyio.lowlevel import current_token

from .._common.errors import CredentialClosedError, CredentialUsageError, explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.lowlevel import EventLoopToken


class Process:
    """A process, which all homes in it share.

    Attributes:
        is_here: Whether it is the process that runs: False in a process that is forked from it.
    """

    __slots__ = ("is_here",)

    def __init__(self) -> None:
        self.is_here: bool = True


# A fork replaces the one object that all homes share. A weak set of homes, to be marked one by one, would not do: homes
# leave such a set in Python code that runs as a finalizer, and a Ctrl-C that trio raises there is lost.
_this = Process()


class Home:
    """The event loop that runs, and the thread and the process that it runs in.

    Args:
        name: What was entered, as messages name it: "credential".
        in_another_loop: The message for callers in another event loop, with what to do there.

    Attributes:
        loop: The event loop.
        process: The process.
        thread: The thread's identity.
        runner: An object with a `_thread_id`, as the loops of asyncio have it: the thread's identity while the loop
            runs, cheap enough to be read with each fresh token. On trio it is never None, since trio itself refuses
            callers outside its loop.
    """

    __slots__ = ("_in_another_loop", "_name", "loop", "process", "runner", "thread")

    def __init__(self, name: str, in_another_loop: str) -> None:
        self._name = name
        self._in_another_loop = in_another_loop
        self.loop: EventLoopToken = current_token()
        self.process: Process = _this
        self.thread: int = get_ident()
        self.runner: Any = _runner_of(self.loop.native_token)

    def check(self) -> None:
        """Refuse to wait in another process or event loop.

        Raises:
            CredentialUsageError: when called there; a `CredentialClosedError` where its own event loop has ended.
        """
        self.check_process()
        if _running() != self.loop:
            if self.is_lost:
                raise self.ended_error()
            raise explained("another-loop", CredentialUsageError(self._in_another_loop))

    def check_process(self) -> None:
        """Refuse to wait in a forked process.

        Raises:
            CredentialUsageError: when the process was forked after the entering.
        """
        if not self.process.is_here:
            raise explained(
                "forked",
                CredentialUsageError(
                    f"the {self._name} was entered before this process was forked from another, where its event "
                    "loop has stayed: enter one in each process, after the fork (with gunicorn, in the application's "
                    "lifespan or in post_fork; with Celery, at worker_process_init)"
                ),
            )

    @property
    def is_lost(self) -> bool:
        """Whether the event loop will never run again here."""
        return not self.process.is_here or _is_closed(self.loop.native_token)

    @property
    def is_idle(self) -> bool:
        """Whether the event loop is open and nobody runs it. A trio loop is run from its beginning to its end."""
        native: Any = self.loop.native_token
        return not _is_trio(native) and not native.is_running()

    def idle_error(self) -> CredentialUsageError:
        """The error for threads that wait while nobody runs the event loop."""
        return explained(
            "another-loop",
            CredentialUsageError(
                f"the event loop in which the {self._name} was entered is open, and nobody runs it, so that a thread "
                "would wait for ever: enter it in the loop that runs meanwhile (in pytest-asyncio, the test has the "
                "loop_scope of the fixture)"
            ),
        )

    def ended_error(self) -> CredentialClosedError:
        """The error for callers of what was entered in an event loop that has ended."""
        return explained(
            "loop-ended",
            CredentialClosedError(
                f"the event loop in which the {self._name} was entered has ended, though its block has not: keep all "
                "that uses it inside one anyio.run(), or enter it again in a loop that runs"
            ),
        )

    def time(self) -> float:
        """The event loop's time, in seconds. Only its tasks may ask, and functions that were posted to it."""
        return self.loop.backend_class.current_time()

    def post(self, callback: Callable[[], object]) -> None:
        """Have the event loop call a function soon. It waits for nothing, and may be called in any thread.

        Raises:
            RuntimeError: when the event loop has ended.
        """
        post(self.loop, callback)


def post(loop: EventLoopToken, callback: Callable[[], object]) -> None:
    """Have an event loop call a function soon; see `Home.post`."""
    native: Any = loop.native_token
    call_soon = native.run_sync_soon if _is_trio(native) else native.call_soon_threadsafe
    call_soon(callback)


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


def _runner_of(native: Any) -> Any:
    if _is_trio(native):
        return _Thread(get_ident())
    if hasattr(native, "_thread_id") and "trio" not in sys.modules:
        return native
    return _Loop(native)


class _Thread:
    """A runner that names its thread at any time."""

    __slots__ = ("_thread_id",)

    def __init__(self, identity: int) -> None:
        self._thread_id = identity


class _Loop:
    """The runner of an asyncio loop that does not say in which thread it runs, or that may have trio as a guest.

    A guest runs in the callbacks of its host, where asyncio has no task that could be cancelled.
    """

    __slots__ = ("_in_trio", "_loop", "_thread")

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._thread = get_ident()
        self._in_trio: Callable[[], bool] = bool
        if "trio" in sys.modules:
            from trio.lowlevel import in_trio_task

            self._in_trio = in_trio_task

    @property
    def _thread_id(self) -> int | None:
        return self._thread if self._loop.is_running() and not self._in_trio() else None


class Nowhere:
    """Stands in for a home until something is entered."""

    process: ClassVar[Process] = Process()
    thread: ClassVar[None] = None
    runner: ClassVar[Any] = None


Nowhere.process.is_here = False


def _forked() -> None:
    global _this  # noqa: PLW0603 - one for each process, and the read of a fresh token can ask for nothing slower
    _this.is_here = False
    _this = Process()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_forked)
