"""Entering, leaving, and being cancelled at every point between: nothing hangs, nothing leaks, nothing is swallowed."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
import traceback
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from cancelling import Program, cancelled_at_every_checkpoint, tasks
from conftest import BACKENDS

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosedError,
    CredentialUsageError,
    TokenRefreshError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

asyncio_only = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(backend, id=name) for name, backend in BACKENDS.items() if backend[0] == "asyncio"]
)
NEVER = 4_000_000_000
TOKEN = AccessToken("held", NEVER)


async def quick() -> AccessToken:
    await checkpoint()
    return AccessToken("fetched", NEVER)


async def hanging() -> AccessToken:
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) if sys.platform == "linux" else 0


@dataclass
class Run(Program):
    """A program that uses a credential in every way, step after step, while others wait for the same one."""

    credential: CommunicationTokenCredential = field(
        default_factory=lambda: CommunicationTokenCredential(token_refresher=quick, proactive_refresh=False)
    )
    answers: int = 0

    async def step(self, call: Callable[[], Awaitable[object]]) -> None:
        """Every call is a point of cancellation: one that begins cancelled does not return."""
        cancelled = self.scope.cancel_called
        await call()
        assert not cancelled

    async def program(self, others: anyio.abc.TaskGroup) -> None:
        async with self.credential:
            others.start_soon(self.other)
            try:
                await self.step(self.credential.get_token)
                await self.step(self.credential.refresh)
                await self.step(self.credential.get_token)
            finally:
                with anyio.CancelScope(shield=True):
                    assert (await self.credential.refresh()).token == "fetched"
            await self.step(self.credential.close)
        async with self.credential:
            await self.step(self.credential.refresh)
        self.finished = True

    async def other(self) -> None:
        for ask in (self.credential.get_token, self.credential.refresh):
            with suppress(CredentialClosedError):
                await ask()
            self.answers += 1


@pytest.mark.promise("R44")
async def test_cancelled_at_every_checkpoint() -> None:
    """Wherever it strikes, cancellation ends the program, its cleanup still gets a token, and the others an answer."""
    cancelled = 0
    async for run in cancelled_at_every_checkpoint(Run):
        assert run.answers in {0, 2}
        if not run.finished:
            cancelled += 1
            with pytest.raises(CredentialUsageError):
                await run.credential.get_token()
    assert cancelled > 8


@pytest.mark.promise("R44")
@asyncio_only
async def test_cancelled_natively_at_every_step() -> None:
    """`asyncio.Task.cancel()` of the host, at each step of the event loop, ends it and is not swallowed."""
    for ticks in count():
        credential = CommunicationTokenCredential(token_refresher=quick)
        host = asyncio.create_task(use(credential))
        for _ in range(ticks):
            await asyncio.sleep(0)
        cancelling = host.cancel()
        await asyncio.wait([host], timeout=40)
        assert host.done()
        assert host.cancelled() == cancelling
        assert credential.statistics().waiting == 0
        if not cancelling:
            break
    assert ticks > 5


async def use(credential: CommunicationTokenCredential) -> None:
    async with credential:
        await credential.get_token()
        await credential.refresh()


@pytest.mark.promise("R44")
@asyncio_only
async def test_asyncio_timeout_around_the_block() -> None:
    """A host that is timed out by asyncio's own means gets TimeoutError, and its task is cancelled no further."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), CommunicationTokenCredential(token_refresher=hanging) as credential:
            await credential.get_token()
    host = asyncio.current_task()
    assert host is not None
    assert host.cancelling() == 0


@pytest.mark.promise("R13")
@asyncio_only
@pytest.mark.parametrize("token", [None, TOKEN], ids=["none held", "one held"])
async def test_refresh_task_cancelled_natively(token: AccessToken | None) -> None:
    """Who cancels the refresh task closes the credential: all are told, and the block goes on and is left as ever."""
    body_went_on = False
    async with CommunicationTokenCredential(token, token_refresher=hanging, proactive_refresh=False) as credential:
        async with anyio.create_task_group() as group:
            group.start_soon(expect_closed, credential.refresh)
            await anyio.wait_all_tasks_blocked()
            [task] = [task for task in asyncio.all_tasks() if task.get_name() == "access token refresh"]
            task.cancel()
        for ask in (credential.get_token, credential.refresh):
            await expect_closed(ask)
        with pytest.raises(CredentialClosedError):
            credential.get_token_nowait()
        body_went_on = True
    assert body_went_on


