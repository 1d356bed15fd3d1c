"""What token sources leave behind, raise again, and are asked for by callers that were cancelled before they began."""

from __future__ import annotations

import asyncio
import gc
from traceback import walk_tb
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from test_refresh import HOUR, a_token, credential_of

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosedError,
    CredentialPool,
    RefreshStarted,
    RefreshSucceeded,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential._common.chains import cut_repeats
from anyio_acs_credential._common.errors import page_of
from anyio_acs_credential._refreshing.source import source_of
from anyio_acs_credential.fleet._record import SharedToken
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import TracebackType

    from anyio_acs_credential import CredentialEvent


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def names_in(traceback: TracebackType | None) -> list[str]:
    return [frame.f_code.co_name for frame, _ in walk_tb(traceback)]


def length(traceback: TracebackType | None) -> int:
    return len(names_in(traceback))


# How a source is asked


@pytest.mark.promise("R85")
async def test_a_life_that_a_source_gives_begins_by_the_clock_of_the_credential(clock: VirtualClock) -> None:
    async def source() -> Any:
        return SimpleNamespace(token="opaque", expires_in=60)

    async with credential_of(source, clock, proactive_refresh=False) as credential:
        await anyio.sleep(HOUR)
        assert (await credential.get_token()).expires_on - clock.time() == pytest.approx(60, abs=1)


async def test_an_observer_is_told_which_tokens_another_process_has_fetched(clock: VirtualClock) -> None:
    succeeded: list[bool] = []

    async def source() -> AccessToken:
        ends = int(clock.time() + HOUR)
        return AccessToken("own", ends) if succeeded else SharedToken("shared", ends)

    def observe(event: CredentialEvent) -> None:
        if isinstance(event, RefreshSucceeded):
            succeeded.append(event.shared)

    async with credential_of(source, clock, proactive_refresh=False, observer=observe) as credential:
        await credential.refresh()
        await credential.refresh()
    assert succeeded == [True, False]


async def test_a_source_runs_in_a_task_that_says_so(clock: VirtualClock) -> None:
    """Where a debugger lists the tasks of a program, the one that hangs in a source is seen."""
    names: list[str | None] = []

    async def source() -> AccessToken:
        names.append(anyio.get_current_task().name)
        return a_token(clock, HOUR)

    async with credential_of(source, clock, proactive_refresh=False) as credential:
        await credential.get_token()
    assert names == ["token source"]


async def test_claims_that_no_callback_takes_are_not_dropped(clock: VirtualClock) -> None:
    """Else its token would seem to meet them."""
    callback = source_of(ScriptedSource(HOUR, clock=clock))
    with pytest.raises(TypeError, match="argument"):
        await callback("claims")
    assert isinstance(await callback(), AccessToken)

    async def takes_them(claims: str | None = None) -> str | None:
        return claims

    assert await source_of(takes_them)("claims") == "claims"


@pytest.mark.parametrize("refresher", ["a", lambda scope: scope], ids=["a text", "an argument"])
def test_what_no_refresher_can_be_leads_to_its_entry(refresher: Any) -> None:
    with pytest.raises(TypeError) as raised:
        source_of(refresher)
    assert raised.value.__notes__ == [f"See {page_of('refresher')}"]


# What a source leaves behind

KEPT: list[object] = []


async def deadline() -> AsyncGenerator[str]:
    with anyio.fail_after(2):
        while True:
            await checkpoint()
            yield "event"  # noqa: ASYNC101, ASYNC119 - what some streams do


async def group() -> AsyncGenerator[str]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 3)
        while True:
            await checkpoint()
            yield "event"  # noqa: ASYNC101, ASYNC119 - what some streams do


async def leave_early(stream: AsyncGenerator[str]) -> None:
    async for _ in stream:
        break


async def keep_unread(stream: AsyncGenerator[str]) -> None:
    KEPT.append(stream)
    await anext(stream)


async def leave_open(*, cancelled: bool) -> None:
    scope = anyio.CancelScope(deadline=anyio.current_time() + 2)
    KEPT.append(scope)
    scope.__enter__()
    if cancelled:
        scope.cancel()


LEFT_BEHIND: dict[str, Callable[[], Awaitable[None]]] = {
    "a deadline in a stream": lambda: leave_early(deadline()),
    "a task group in a stream": lambda: leave_early(group()),
    "a stream that is kept": lambda: keep_unread(deadline()),
    "an open scope": lambda: leave_open(cancelled=False),
    "a cancelled scope": lambda: leave_open(cancelled=True),
}


SCOPES = [what for what in LEFT_BEHIND if "group" not in what]  # with a group, trio itself ends soon


