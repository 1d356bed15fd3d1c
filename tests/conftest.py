"""The event loops that every async test runs on, and the watch for blocking calls.

A module whose tests are about durations runs them in virtual time instead:

    @pytest.fixture(params=virtual_time_backends())
    def anyio_backend(request: pytest.FixtureRequest) -> object:
        return request.param

A module or class that has to block on purpose overrides `no_blocking_calls` with a fixture that does nothing.
"""

from __future__ import annotations

import asyncio
import gc
import math
import signal
import sys
from asyncio import constants
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import anyio
import hypothesis_profiles  # noqa: F401 - registers its profiles
import pytest
import trustme
from anyio._backends._asyncio import AsyncIOBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

Backend = tuple[str, dict[str, Any]]


def _patient_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.slow_callback_duration = math.inf  # a busy machine is no reason for a warning
    return loop


# Most of its time goes into tracebacks that nobody reads.
constants.DEBUG_STACK_DEPTH = 1  # type: ignore[misc]  # it is final, and read at each call

DEBUG = sys.version_info >= (3, 13)  # one Python is enough to see what it finds: it doubles the time of a test

ABOUT_LOOPS = {
    f"test_{name}"
    for name in ("cancellation", "credential", "home", "http", "network", "own_thread", "refresh", "source")
}
"""The modules that show what an event loop may do to us: these alone meet asyncio's debug mode, and uvloop."""


async def _wait_all_tasks_blocked() -> None:
    """As in anyio, which waits a tenth of a second before each further look: half of the time of some modules."""
    await anyio.lowlevel.checkpoint()
    while any(_may_go_on(task) for task in asyncio.all_tasks() - {asyncio.current_task()}):  # noqa: ASYNC110 - as there
        await asyncio.sleep(0.002)


def _may_go_on(task: asyncio.Task[Any]) -> bool:
    waiter = task._fut_waiter  # type: ignore[attr-defined]  # as anyio looks at it
    return waiter is None or waiter.done()


AsyncIOBackend.wait_all_tasks_blocked = staticmethod(_wait_all_tasks_blocked)  # type: ignore[method-assign]  # for the time's sake

BACKENDS: dict[str, Backend] = {"asyncio": ("asyncio", {"loop_factory": _patient_loop})}

if sys.version_info >= (3, 12):

    def _eager_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    BACKENDS["asyncio+eager"] = ("asyncio", {"loop_factory": _eager_loop})
elif find_spec("uvloop"):  # where there are no eager tasks: one Python is enough for this one, too
    BACKENDS["asyncio+uvloop"] = ("asyncio", {"use_uvloop": True})
if find_spec("trio"):
    BACKENDS["trio"] = ("trio", {})


@pytest.fixture(scope="module", params=[pytest.param(backend, id=name) for name, backend in BACKENDS.items()])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Each event loop in turn; asyncio's in its debug mode where tests are about loops."""
    if request.param is not BACKENDS["asyncio"]:
        return request.param
    name, options = request.param
    return name, {**options, "debug": DEBUG and request.module.__name__ in ABOUT_LOOPS}


ONCE = {
    f"test_{name}"
    for name in (
        # documents, and pure functions
        *("design", "docs", "error_page", "fuzz", "house", "pictures", "readme", "reports", "site"),
        # whole programs, in processes of their own
        *("entra_chromium", "example_threads", "example_usage"),
        *("example_web", "examples", "fleet_example", "fleet_processes", "hang_up", "official"),
    )
}
"""The modules whose tests show the same on every Python."""


def pytest_configure() -> None:
    """What a shell has had ignored (Ctrl-C with `&`, a hang-up with nohup), each program of a test would ignore."""
    usual: dict[str, Any] = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, handler in usual.items():
        number = getattr(signal, name, None)  # Windows has no hang-up
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what is the same elsewhere to the modules that are about event loops; mark what one Python is enough for.

    uvloop takes the time of asyncio again, and so do eager tasks on Pythons before 3.13.
    """
    again = ("+uvloop", "+eager") if sys.version_info < (3, 13) else ("+uvloop",)
    items[:] = [item for item in items if item.path.stem in ABOUT_LOOPS or not any(map(item.name.__contains__, again))]
    for item in items:
        if item.path.stem in ONCE:
            item.add_marker("once")


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> None:
    """Keep what the imports and earlier tests left out of each later collection of garbage, which some tests ask for.

    It is nearly all that there is to look at: a tenth of a second each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One trusted authority, of nobody here, in place of a bundle of 150: to read that takes 20 ms a client."""
    with pytest.MonkeyPatch.context() as patch:
        file = tmp_path_factory.mktemp("authority") / "ca.pem"
        trustme.CA().cert_pem.write_to_path(file)
        patch.setenv("SSL_CERT_FILE", str(file))  # also where the machine has one of its own: as a rule it is as long
        yield


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an async test in which this package, or what it calls, would block asyncio's event loop."""
    if "anyio_backend" not in request.fixturenames or not find_spec("blockbuster"):
        yield
        return
    from blockbuster import blockbuster_ctx

    with blockbuster_ctx("anyio_acs_credential"):
        yield


@pytest.fixture(autouse=True)
def nothing_left_to_other_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves that kills its event loop is thrown away where its warnings are expected, and not later."""
    yield
    if any("Unraisable" in filtered for mark in request.node.iter_markers("filterwarnings") for filtered in mark.args):
        gc.collect()