async def expect_closed(ask: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(CredentialClosedError):
        await ask()


@pytest.mark.promise("R41")
async def test_a_thousand_times_entered_and_left() -> None:
    """No task, thread or file is left behind.

    It answers Azure/azure-sdk-for-python#8990.
    """
    credential = CommunicationTokenCredential(token_refresher=quick)
    await use(credential)
    gc.collect()
    before, threads = (tasks(), open_files()), set(threading.enumerate())
    for _ in range(1_000):
        async with credential:
            await credential.get_token()
    gc.collect()
    assert (tasks(), open_files()) == before
    assert set(threading.enumerate()) <= threads  # of other tests' idle worker threads, some may have ended meanwhile


@pytest.mark.promise("R41")
@pytest.mark.parametrize("proactive", [True, False])
async def test_left_while_the_source_hangs(proactive: bool) -> None:
    """Leaving and closing wait for nothing, and a caller that waits is told."""
    credential = CommunicationTokenCredential(TOKEN, token_refresher=hanging, proactive_refresh=proactive)
    with anyio.fail_after(40):
        async with credential, anyio.create_task_group() as group:
            group.start_soon(expect_closed, credential.refresh)
            await anyio.wait_all_tasks_blocked()
            await credential.close()


@pytest.mark.promise("R42")
async def test_left_while_a_thousand_wait() -> None:
    """Each gets an exception of its own that says that the credential is closed."""
    credential = CommunicationTokenCredential(token_refresher=hanging)
    errors: list[CredentialClosedError] = []

    async def wait() -> None:
        with pytest.raises(CredentialClosedError) as caught:
            await credential.get_token()
        errors.append(caught.value)

    with anyio.fail_after(50):
        async with anyio.create_task_group() as group, credential:
            for _ in range(1_000):
                group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert credential.statistics().waiting == 1_000
    assert len({id(error) for error in errors}) == 1_000


async def test_a_source_is_told_why_it_is_cancelled() -> None:
    """The cancellation that ends its call says that the credential is closing."""
    told: list[str] = []

    async def source() -> AccessToken:
        try:
            return await hanging()
        except anyio.get_cancelled_exc_class() as cancellation:
            told.append(str(cancellation))
            raise

    async with CommunicationTokenCredential(token_refresher=source):
        await anyio.wait_all_tasks_blocked()
    assert len(told) == 1
    assert re.search(r"\bthe credential is closing\b", told[0])


BODY_ERRORS = [
    ValueError("plain"),
    ExceptionGroup("the body's own", [ValueError("one"), ExceptionGroup("inner", [OSError("two")])]),
    BaseExceptionGroup("with an interrupt", [KeyboardInterrupt()]),
    StopIteration("value"),
    StopAsyncIteration(),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError("by hand"),
    CredentialClosedError("the body's own"),
]


@pytest.mark.promise("R43")
@pytest.mark.parametrize("error", BODY_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("source", [quick, hanging, None])
async def test_the_bodys_exception_leaves_as_it_is(error: BaseException, source: Any) -> None:
    """It is the same object, in no group, with nothing added to it."""
    error.__traceback__ = error.__context__ = None
    credential = (
        CommunicationTokenCredential(TOKEN, token_refresher=source) if source else CommunicationTokenCredential(TOKEN)
    )
    caught: BaseException | None = None
    try:
        async with credential:
            await checkpoint()
            raise error  # noqa: TRY301 - here is where it is raised
    except BaseException as raised:  # noqa: BLE001, ASYNC103 - whatever it is, it is compared
        caught = raised
    assert caught is error
    assert (error.__context__, error.__cause__, getattr(error, "__notes__", None)) == (None, None, None)
    with pytest.raises(CredentialClosedError):
        await credential.get_token()


@pytest.mark.promise("R43")
async def test_a_cancellation_from_outside_leaves_as_it_is() -> None:
    """It is the one that the body was struck by, with no group of ours behind it."""
    with anyio.CancelScope() as scope:
        try:
            async with CommunicationTokenCredential(TOKEN, token_refresher=quick):
                scope.cancel()
                try:
                    await checkpoint()
                except anyio.get_cancelled_exc_class() as error:
                    struck = error
                    raise
        except anyio.get_cancelled_exc_class() as error:
            left, behind = error, (error.__context__, error.__cause__)
            raise
    assert left is struck
    assert behind == (None, None)


async def test_the_traceback_of_the_bodys_exception_shows_the_body() -> None:
    """What led to it can be read, though it has passed through the block."""

    def body() -> None:
        raise ValueError("here")

    with pytest.raises(ValueError, match="here") as caught:
        async with CommunicationTokenCredential(TOKEN, token_refresher=quick):
            body()
    assert "body" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


async def leaked() -> AccessToken:
    """Lets out the cancellation of a scope of its own, as a library with a bug does."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class() as stray:  # noqa: ASYNC103 - that it is wrong is the point
            found = stray
    raise found


async def native() -> AccessToken:
    await checkpoint()
    raise asyncio.CancelledError


async def grouped() -> AccessToken:
    await checkpoint()
    raise BaseExceptionGroup("several", [ValueError("one"), asyncio.CancelledError()])


@pytest.mark.promise("R14", "R44")
@pytest.mark.parametrize("source", [leaked, native, grouped])
async def test_a_stray_cancellation_fails_its_round_alone(source: Callable[[], Awaitable[AccessToken]]) -> None:
    """What the source raises that nobody asked for is a failure: the task, the block and the held token stay."""
    raised: list[BaseException] = []

    async def noted() -> AccessToken:
        try:
            return await source()
        except BaseException as stray:
            raised.append(stray)
            raise

    async with CommunicationTokenCredential(TOKEN, token_refresher=noted, proactive_refresh=False) as credential:
        for failures in (1, 2):
            with pytest.raises(TokenRefreshError) as failed:
                await credential.refresh()
            assert failed.value.__cause__ is raised[-1]
            assert await credential.get_token() is TOKEN
            assert credential.statistics().failures == failures


DEADLY = [KeyboardInterrupt(), SystemExit(3), BaseExceptionGroup("several", [ValueError("one"), KeyboardInterrupt()])]


@pytest.mark.promise("R45")
@pytest.mark.parametrize("backend", anyio.get_available_backends())
@pytest.mark.parametrize("waits", [True, False], ids=["body waits for it", "body sleeps"])
@pytest.mark.parametrize("error", DEADLY, ids=lambda error: type(error).__name__)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_ends_a_program_passes_through(backend: str, waits: bool, error: BaseException) -> None:
    """An interrupt or an exit in the source leaves the block as the same object, also where the body waits for it."""

    async def source() -> AccessToken:
        await checkpoint()
        raise error

    async def main() -> None:
        async with CommunicationTokenCredential(token_refresher=source) as credential:
            await (credential.get_token() if waits else anyio.sleep_forever())

    caught: BaseException | None = None
    try:
        anyio.run(main, backend=backend)
    except BaseException as raised:  # noqa: BLE001, ASYNC103 - whatever it is, it is compared
        caught = raised
    assert caught is error


@pytest.mark.promise("R45")
@pytest.mark.parametrize("backend", anyio.get_available_backends())
@pytest.mark.parametrize("leaves", [True, False], ids=["leaving a scope open", "leaving nothing"])
@pytest.mark.parametrize("error", DEADLY, ids=lambda error: type(error).__name__)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_ends_a_program_passes_through_closing(backend: str, leaves: bool, error: BaseException) -> None:
    """It leaves the block as well where it strikes the source as that tidies up, when the credential closes."""

    async def source() -> AccessToken:
        try:
            await anyio.sleep_forever()
        finally:
            if leaves:
                anyio.CancelScope().__enter__()
            raise error

    async def main() -> None:
        async with CommunicationTokenCredential(token_refresher=source):
            await anyio.wait_all_tasks_blocked()

    caught: BaseException | None = None
    try:
        anyio.run(main, backend=backend)
    except BaseException as raised:  # noqa: BLE001, ASYNC103 - whatever it is, it is compared
        caught = raised
    if isinstance(error, BaseExceptionGroup) and isinstance(caught, BaseExceptionGroup):
        assert caught.exceptions == error.exceptions  # trio makes a group anew that passes a cancelled scope
    else:
        assert caught is error


@pytest.mark.promise("R46")
async def test_entered_twice() -> None:
    """Entering an open credential is refused at once, and harms nothing."""
    async with CommunicationTokenCredential(token_refresher=quick) as credential:
        with pytest.raises(CredentialUsageError, match="open already"):
            await credential.__aenter__()
        async with anyio.create_task_group() as group:  # noqa: ASYNC112 - another task is the point
            group.start_soon(expect_refusal, credential)
        assert (await credential.get_token()).token == "fetched"


async def expect_refusal(credential: CommunicationTokenCredential) -> None:
    with pytest.raises(CredentialUsageError, match="open already"):
        async with credential:
            pass


@pytest.mark.promise("R46")
async def test_left_twice_and_entered_again() -> None:
    """Leaving what is not open is refused, and a credential that was left works when it is entered again."""
    credential = CommunicationTokenCredential(token_refresher=quick)
    for _ in range(2):
        with pytest.raises(CredentialUsageError, match="left, and never entered"):
            await credential.__aexit__(None, None, None)
        await use(credential)
        with pytest.raises(CredentialClosedError):
            await credential.get_token()


@pytest.mark.promise("R47")
async def test_in_an_exit_stack() -> None:
    """Several credentials of one stack are left in reverse order, each of them usable until then."""
    credentials = [CommunicationTokenCredential(token_refresher=quick) for _ in range(3)]
    async with AsyncExitStack() as stack:
        for credential in credentials:
            await stack.enter_async_context(credential)
        stack.push_async_callback(use_all, credentials)
    for credential in credentials:
        with pytest.raises(CredentialClosedError):
            await credential.get_token()


async def use_all(credentials: list[CommunicationTokenCredential]) -> None:
    for credential in credentials:
        await credential.get_token()


@pytest.mark.promise("R47")
async def test_one_inside_the_other() -> None:
    """The inner one's source may ask the outer one, up to its end and beyond the body's error."""
    outer = CommunicationTokenCredential(token_refresher=quick)
    inner = CommunicationTokenCredential(token_refresher=outer.get_token)
    with pytest.raises(ValueError, match="body"):  # noqa: PT012 - it is the blocks that raise
        async with outer, inner:
            assert await inner.get_token() is await outer.get_token()
            raise ValueError("body")


@pytest.fixture
async def opened() -> AsyncIterator[CommunicationTokenCredential]:
    async with CommunicationTokenCredential(token_refresher=quick) as credential:
        yield credential


@pytest.mark.promise("R47")
async def test_in_a_fixture(opened: CommunicationTokenCredential) -> None:
    """A fixture of anyio's plugin may keep it open around a test."""
    assert (await opened.get_token()).token == "fetched"
    assert (await opened.refresh()).token == "fetched"


@pytest.mark.promise("R14")
@asyncio_only
async def test_a_cancellation_that_a_source_swallowed_is_over() -> None:
    """A source that cancelled itself once, and lets out a stray cancellation later, fails that round and no more."""
    calls = 0

    async def source() -> AccessToken:
        nonlocal calls
        calls += 1
        if calls == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:  # noqa: ASYNC103 - that it is swallowed is the point
                return TOKEN  # noqa: ASYNC104 - likewise
        if calls == 2:
            raise asyncio.CancelledError
        return AccessToken("third", 4_000_000_000)

    async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
        assert await credential.get_token() is TOKEN
        with pytest.raises(TokenRefreshError):
            await credential.refresh()
        assert (await credential.refresh()).token == "third"
