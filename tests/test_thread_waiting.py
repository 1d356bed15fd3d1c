"""Asking for a token in a thread: time limits, cancellation, and executors that are full of threads that ask."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import CapacityLimiter, from_thread, to_thread
from told import told

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosedError,
    CredentialError,
    CredentialUsageError,
    RefreshPolicy,
    TokenRefreshError,
)
from anyio_acs_credential._common.errors import page_of
from anyio_acs_credential._loops.home import Home
from anyio_acs_credential._refreshing import thread_waiting
from anyio_acs_credential.testing import ScriptedSource, make_jwt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

NEEDS_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="it is a loop of its own")
LONG = 60  # seconds that nothing here takes


class Asking:
    """A thread that asks, and what came of it."""

    def __init__(self, ask: Callable[[], AccessToken]) -> None:
        self._ask = ask
        self.got: AccessToken | BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.got = self._ask()
        except BaseException as error:  # noqa: BLE001, ASYNC103 - looked at by the test
            self.got = error

    def wait(self) -> AccessToken | BaseException | None:
        """Block until it is over, the event loop too."""
        self._thread.join(LONG)
        return self.got

    async def over(self) -> AccessToken | BaseException | None:
        """Wait until it is over, while the event loop goes on."""
        await to_thread.run_sync(self._thread.join, LONG)
        return self.got


class Ahead:
    """A clock that can be set."""

    ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    monotonic = time


async def waiting(credential: CommunicationTokenCredential, count: int) -> None:
    """Until so many wait."""
    await until(lambda: credential.statistics().waiting == count)


async def until(met: Callable[[], bool]) -> None:
    """Until a thread has done what it is to do; nobody is told of that."""
    with anyio.fail_after(LONG):
        while not met():  # noqa: ASYNC110 - no event of ours can be set by what is looked at
            await anyio.sleep(0.001)


class Halt:
    """Stops a thread before a line of the credential's, the n-th that it comes to, until it is let go on."""

    def __init__(self, line: int) -> None:
        self.left = line
        self.is_there, self.go_on = threading.Event(), threading.Event()

    def __call__(self, ask: Callable[[], AccessToken]) -> AccessToken:
        sys.settrace(self._trace)
        try:
            return ask()
        finally:
            sys.settrace(None)
            self.is_there.set()

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.endswith("credential.py"):
            return None
        self.left -= event == "line"
        if event == "line" and self.left == 0:
            self.is_there.set()
            self.go_on.wait(LONG)
        return self._trace


@pytest.mark.promise("R1")
async def test_it_is_never_an_expired_token_wherever_the_next_is_published() -> None:
    """What is held is read once, and judged as it was read: the next may be published between any two lines."""
    line, halted = 0, True
    while halted:
        line += 1
        clock, halt = Ahead(), Halt(line)
        tokens = [AccessToken("second", time.time() + 3600), AccessToken("first", time.time() + 300)]

        async def source(tokens: list[AccessToken] = tokens) -> AccessToken:
            return tokens.pop()

        async with CommunicationTokenCredential(
            token_refresher=source, proactive_refresh=False, clock=clock
        ) as credential:
            await credential.get_token()
            clock.ahead = 400  # the first has ended
            asking = Asking(partial(halt, partial(credential.get_token_from_thread, LONG)))
            await to_thread.run_sync(halt.is_there.wait, LONG)
            await credential.get_token()
            halt.go_on.set()
            got = await asking.over()
        assert isinstance(got, AccessToken), got
        assert got.token == "second", line
        halted = halt.left <= 0
    assert line > 5


async def test_the_time_limit_holds_while_the_event_loop_stands_still() -> None:
    """It is the thread's own, and not the loop's."""
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever)) as credential:
        for limit in (0, 0.01):
            got = Asking(partial(credential.get_token_from_thread, limit)).wait()
            assert isinstance(got, TimeoutError)
            assert f"{limit:g} seconds" in str(got)
        await waiting(credential, 0)