@pytest.fixture
async def ignored(anyio_backend_name: str) -> AsyncGenerator[None]:
    """What asyncio says of streams that it closes itself, in a task that has not opened them."""
    if anyio_backend_name == "asyncio":
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    yield
    KEPT.clear()
    gc.collect()
    await checkpoint()


@pytest.mark.promise("R14")
@pytest.mark.parametrize("what", LEFT_BEHIND)
@pytest.mark.parametrize("failing", [False, True], ids=["then answers", "then fails"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.usefixtures("ignored")
async def test_what_a_source_leaves_behind_hurts_nobody(clock: VirtualClock, what: str, failing: bool) -> None:
    """Its round has its outcome; the refreshing, the block and the credential's callers go on."""
    tidy = True

    async def source() -> AccessToken:
        if not tidy:
            await LEFT_BEHIND[what]()
            if failing:
                raise OSError("down")
        return a_token(clock, HOUR, "fetched")

    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        tidy = False
        for _ in range(3):
            if failing:
                with pytest.raises(TokenRefreshError) as caught:
                    await credential.refresh()
                assert isinstance(caught.value.__cause__, OSError)
            else:
                assert (await credential.refresh()).token == "fetched"
        await anyio.sleep(10)  # past the deadlines that were left behind
        assert credential.get_token_nowait().token
        tidy = True
        await anyio.sleep(2 * HOUR)
        assert (await credential.get_token()).token == "fetched"
        assert credential.statistics().consecutive_failures == 0


@pytest.mark.promise("R44")
@pytest.mark.parametrize("what", SCOPES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.usefixtures("ignored")
async def test_leaving_while_a_source_has_left_something_behind(clock: VirtualClock, what: str) -> None:
    """The round ends with the block, and so does one that has taken too long."""

    async def source() -> AccessToken:
        await LEFT_BEHIND[what]()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)
        return a_token(clock, HOUR)

    for wait in (1, 40):
        async with credential_of(source, clock) as credential:
            await anyio.sleep(wait)
        with pytest.raises(CredentialClosedError):
            await credential.get_token()


@pytest.mark.usefixtures("ignored")
async def test_asyncios_own_cancellation_while_something_was_left_behind(
    anyio_backend_name: str, clock: VirtualClock
) -> None:
    """It ends the refresh task, as it would without."""
    if anyio_backend_name != "asyncio":
        pytest.skip("only asyncio has it")
    begun = anyio.Event()

    async def source() -> AccessToken:
        await leave_open(cancelled=False)
        begun.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with CommunicationTokenCredential(token_refresher=source, clock=clock) as credential:
        await begun.wait()
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "access token refresh")
        task.cancel()
        with pytest.raises(CredentialClosedError):
            await credential.get_token()


@pytest.mark.promise("R14")
@pytest.mark.parametrize("tidies", [False, True])
async def test_a_late_source_is_told_as_late_whatever_its_nursery_makes_of_that(
    clock: VirtualClock, anyio_backend_name: str, tidies: bool
) -> None:
    """Trio's own nurseries, which its `open_tcp_stream` has, raise a group when two of their tasks are cancelled."""
    if anyio_backend_name != "trio":
        pytest.skip("only trio has it")
    import trio

    async def connect() -> None:
        try:
            await trio.sleep_forever()
        finally:
            if tidies:
                raise OSError("closed")

    async def source() -> AccessToken:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(connect)
        raise AssertionError

    async with credential_of(source, clock, proactive_refresh=False) as credential:
        with pytest.raises(TokenRefreshError) as caught:
            await credential.get_token()
        assert isinstance(caught.value.__cause__, TokenSourceError)
        assert "gave no answer within 30 s" in str(caught.value.__cause__)


# What a source raises again


@pytest.mark.promise("R6")
async def test_an_exception_that_is_raised_again_does_not_grow(clock: VirtualClock) -> None:
    """A stored failure, as a circuit breaker has one, shows how it was raised this time, and no more."""
    stored = ConnectionError("down")

    async def source() -> AccessToken:
        await checkpoint()
        raise stored

    async with credential_of(source, clock) as credential:
        lengths = set()
        for _ in range(20):
            with pytest.raises(TokenRefreshError) as caught:
                await credential.refresh()
            assert caught.value.__cause__ is stored
            lengths.add(length(stored.__traceback__))
        assert len(lengths) == 1
        assert names_in(stored.__traceback__)[-1] == "source"


@pytest.mark.promise("R6")
@pytest.mark.parametrize("how", ["cause", "context", "group"])
async def test_neither_does_one_that_is_inside_another(clock: VirtualClock, how: str) -> None:
    """It was first raised elsewhere, as what a circuit breaker stores was. What it shows ends at its newest raise."""
    stored = ConnectionError("down")
    calls = 0

    def connect() -> None:
        raise stored

    async def call() -> None:
        nonlocal calls
        calls += 1
        await checkpoint()
        if calls == 1:
            connect()
        raise stored

    async def source() -> AccessToken:
        if how == "group":
            async with anyio.create_task_group() as group:  # noqa: ASYNC112 - its exception group is what counts
                group.start_soon(call)
        try:
            await call()
        except ConnectionError as error:
            if how == "context":
                raise TokenSourceError("the backend is down")  # noqa: B904 - as a careless program has it
            raise TokenSourceError("the backend is down") from error
        raise AssertionError

    async with credential_of(source, clock) as credential:
        lengths = []
        for _ in range(20):
            with pytest.raises(TokenRefreshError):
                await credential.refresh()
            lengths.append(length(stored.__traceback__))
        assert len(set(lengths[3:])) == 1
        assert max(lengths) < 10
        assert names_in(stored.__traceback__)[-1] == "call"


async def test_a_recursion_that_catches_what_it_raises_stays_whole(clock: VirtualClock) -> None:
    """Each raise of it shows every step, whether it is a new exception or the same again."""
    stored = ConnectionError("down")

    async def walk(steps: int, error: ConnectionError) -> AccessToken:
        try:
            await checkpoint()
            if steps == 0:
                raise error
            return await walk(steps - 1, error)
        except ConnectionError as caught:
            if steps < 5:
                raise
            raise TokenSourceError("the backend is down") from caught

    raised = [ConnectionError("new"), stored, stored, stored, stored]
    rest = iter(raised)

    async with credential_of(lambda: walk(5, next(rest)), clock) as credential:
        for error in raised:
            with pytest.raises(TokenRefreshError):
                await credential.refresh()
            names = names_in(error.__traceback__)
            assert [name for name in names if name != "answer"] == ["walk"] * 6


async def test_neither_does_what_an_observer_raises_again(clock: VirtualClock) -> None:
    """Nor what makes a pool's credential fail."""
    stored = ValueError("seen")

    def observe(event: CredentialEvent) -> None:
        if isinstance(event, RefreshStarted):
            raise stored

    lengths = set()
    async with credential_of(ScriptedSource(HOUR, clock=clock), clock, observer=observe) as credential:
        for _ in range(5):
            await credential.refresh()
            lengths.add(length(stored.__traceback__))
    assert len(lengths) == 1

    def make(_key: str) -> CommunicationTokenCredential:
        raise stored

    lengths.clear()
    async with CredentialPool(make) as pool:
        for use in range(5):
            with pytest.raises(ValueError, match="seen"):
                async with pool.use("alice"):
                    raise AssertionError
            if use > 0:  # the first has not met what the observer's rounds left in it
                lengths.add(length(stored.__traceback__))
    assert len(lengths) == 1


def test_cutting_what_was_never_raised() -> None:
    """There is nothing to cut."""
    error = OSError()
    cut_repeats(error)
    assert error.__traceback__ is None


# Callers that are cancelled before they begin


@pytest.mark.promise("R7")
@pytest.mark.parametrize("call", ["get_token", "refresh", "rejected", "claims", "info"])
@pytest.mark.parametrize("held", [True, False], ids=["held", "none"])
async def test_a_call_that_is_cancelled_before_it_begins_starts_nothing(
    clock: VirtualClock, call: str, held: bool
) -> None:
    """The first thing that each does is to look whether it was cancelled."""
    source = ScriptedSource(HOUR, clock=clock)
    token = a_token(clock, HOUR) if held else None
    async with credential_of(source, clock, token=token, proactive_refresh=False) as credential:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "get_token": credential.get_token,
            "refresh": credential.refresh,
            "rejected": lambda: credential.refresh(rejected=token),
            "claims": lambda: credential.get_token(claims="{}"),
            "info": lambda: credential.get_token_info(options={"claims": "{}"}),
        }
        with anyio.CancelScope() as scope:
            scope.cancel()
            await calls[call]()
            raise AssertionError
        assert scope.cancelled_caught
        await anyio.sleep(1)
        assert source.calls == 0


# A clock that stands still


async def test_a_wait_for_a_stale_token_is_measured_by_the_event_loop(clock: VirtualClock) -> None:
    """A clock that a test has frozen makes no caller wait for the whole round."""

    class Still:
        now = clock.time()

        def time(self) -> float:
            return self.now

        monotonic = time

    still = Still()
    source = ScriptedSource(HOUR, latency=25, clock=clock)
    held = AccessToken("held", still.now + 400)
    async with CommunicationTokenCredential(
        held, token_refresher=source, proactive_refresh=False, clock=still
    ) as credential:
        still.now += 390
        before = anyio.current_time()
        assert await credential.get_token() is held
        assert anyio.current_time() - before == pytest.approx(5, abs=0.1)
        assert await credential.get_token() is held
        assert anyio.current_time() - before == pytest.approx(5, abs=0.1)
