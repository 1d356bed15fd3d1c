"""Event loops whose time stands still while anything runs, and skips ahead when all tasks sleep."""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from .._common.extras import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest import ParameterSet  # noqa: PT013 - for its type alone: users need not have pytest

_PATIENCE = 0.005
"""Real seconds that sockets and threads are given before a wait is skipped."""


def virtual_time(backend: str) -> dict[str, Any]:
    """Keywords that make `anyio.run` skip all waiting: `anyio.run(main, **virtual_time("trio"))`.

    When no task can run, the loop's clock moves to the moment at which the next task wakes, and no real time passes. So
    a sleep takes exactly what it asked for, and tasks wake in the order of their times. The clock of each run begins at
    zero, also where one result is used for several runs.

    A wait for anything outside the loop looks like idleness, so a time limit around it may strike at once. On asyncio,
    each skip takes up to 5 real milliseconds while a socket is waited for, or while there are more threads than when
    the loop was made; trio's clock skips without delay. Where sockets and worker threads matter, test in real time.

    On asyncio, `anyio.wait_all_tasks_blocked()` polls with sleeps of 0.1 s, so it moves the clock by that much each
    time that it finds a task about to run. On trio it leaves the clock alone.

    Args:
        backend: "asyncio" or "trio".

    Returns:
        `backend` and `backend_options`.

    Raises:
        ValueError: when `backend` is anything else.
        ImportError: when it is "trio", and trio is not installed.
    """
    if backend == "asyncio":
        return {"backend": backend, "backend_options": {"loop_factory": VirtualTimeLoop}}
    if backend == "trio":
        _require_trio()
        return {"backend": backend, "backend_options": _TrioOptions()}
    raise ValueError(f'virtual time runs on "asyncio" and on "trio", not on {backend!r}')


def virtual_time_backends() -> list[ParameterSet]:
    """Parameters for an `anyio_backend` fixture that runs a module's async tests in virtual time.

    They are asyncio, asyncio with the eager task factory (from Python 3.12 on), and trio where it is installed:

        @pytest.fixture(params=virtual_time_backends())
        def anyio_backend(request):
            return request.param

    Each test has a loop and a clock of its own. `virtual_time` says what to expect of them.

    Returns:
        What pytest takes as `params`, with ids that begin with the backend's name.
    """
    import pytest

    options: dict[str, dict[str, Any]] = {
        name: virtual_time(name)["backend_options"] for name in anyio.get_available_backends()
    }
    eager = getattr(asyncio, "eager_task_factory", None)
    options |= {"asyncio+eager": {"loop_factory": partial(VirtualTimeLoop, eager)}} if eager else {}
    return [pytest.param((name.split("+")[0], options[name]), id=f"{name}+virtual") for name in sorted(options)]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose clock begins at zero and moves only when nothing can run.

    Args:
        task_factory: The factory of the loop's tasks; asyncio's own by default.
    """

    is_virtual = True  # for `_loops.virtual`, which does not import this class

    def __init__(self, task_factory: Any = None) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)
        self.set_task_factory(task_factory)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002 - see below
        """Wait until the default executor's threads have ended, however long they take.

        Args:
            timeout: Seconds that asyncio would wait. In virtual time they are over at once, and the threads are left.
        """
        await super().shutdown_default_executor()

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._skipping.skipped


class _SkippingSelector(selectors.DefaultSelector):
    """Waits a moment instead of a whole timeout, and adds up the timeouts that nothing interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0
        self._threads = threading.active_count()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(min(timeout, self._patience()))
        if not ready:
            self.skipped += timeout
            # asyncio runs what is due before now plus a nanosecond: which is now, where floats are further apart.
            if math.ulp(self.skipped) > 1e-9:
                self.skipped = math.nextafter(self.skipped, math.inf)
        return ready

    def _patience(self) -> float:
        # One file is always registered: the loop's own, by which threads and signals wake it.
        alone = len(self.get_map()) == 1 and threading.active_count() <= self._threads
        return 0 if alone else _PATIENCE


class _TrioOptions(dict[str, Any]):
    """Options for trio with a clock at zero whenever they are unpacked: a used `MockClock` goes on where it stopped."""

    def __init__(self) -> None:
        super().__init__(clock=_mock_clock())

    def keys(self) -> Any:
        if self["clock"].current_time() > 0:
            self["clock"] = _mock_clock()
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        # Without an `__iter__` of its own, a dict is unpacked from its storage, and keys() is not called.
        return iter(self.keys())


def _require_trio() -> None:
    try:
        import trio  # noqa: F401 - whether it can be imported is the question
    except ModuleNotFoundError as missing:
        raise ImportError(missing_extra("trio", "trio"), name="trio") from missing


def _mock_clock() -> object:
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)