async def test_the_time_limit_holds_while_the_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a test does, in threads too."""
    monkeypatch.setattr(thread_waiting, "time", SimpleNamespace(monotonic=float))
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever)) as credential:
        got = await Asking(partial(credential.get_token_from_thread, 0.12)).over()
        assert isinstance(got, TimeoutError)


def test_nobody_runs_the_event_loop() -> None:
    """A thread says so instead of waiting for ever."""
    loop = asyncio.new_event_loop()
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))
    loop.run_until_complete(credential.__aenter__())
    got = Asking(credential.get_token_from_thread).wait()
    assert isinstance(got, CredentialUsageError)
    fix = "enter it in the loop that runs meanwhile (in pytest-asyncio, the test has the loop_scope of the fixture)"
    anchor, text = told(got)
    assert anchor == "another-loop"
    assert text == (
        "the event loop in which the credential was entered is open, and nobody runs it, so that a thread would wait "
        f"for ever: {fix}"
    )
    loop.run_until_complete(credential.__aexit__(None, None, None))
    loop.close()


@pytest.mark.parametrize("timeout", ["1", True, object()])
async def test_a_time_limit_that_is_none(timeout: Any) -> None:
    """It is refused before anything is asked."""
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))
    with pytest.raises(TypeError) as of_a_type:
        credential.get_token_from_thread(timeout)
    assert str(of_a_type.value) == f"timeout is a number of seconds, or None, not {type(timeout).__name__}"
    with pytest.raises(
        ValueError, match=r"^timeout is a number of seconds, or None for no limit, not nan\n"
    ) as not_a_number:
        credential.get_token_from_thread(math.nan)
    assert of_a_type.value.__notes__ == not_a_number.value.__notes__ == [f"See {page_of('policy')}"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a loop that is closed unawares
def test_a_loop_that_goes_away_while_a_thread_waits() -> None:
    """The thread notices, though nobody tells it."""
    loop = asyncio.new_event_loop()
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever))

    async def enter() -> None:
        await credential.__aenter__()
        await asyncio.sleep(0)

    loop.run_until_complete(enter())
    asking = Asking(credential.get_token_from_thread)
    loop.close()
    for got in (asking.wait(), Asking(credential.get_token_from_thread).wait()):
        assert isinstance(got, CredentialClosedError)
        assert "the event loop in which the credential was entered has ended" in str(got)
        assert "enter it again in a loop that runs" in str(got)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a loop that is closed unawares
def test_the_thread_of_a_loop_that_has_ended() -> None:
    """It is no event loop's own any more: it gets what any thread gets, and no advice to await something."""
    clock = Ahead()
    loop = asyncio.new_event_loop()
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(300), clock=clock)

    async def enter() -> str:
        await credential.__aenter__()
        return (await credential.get_token()).token

    token = loop.run_until_complete(enter())
    loop.close()
    assert credential.get_token_from_thread().token == token
    clock.ahead = 400
    with pytest.raises(CredentialClosedError, match="in which the credential was entered has ended"):
        credential.get_token_from_thread()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # likewise
def test_another_loop_than_the_one_that_has_ended() -> None:
    """There, a caller who waits is told to enter again, and not to go back to the other one."""
    loop = asyncio.new_event_loop()
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever))
    loop.run_until_complete(credential.__aenter__())
    loop.close()

    async def ask(ask: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(CredentialClosedError, match="in which the credential was entered has ended"):
            await ask()

    for backend in anyio.get_available_backends():
        for method in (credential.get_token, credential.refresh):
            anyio.run(ask, method, backend=backend)
    assert "has ended" in credential.health().reason


def run_sync_of(name: str) -> Callable[..., Any]:
    """A way to call a function in a worker thread."""
    if name == "anyio":
        return to_thread.run_sync
    import trio

    return trio.to_thread.run_sync


@pytest.mark.promise("R7")
@pytest.mark.parametrize("way", ["anyio", "trio"])
async def test_cancelling_the_caller_of_a_worker_thread(way: str, anyio_backend_name: str) -> None:
    """It takes effect at once, and leaves the round alone."""
    if way == "trio" and anyio_backend_name != "trio":
        pytest.skip("trio's own function needs trio")
    source = ScriptedSource(anyio.sleep_forever)
    async with CommunicationTokenCredential(token_refresher=source) as credential, anyio.create_task_group() as group:

        async def ask() -> None:
            await run_sync_of(way)(credential.get_token_from_thread)

        with anyio.fail_after(LONG), anyio.CancelScope() as scope:
            group.start_soon(cancel_when_waiting, credential, scope)  # noqa: ASYNC111 - it is there as long as that
            await ask()
        assert scope.cancelled_caught
        await waiting(credential, 0)
        assert (source.calls, source.in_flight) == (1, 1)


@pytest.mark.parametrize("way", ["anyio", "trio"])
async def test_a_caller_that_was_cancelled_before_its_thread_asks(
    way: str, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts no round, however soon the event loop comes to a request."""
    if way == "trio" and anyio_backend_name != "trio":
        pytest.skip("trio's own function needs trio")
    post = Home.post

    def post_and_wait(home: Home, callback: Callable[[], object]) -> None:
        taken = threading.Event()
        post(home, callback)
        post(home, taken.set)
        taken.wait(LONG)

    monkeypatch.setattr(Home, "post", post_and_wait)
    source = ScriptedSource(3600)
    begun, go_on = threading.Event(), threading.Event()
    async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:

        def work() -> AccessToken:
            begun.set()
            go_on.wait(LONG)
            return credential.get_token_from_thread()

        async with anyio.create_task_group() as group:
            group.start_soon(run_sync_of(way), work)
            await until(begun.is_set)
            group.cancel_scope.cancel()
            go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert source.calls == 0


async def cancel_when_waiting(credential: CommunicationTokenCredential, scope: anyio.CancelScope) -> None:
    await waiting(credential, 1)
    scope.cancel()


async def test_a_thread_waits_like_a_task() -> None:
    """It joins the round, is counted, gets its token, its error, or is told of the end."""
    gate = anyio.Event()

    async def source() -> AccessToken:
        await gate.wait()
        return AccessToken("fetched", time.time() + 3600)

    async with CommunicationTokenCredential(token_refresher=source) as credential:
        asking = [Asking(credential.get_token_from_thread) for _ in range(3)]
        await waiting(credential, 3)
        gate.set()
        for each in asking:
            assert await each.over() is credential.get_token_nowait()

    async with CommunicationTokenCredential(token_refresher=ScriptedSource(OSError("down"))) as credential:
        got = await Asking(credential.get_token_from_thread).over()
        assert isinstance(got, TokenRefreshError)
        assert isinstance(got.__cause__, OSError)

    async with CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever)) as credential:
        asked = Asking(credential.get_token_from_thread)
        await waiting(credential, 1)
    assert isinstance(await asked.over(), CredentialClosedError)


async def test_a_stale_token_is_handed_out_when_the_wait_is_over() -> None:
    """As `get_token()` has it: after `on_demand_wait` seconds of the round."""
    held = AccessToken("held", time.time() + 100)
    policy = RefreshPolicy(on_demand_window=3600, on_demand_wait=0.1)

    clock = Ahead()
    source = ScriptedSource(anyio.sleep_forever)
    async with CommunicationTokenCredential(
        held, token_refresher=source, proactive_refresh=False, policy=policy, clock=clock
    ) as credential:
        clock.ahead = 90
        assert await Asking(credential.get_token_from_thread).over() is held
        assert await Asking(credential.get_token_from_thread).over() is held
        assert (source.calls, source.in_flight) == (1, 1)


async def test_a_stale_token_that_ends_while_a_thread_waits() -> None:
    """The thread goes on waiting for the next."""

    class Counting(Ahead):
        calls = 0

        def time(self) -> float:
            self.calls += 1
            return super().time()

    clock, gate = Counting(), anyio.Event()
    held = AccessToken("held", time.time() + 400)

    async def source() -> AccessToken:
        await gate.wait()
        return AccessToken("fetched", time.time() + 3600)

    policy = RefreshPolicy(on_demand_wait=0.2)
    async with CommunicationTokenCredential(
        held, token_refresher=source, proactive_refresh=False, policy=policy, clock=clock
    ) as credential:
        clock.ahead = 390
        asking = Asking(credential.get_token_from_thread)
        await waiting(credential, 1)
        clock.ahead, calls = 500, clock.calls
        await until(lambda: clock.calls > calls)  # it has lost its patience, and finds nothing to be content with
        gate.set()
        got = await asking.over()
        assert isinstance(got, AccessToken)
        assert got.token == "fetched"


async def test_a_thread_that_leaves_as_it_is_answered() -> None:
    """The answer is nobody's, and nothing of that gets into the event loop."""
    left = threading.Event()

    class Slow(Ahead):
        armed = False

        def time(self) -> float:
            while self.armed and threading.current_thread() is threading.main_thread() and not left.is_set():
                pass
            return super().time()

    clock = Slow()
    async with CommunicationTokenCredential(
        AccessToken("held", time.time() + 400),
        token_refresher=ScriptedSource(3600),
        proactive_refresh=False,
        clock=clock,
    ) as credential:
        clock.ahead = 390
        clock.armed = True

        def ask() -> AccessToken:
            try:
                return credential.get_token_from_thread(0.01)
            finally:
                left.set()

        assert isinstance(await Asking(ask).over(), TimeoutError)
        assert (await credential.get_token()).token


@pytest.mark.parametrize("uvloop", [False, pytest.param(True, marks=NEEDS_UVLOOP)])
def test_without_trio(monkeypatch: pytest.MonkeyPatch, uvloop: bool) -> None:
    """A program that has not loaded trio is not asked about it, whichever loop of asyncio it has."""
    monkeypatch.delitem(sys.modules, "trio", raising=False)

    async def main() -> str:
        source = ScriptedSource(3600, latency=0.2)  # so that the thread has time to look around
        async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
            token = await to_thread.run_sync(credential.get_token_from_thread)
            return (await credential.get_token()).token if token.token else ""

    assert anyio.run(main, backend_options={"use_uvloop": uvloop})
    assert "trio" not in sys.modules


@pytest.mark.promise("R14")
@pytest.mark.parametrize("held", [True, False], ids=["stale", "expired"])
async def test_threads_that_wait_may_be_all_that_a_round_needs(held: bool) -> None:
    """While rounds fail, one thread at most waits for the next, so that a source that needs a thread gets one."""
    limiter = CapacityLimiter(2)  # like an executor on a small machine
    there = threading.Event()  # the service, after an outage
    outcomes: list[object] = []

    async def source() -> str:
        await to_thread.run_sync(int, limiter=limiter)
        if not there.is_set():
            raise OSError("down")
        return make_jwt(7200)

    policy = RefreshPolicy(refresh_timeout=0.5, retry_initial=0.05, retry_max=0.1, on_demand_window=86_000)
    token = AccessToken("held", time.time() + 400) if held else None
    clock = Ahead()
    async with CommunicationTokenCredential(token, token_refresher=source, policy=policy, clock=clock) as credential:
        clock.ahead = 390  # a stale token has little left, and an hour's token much
        begun = credential.statistics().failures

        def endpoint() -> None:
            try:
                outcomes.append(credential.get_token_from_thread())
            except CredentialError as error:
                outcomes.append(error)

        async def serve() -> None:
            while True:
                await to_thread.run_sync(endpoint, limiter=limiter)

        with anyio.fail_after(LONG):
            async with anyio.create_task_group() as group:
                for _ in range(6):
                    group.start_soon(serve)
                await until(lambda: credential.statistics().failures >= begun + 3)
                there.set()
                await until(lambda: credential.statistics().refreshes > 0)
                group.cancel_scope.cancel()
        assert outcomes


def test_a_thread_of_one_loop_may_ask_a_credential_of_another() -> None:
    """Its cancellation is that of its own loop."""
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever))
    with from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(credential):
        for backend in anyio.get_available_backends():

            async def ask() -> bool:
                with anyio.move_on_after(0.05) as scope:
                    await to_thread.run_sync(credential.get_token_from_thread)
                return scope.cancelled_caught

            assert anyio.run(ask, backend=backend)
