"""The credential's surface: what it takes, what it gives, and what it says when it is used wrongly."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import gc
import inspect
import logging
import pickle
import threading
import time
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import from_thread, to_thread

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosed,
    CredentialClosedError,
    CredentialEvent,
    CredentialNotEnteredError,
    CredentialUsageError,
    InvalidTokenError,
    RefreshFailed,
    RefreshPolicy,
    RefreshStarted,
    RefreshSucceeded,
    TokenExpired,
    TokenRefreshError,
    TokenSourceError,
    TokenState,
    TokenUnavailableError,
)
from anyio_acs_credential._common.errors import page_of
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, make_jwt, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LATER = 4_102_444_800

in_virtual_time = pytest.mark.parametrize("anyio_backend", virtual_time_backends())


def valid(text: str = "held") -> AccessToken:
    return AccessToken(text, LATER)


async def hour() -> str:
    await anyio.lowlevel.checkpoint()
    return make_jwt()


class Awaited:
    """Called like a function, with a coroutine as its result."""

    async def __call__(self, event: object) -> None:
        raise NotImplementedError


# Construction


@pytest.mark.promise("R52")
def test_a_copy_of_a_credential_is_itself_and_none_goes_through_pickle() -> None:
    """Settings that hold one can be copied; a second holder of the same token would refresh it a second time."""
    credential = CommunicationTokenCredential(valid())
    assert copy.copy(credential) is credential
    assert copy.deepcopy([credential])[0] is credential
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(credential)


@pytest.mark.parametrize(
    ("arguments", "error", "fix"),
    [
        ({}, TypeError, "give a token, or a token_refresher"),
        ({"token": ""}, InvalidTokenError, "blank"),
        ({"token": "Bearer abc"}, InvalidTokenError, "Bearer"),
        ({"token": " abc"}, InvalidTokenError, "white space"),
        ({"token": "opaque"}, InvalidTokenError, r"AccessToken\(token, expires_on\)"),
        ({"token": "a.b.c.d.e"}, InvalidTokenError, "JWE"),
        ({"token": b"abc"}, InvalidTokenError, "not bytes"),
        ({"token": 5}, InvalidTokenError, "not int"),
        ({"token": 5, "token_refresher": hour}, InvalidTokenError, "not int"),
        ({"token_refresher": "text"}, TypeError, "cannot be called"),
        ({"token_refresher": lambda scope: scope}, TypeError, "functools.partial"),
        ({"token_refresher": hour, "proactive_refresh": 1}, TypeError, "True or False"),
        ({"token_refresher": hour, "policy": None}, TypeError, "RefreshPolicy"),
        ({"token_refresher": hour, "observer": "print"}, TypeError, "a function"),
        ({"token_refresher": hour, "observer": hour}, TypeError, "plain function"),
        ({"token_refresher": hour, "observer": Awaited()}, TypeError, "plain function"),
        ({"token_refresher": hour, "observer": lambda: None}, TypeError, "called with an event, which does not fit"),
        ({"token_refresher": hour, "observer": lambda _event, _more: None}, TypeError, "called with an event"),
        ({"token_refresher": hour, "clock": object()}, TypeError, r"time\(\) and monotonic\(\)"),
        ({"token_refresher": hour, "clock": VirtualClock}, TypeError, "not the class VirtualClock"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_given(
    arguments: dict[str, Any], error: type[Exception], fix: str
) -> None:
    """Each with a typed error that names the fix.

    It answers Azure/Communication#53.
    """
    with pytest.raises(error, match=fix):
        CommunicationTokenCredential(**arguments)


class Refresher:
    def __init__(self) -> None:
        self.token = valid("method")

    async def fetch(self, prefix: str = "") -> AccessToken:
        await anyio.lowlevel.checkpoint()
        return AccessToken(prefix + self.token.token, LATER)

    async def __call__(self) -> SimpleNamespace:
        await anyio.lowlevel.checkpoint()
        return SimpleNamespace(token="object", expires_on=LATER)


class WithoutSignature(Refresher):
    __signature__ = "none that inspect can read"


@pytest.mark.parametrize(
    ("refresher", "text"),
    [
        (Refresher().fetch, "method"),
        (functools.partial(Refresher.fetch, Refresher(), prefix="x"), "xmethod"),
        (lambda: Refresher().fetch(), "method"),
        (Refresher(), "object"),
        (WithoutSignature(), "object"),
    ],
)
async def test_whatever_is_called_without_arguments_and_awaited_is_a_refresher(
    refresher: Callable[[], Awaitable[Any]], text: str
) -> None:
    """A bound method, a partial, a lambda that returns a coroutine, an object."""
    async with CommunicationTokenCredential(token_refresher=refresher) as credential:
        assert (await credential.get_token()).token == text


# A token that you already have


async def test_a_static_token_is_handed_out() -> None:
    """It needs no block, and its arguments are ignored as azure-core's clients need it."""
    text = make_jwt()
    credential = CommunicationTokenCredential(text)
    assert (await credential.get_token("scope", claims="{}", tenant_id="t")).token == text
    assert credential.get_token_nowait().token == text
    assert credential.get_token_from_thread().token == text
    async with credential:
        assert (await credential.get_token()).token == text


async def test_a_static_token_that_has_expired() -> None:
    """It raises what says so, whichever way it is asked for."""
    credential = CommunicationTokenCredential(AccessToken("ended", 5))
    with pytest.raises(TokenUnavailableError, match="has expired"):
        await credential.get_token()
    with pytest.raises(TokenUnavailableError, match="token_refresher"):
        credential.get_token_nowait()
    with pytest.raises(TokenUnavailableError):
        credential.get_token_from_thread()


async def test_a_static_token_cannot_be_refreshed() -> None:
    """Asked to, it says what could."""
    credential = CommunicationTokenCredential(valid())
    with pytest.raises(TokenUnavailableError, match="token_refresher"):
        await credential.refresh()
    await credential.close()
    with pytest.raises(CredentialClosedError):
        await credential.refresh(rejected="held")


async def test_a_static_credential_closes() -> None:
    """After its block, or close(), it hands out nothing; entered again, it does."""
    credential = CommunicationTokenCredential(valid())
    async with credential:
        await credential.close()
        with pytest.raises(CredentialClosedError):
            await credential.get_token()
    with pytest.raises(CredentialClosedError):
        credential.get_token_nowait()
    async with credential:
        assert await credential.get_token() == valid()


async def test_a_static_credential_is_no_task() -> None:
    """There is nothing to renew, in its block as outside."""
    before = {task.id for task in anyio.get_running_tasks()}
    async with CommunicationTokenCredential(valid()):
        assert {task.id for task in anyio.get_running_tasks()} == before


async def test_a_static_reads_checkpoint() -> None:
    """A cancelled task gets no further than its next read."""
    credential = CommunicationTokenCredential(valid())
    with anyio.CancelScope() as scope:
        scope.cancel()
        await credential.get_token()
        pytest.fail("the read did not notice the cancellation")
    assert scope.cancelled_caught


# Before, after, twice


@pytest.mark.promise("R13", "R46")
async def test_a_refreshing_credential_works_inside_its_block_only() -> None:
    """Before it and after it, each call raises at once what names the fix."""
    credential = CommunicationTokenCredential(valid(), token_refresher=hour)
    await _refuses_everything(credential, CredentialNotEnteredError, "async with")
    async with credential:
        assert await credential.get_token() == valid()
    await _refuses_everything(credential, CredentialClosedError, "closed")


async def _refuses_everything(credential: CommunicationTokenCredential, error: type[Exception], fix: str) -> None:
    with pytest.raises(error, match=fix):
        await credential.get_token()
    with pytest.raises(error, match=fix):
        await credential.get_token_info()
    with pytest.raises(error, match=fix):
        await credential.refresh()
    with pytest.raises(error, match=fix):
        credential.get_token_nowait()
    with pytest.raises(error, match=fix):
        credential.get_token_from_thread()
    with pytest.raises(error, match=fix):
        credential.updates()


@pytest.mark.promise("R46")
async def test_entering_twice() -> None:
    """An open credential is not entered again, nor by two tasks at once; a closed one is."""
    credential = CommunicationTokenCredential(token_refresher=hour)
    async with credential:
        with pytest.raises(CredentialUsageError, match="open already"):
            await credential.__aenter__()
        assert (await credential.get_token()).token
    with pytest.raises(CredentialUsageError, match="left, and never entered"):
        await credential.__aexit__(None, None, None)
    async with credential:
        assert (await credential.get_token()).token


async def test_a_held_token_outlives_its_block() -> None:
    """Entered again, a credential begins with the token that it had."""
    source = ScriptedSource(3600)
    credential = CommunicationTokenCredential(token_refresher=source)
    async with credential:
        token = await credential.get_token()
    async with credential:
        assert await credential.get_token() is token
    assert source.calls == 1


async def test_a_block_that_fails_to_open_can_be_tried_again() -> None:
    """An error on entering leaves the credential as it was."""

    class Broken:
        monotonic = staticmethod(time.monotonic)

        def time(self) -> float:
            if failing:
                raise OSError("no clock")
            return time.time()

    failing = False
    credential = CommunicationTokenCredential(valid(), token_refresher=hour, clock=Broken())
    failing = True
    with pytest.raises(OSError, match="no clock"):
        async with credential:
            await anyio.sleep_forever()
    failing = False
    async with credential:
        assert await credential.get_token() == valid()


@pytest.mark.promise("R40")
@pytest.mark.parametrize("arguments", [{"token": valid()}, {"token_refresher": hour}])
def test_a_credential_that_was_never_entered_leaves_nothing(arguments: dict[str, Any]) -> None:
    """Made and dropped, it has started no thread and says nothing."""
    threads = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CommunicationTokenCredential(**arguments)
        gc.collect()
    assert set(threading.enumerate()) <= threads


async def test_close_ends_refreshing_from_inside() -> None:
    """Whoever waits is told, later calls too, and doing it again does nothing."""
    source = ScriptedSource(anyio.sleep_forever)
    errors: list[BaseException] = []

    async def wait() -> None:
        try:
            await credential.get_token()
        except CredentialClosedError as error:
            errors.append(error)

    async with CommunicationTokenCredential(token_refresher=source) as credential:
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert credential.statistics().waiting == 2
            await credential.close()
            await credential.close()
        assert len({id(error) for error in errors}) == 2
        assert source.in_flight == 0
        with pytest.raises(CredentialClosedError):
            await credential.get_token()
        with pytest.raises(CredentialClosedError):
            await credential.refresh()


# Threads and other event loops


@pytest.mark.promise("R13")
async def test_from_a_thread() -> None:
    """A worker thread gets the token that the event loop would give, also where that has to be fetched.

    It answers openai/openai-python#350.
    """
    source = ScriptedSource(3600)
    async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
        token = await to_thread.run_sync(credential.get_token_from_thread)
        assert token is await credential.get_token()
        assert await to_thread.run_sync(credential.get_token_nowait) is token


async def test_from_a_thread_a_token_that_has_ended_is_replaced() -> None:
    """Only a fresh one is given without asking the event loop."""
    credential = CommunicationTokenCredential(AccessToken("ended", 5), token_refresher=hour, proactive_refresh=False)
    async with credential:
        token = await to_thread.run_sync(credential.get_token_from_thread)
        assert token is await credential.get_token()


async def test_from_a_thread_of_somebody_elses() -> None:
    """A thread that anyio did not start gets it as well."""
    got: list[AccessToken] = []
    async with CommunicationTokenCredential(token_refresher=hour) as credential:
        thread = threading.Thread(target=lambda: got.append(credential.get_token_from_thread(30)))
        thread.start()
        await to_thread.run_sync(thread.join)
        assert got == [await credential.get_token()]


async def test_from_a_thread_within_a_time() -> None:
    """The time-out is the thread's own: the round goes on."""
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever)) as credential:
        with pytest.raises(TimeoutError):
            await to_thread.run_sync(credential.get_token_from_thread, 0.01)


@pytest.mark.promise("R13")
async def test_from_the_event_loops_own_thread() -> None:
    """It would wait for itself, and says so at once."""
    async with CommunicationTokenCredential(token_refresher=hour) as credential:
        with pytest.raises(CredentialUsageError, match=r"await get_token\(\)"):
            credential.get_token_from_thread()


@pytest.mark.promise("R13")
async def test_from_a_second_event_loop() -> None:
    """Fresh token or not, another event loop is refused at once, with what to use instead.

    It answers Azure/azure-sdk-for-python#33987.
    """

    async def everything() -> None:
        with pytest.raises(CredentialUsageError, match="get_token_from_thread"):
            await credential.get_token()
        with pytest.raises(CredentialUsageError, match="another event loop"):
            await credential.refresh()
        with pytest.raises(CredentialUsageError, match="another event loop"):
            await credential.close()
        updates = credential.updates()
        if credential.statistics().state is TokenState.FRESH:
            await anext(updates)
        with pytest.raises(CredentialUsageError, match="another event loop"):
            await anext(updates)

    for token in (None, valid()):
        source = ScriptedSource(anyio.sleep_forever)
        async with CommunicationTokenCredential(token, token_refresher=source) as credential:
            for backend in anyio.get_available_backends():
                await to_thread.run_sync(functools.partial(anyio.run, everything, backend=backend))
            assert credential.statistics().waiting == 0


def test_a_finished_event_loop() -> None:
    """A thread that asks when the event loop has ended without closing is told so."""
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever))
    portal_used = threading.Event()

    async def leave_open() -> None:
        await credential.__aenter__()
        credential_task = credential._task
        await credential.close()
        await credential.__aexit__(None, None, None)
        credential._task, credential._closed = credential_task, False
        portal_used.set()

    anyio.run(leave_open)
    assert portal_used.is_set()
    caught: list[BaseException] = []

    def ask() -> None:
        try:
            credential.get_token_from_thread()
        except CredentialClosedError as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert ["in which the credential was entered has ended" in str(error) for error in caught] == [True]


async def test_nothing_is_bound_to_an_event_loop_before_entering() -> None:
    """One credential object serves one event loop after another.

    It answers Azure/azure-sdk-for-python#33987, Azure/azure-sdk-for-python#37545 and Arize-ai/phoenix#12687.
    """
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))

    async def use() -> None:
        async with credential:
            assert (await credential.get_token()).token

    for backend in anyio.get_available_backends():
        await to_thread.run_sync(functools.partial(anyio.run, use, backend=backend))


def test_through_a_blocking_portal() -> None:
    """A threaded program holds the credential open in a portal and asks from its threads."""
    credential = CommunicationTokenCredential(token_refresher=hour)
    with from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(credential):
        assert credential.get_token_from_thread() == portal.call(credential.get_token)


async def test_a_fresh_token_from_a_thread_needs_no_event_loop() -> None:
    """Nor does it look at the time-out."""
    async with CommunicationTokenCredential(valid(), token_refresher=hour) as credential:
        got: list[AccessToken] = []
        thread = threading.Thread(target=lambda: got.append(credential.get_token_from_thread(0)))
        thread.start()
        while thread.is_alive():  # the event loop stands still meanwhile
            pass
        assert got == [valid()]


# Messages


async def test_what_callers_are_told() -> None:
    """Each error is a sentence that says what to do next."""
    told: list[str] = []
    for failure in (OSError("down"), TokenSourceError("no", permanent=True)):
        async with CommunicationTokenCredential(token_refresher=ScriptedSource(failure)) as credential:
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            told.append(str(caught.value))
            assert caught.value.permanent == isinstance(failure, TokenSourceError)
            assert caught.value.retry_after is None
    assert told == [
        "no access token could be fetched (OSError, see __cause__); it is tried again at the next request",
        "no access token could be fetched (TokenSourceError, see __cause__); mend that and call refresh()",
    ]


OTHER_LOOP = (
    "the credential was entered in another event loop; from other threads use get_token_from_thread(), "
    "and in a second event loop enter a credential of its own"
)


async def test_what_misuse_is_told() -> None:
    """The message of each names the fix, to the letter."""
    credential = CommunicationTokenCredential(token_refresher=hour, proactive_refresh=False)
    with pytest.raises(CredentialNotEnteredError) as early:
        credential.get_token_nowait()
    async with credential:
        with pytest.raises(CredentialUsageError) as twice:
            await credential.__aenter__()
        with pytest.raises(CredentialUsageError) as own_thread:
            credential.get_token_from_thread()
        with pytest.raises(CredentialUsageError) as other_loop:
            await to_thread.run_sync(anyio.run, credential.get_token)
        with pytest.raises(TokenUnavailableError) as empty:
            credential.get_token_nowait()
        with pytest.raises(TypeError) as mistyped:
            await credential.refresh(rejected=b"held")  # type: ignore[arg-type]  # the wrong type is the point
    with pytest.raises(CredentialClosedError) as late:
        credential.get_token_nowait()
    with pytest.raises(CredentialUsageError) as left:
        await credential.__aexit__(None, None, None)
    assert [str(caught.value) for caught in (early, twice, own_thread, other_loop, empty, mistyped, late, left)] == [
        (
            "the credential renews its token only inside its block: use `async with credential:` first, and open it "
            "once, where the program starts, such as a web framework's lifespan"
        ),
        "the credential is open already: enter it once, where the program starts, and inject it",
        "the event loop's own thread would wait for itself here: await get_token()",
        OTHER_LOOP,
        "no valid access token is held at this moment: await get_token() for one",
        "rejected is a token or its text, not bytes",
        "the credential is closed; use it inside its `async with` block, or enter it again",
        "left, and never entered: `async with` does both",
    ]


async def test_what_a_static_credential_tells() -> None:
    """That nothing renews its token, and what would."""
    credential = CommunicationTokenCredential(AccessToken("ended", 5))
    with pytest.raises(TokenUnavailableError) as ended:
        await credential.get_token()
    with pytest.raises(TokenUnavailableError) as refreshed:
        await credential.refresh()
    assert [str(caught.value) for caught in (ended, refreshed)] == [
        "the static access token has expired: make a credential with a newer one, or with a token_refresher",
        "a static credential cannot refresh its token: give it a token_refresher",
    ]


NEEDY = (
    "token_refresher is called without arguments, but needs some (missing a required argument: 'scope'); "
    "bind them with functools.partial"
)


@pytest.mark.parametrize(
    ("refresher", "told"),
    [
        ("a", "token_refresher is str, which cannot be called; give the async function itself, not what it returns"),
        (lambda scope: scope, NEEDY),
    ],
)
def test_what_is_told_of_a_refresher_that_cannot_be_called(refresher: Any, told: str) -> None:
    """What it is or what it misses, and what to give instead."""
    with pytest.raises(TypeError) as caught:
        CommunicationTokenCredential(token_refresher=refresher)
    assert str(caught.value) == told


# nowait


async def test_nowait_never_waits() -> None:
    """Without a valid token it raises, and says how to get one."""
    gate = anyio.Event()

    async def gated() -> AccessToken:
        await gate.wait()
        return valid()

    async with CommunicationTokenCredential(token_refresher=gated) as credential:
        with pytest.raises(TokenUnavailableError, match=r"await get_token\(\)"):
            credential.get_token_nowait()
        gate.set()
        assert await credential.get_token() is credential.get_token_nowait()


@pytest.mark.parametrize("ahead", ["wall", "monotonic"])
async def test_nowait_gives_a_token_up_to_its_last_millisecond(ahead: str) -> None:
    """And no longer, whichever of the two clocks says so."""
    now = {"wall": 1_000_000.0, "monotonic": 500.0}
    clock = SimpleNamespace(time=lambda: now["wall"], monotonic=lambda: now["monotonic"])
    credential = CommunicationTokenCredential(AccessToken("held", 1_000_100), clock=clock)
    now.update(wall=1_000_100 - 0.001, monotonic=600 - 0.001)
    assert credential.get_token_nowait().token == "held"
    now[ahead] += 1e-6
    with pytest.raises(TokenUnavailableError):
        credential.get_token_nowait()


# updates()


async def test_updates_give_each_token() -> None:
    """The held one first, then each that replaces it, until the credential closes.

    It answers microsoft/BotFramework-DirectLineJS#251.
    """
    source = ScriptedSource(*(AccessToken(f"t{n}", LATER + n) for n in range(9)))
    seen: list[str] = []

    async def read() -> None:
        seen.extend([token.token async for token in updates])

    async with (
        anyio.create_task_group() as group,
        CommunicationTokenCredential(valid(), token_refresher=source) as credential,
    ):
        updates = credential.updates()
        group.start_soon(read)
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            await credential.refresh()
        await anyio.wait_all_tasks_blocked()
    assert seen == ["held", "t0", "t1", "t2"]


async def test_a_slow_reader_gets_the_newest() -> None:
    """What was replaced in between is not delivered."""
    source = ScriptedSource(*(AccessToken(f"t{n}", LATER + n) for n in range(9)))
    again: list[AccessToken] = []

    async def read_one() -> None:
        again.append(await anext(updates))

    async with CommunicationTokenCredential(valid(), token_refresher=source) as credential:
        updates = credential.updates()
        assert (await anext(updates)).token == "held"
        for _ in range(3):
            await credential.refresh()
        assert (await anext(updates)).token == "t2"
        async with anyio.create_task_group() as group:
            group.start_soon(read_one)
            await anyio.wait_all_tasks_blocked()
            assert again == []
            group.cancel_scope.cancel()
        await credential.refresh()
        assert (await anext(updates)).token == "t3"
    with pytest.raises(StopAsyncIteration):
        await anext(updates)


async def test_two_readers_get_the_same() -> None:
    """Each iterator has a place of its own."""
    source = ScriptedSource(*(AccessToken(f"t{n}", LATER + n) for n in range(9)))
    seen: list[str] = []

    async def read() -> None:
        seen.append((await anext(credential.updates())).token)

    async with (
        CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential,
        anyio.create_task_group() as group,
    ):
        group.start_soon(read)
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await credential.refresh()
        await anyio.wait_all_tasks_blocked()
    assert seen == ["t0", "t0"]


async def test_updates_of_a_static_token() -> None:
    """It is the only one: the iterator ends after it instead of waiting for ever."""
    async with CommunicationTokenCredential(valid()) as credential:
        assert [token async for token in credential.updates()] == [valid()]
    with pytest.raises(CredentialClosedError):
        credential.updates()


async def test_an_expired_token_is_no_update() -> None:
    """A reader is never given a token that has ended."""
    credential = CommunicationTokenCredential(AccessToken("ended", 5), token_refresher=hour)
    async with credential:
        assert (await anext(credential.updates())).token != "ended"


# statistics, identity


@in_virtual_time
async def test_statistics() -> None:
    """A consistent snapshot in every state, never showing what a source's error says."""
    clock = VirtualClock()
    source = ScriptedSource(OSError("canary"), AccessToken("t", int(clock.time()) + 3600))
    credential = CommunicationTokenCredential(
        token_refresher=source, proactive_refresh=False, clock=clock, policy=RefreshPolicy(jitter=0)
    )
    assert credential.statistics().state is TokenState.EXPIRED
    async with credential:
        with pytest.raises(TokenRefreshError):
            await credential.get_token()
        failed = credential.statistics()
        assert (failed.failures, failed.consecutive_failures, failed.refreshes) == (1, 1, 0)
        assert isinstance(failed.last_error, OSError)
        assert "canary" not in repr(failed)
        await credential.refresh()
        recovered = credential.statistics()
        assert (recovered.failures, recovered.consecutive_failures, recovered.refreshes) == (1, 0, 1)
        assert recovered.last_error is None
        assert recovered.state is TokenState.FRESH
        assert recovered.expires_on == int(clock.time()) + 3600
        assert recovered.next_refresh_at is None  # on demand: when somebody asks
    assert credential.statistics().waiting == 0


@pytest.mark.parametrize(
    ("claims", "identity"),
    [
        ({"skypeid": "acs:r_u"}, "8:acs:r_u"),
        ({"skypeid": "8:acs:r_u"}, "8:acs:r_u"),
        ({"skypeid": ""}, None),
        ({"skypeid": 5}, None),
        ({}, None),
    ],
)
def test_identity(claims: dict[str, Any], identity: str | None) -> None:
    """The raw id is the token's skypeid claim, which leaves out the leading `8:`."""
    assert CommunicationTokenCredential(make_jwt(**claims)).raw_id == identity


def test_identity_without_a_token() -> None:
    """Nothing is known before the first token, nor from an opaque one."""
    assert CommunicationTokenCredential(token_refresher=hour).raw_id is None
    assert CommunicationTokenCredential(valid()).raw_id is None


# What it says


@in_virtual_time
@pytest.mark.promise("R54")
async def test_events_come_in_order() -> None:
    """Each round is started and then succeeds or fails; the last event is the closing."""
    clock = VirtualClock()
    events: list[CredentialEvent] = []
    source = ScriptedSource(OSError("down"), AccessToken("t", int(clock.time()) + 3600))
    credential = CommunicationTokenCredential(
        token_refresher=source, observer=events.append, clock=clock, policy=RefreshPolicy(jitter=0)
    )
    async with credential:
        with pytest.raises(TokenRefreshError):
            await credential.get_token()
        await credential.refresh()
    kinds = [type(event) for event in events]
    assert kinds == [RefreshStarted, RefreshFailed, RefreshStarted, RefreshSucceeded, CredentialClosed]
    failed, succeeded = events[1], events[3]
    assert isinstance(failed, RefreshFailed)
    assert isinstance(succeeded, RefreshSucceeded)
    assert failed.next_attempt_at >= clock.time() - 5 + 1
    assert (failed.consecutive_failures, failed.permanent) == (1, False)
    assert "down" not in repr(failed)
    assert succeeded.next_refresh_at == pytest.approx(clock.time() + 3000, abs=5)
    assert [event.forced for event in events if isinstance(event, RefreshStarted)] == [False, True]


@pytest.mark.promise("R54")
async def test_an_observer_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged, without the token that it quotes, and the refresh goes on."""

    def observe(event: CredentialEvent) -> None:
        raise ValueError("the observer saw held and " + make_jwt())

    async with CommunicationTokenCredential(valid(), token_refresher=hour, observer=observe) as credential:
        assert (await credential.refresh()).token
    assert "the observer raised" in caplog.text
    assert "held" not in caplog.text.replace("the observer raised", "")
    assert "eyJ" not in caplog.text


@pytest.mark.promise("R54")
async def test_an_observer_that_looks_back() -> None:
    """Called from an observer, the credential's own methods that do not wait work."""
    states: list[TokenState] = []

    def observe(_: CredentialEvent) -> None:
        states.append(credential.statistics().state)

    credential = CommunicationTokenCredential(token_refresher=hour, observer=observe)
    async with credential:
        await credential.get_token()
    assert states[:2] == [TokenState.EXPIRED, TokenState.FRESH]


@pytest.mark.promise("R55")
async def test_the_log_of_a_streak(caplog: pytest.LogCaptureFixture) -> None:
    """One warning at its first failure with the next attempt's time, debug between, info when it is over."""
    caplog.set_level(logging.DEBUG, "anyio_acs_credential")
    source = ScriptedSource(*[OSError("held is wrong, and so is " + make_jwt())] * 3, 3600)
    async with CommunicationTokenCredential(valid(), token_refresher=source) as credential:
        for _ in range(3):
            with pytest.raises(TokenRefreshError):
                await credential.refresh()
        await credential.refresh()
        for _ in range(200):
            await credential.get_token()
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING, logging.DEBUG, logging.DEBUG, logging.INFO]
    assert "next attempt at 20" in caplog.records[0].getMessage()
    assert "OSError" in caplog.records[0].getMessage()
    assert "held is" not in caplog.text
    assert "eyJ" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)
    fields = [
        {key: value for key, value in vars(record).items() if key.startswith("acs_")} for record in caplog.records
    ]
    assert [each.pop("acs_event") for each in fields] == [*["refresh_failed"] * 3, "refresh_recovered"]
    assert [each.pop("acs_failures") for each in fields] == [1, 2, 3, 3]
    assert {each.pop("acs_error_type", None) for each in fields} == {"OSError", None}
    assert {each.pop("acs_permanent", None) for each in fields} == {False, None}
    assert fields[0].pop("acs_next_attempt_at") > time.time()
    assert fields[-1].pop("acs_expires_on") > time.time()
    assert [sorted(each) for each in fields] == [[], ["acs_next_attempt_at"], ["acs_next_attempt_at"], []]


@pytest.mark.promise("R55")
async def test_an_expiry_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A token that ends unrenewed is worth one warning and one event."""
    events: list[CredentialEvent] = []
    source = ScriptedSource(TokenSourceError("gone", permanent=True))
    credential = CommunicationTokenCredential(AccessToken("t", 5), token_refresher=source, observer=events.append)
    async with credential:
        for _ in range(3):
            with pytest.raises(TokenRefreshError):
                await credential.get_token()
    assert [event for event in events if isinstance(event, TokenExpired)] == [TokenExpired(5)]
    assert caplog.text.count("expired unrenewed at 1970-01-01T00:00:05") == 1


async def test_an_idle_on_demand_token_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody asked for a newer one, so its end is an event and nothing to warn of."""
    events: list[CredentialEvent] = []
    credential = CommunicationTokenCredential(
        AccessToken("t", 5), token_refresher=hour, proactive_refresh=False, observer=events.append
    )
    async with credential:
        await anyio.wait_all_tasks_blocked()
        assert events == [TokenExpired(5)]
    assert not caplog.records


@pytest.mark.promise("R54")
@pytest.mark.parametrize("group", [False, True])
async def test_an_observer_that_raises_a_cancellation(caplog: pytest.LogCaptureFixture, group: bool) -> None:
    """It is a plain function, so no cancellation of ours comes out of it: the refreshing goes on."""
    stray: BaseException = asyncio.CancelledError()

    def observe(event: CredentialEvent) -> None:
        raise BaseExceptionGroup("several", [stray]) if group else stray

    async with CommunicationTokenCredential(token_refresher=ScriptedSource(3600), observer=observe) as credential:
        await credential.get_token()
        await credential.refresh()
        assert credential.statistics().refreshes == 2
    assert "the observer raised at RefreshStarted" in caplog.text


@pytest.mark.promise("R45")
@pytest.mark.parametrize("backend", anyio.get_available_backends())
def test_an_observer_that_ends_the_program(backend: str) -> None:
    """What ends a program passes, from the observer as well."""

    def observe(event: CredentialEvent) -> None:
        if isinstance(event, RefreshSucceeded):
            raise SystemExit(3)

    async def main() -> None:
        async with CommunicationTokenCredential(token_refresher=hour, observer=observe):
            await anyio.sleep_forever()

    with pytest.raises(SystemExit):
        anyio.run(main, backend=backend)


async def test_the_observer_runs_in_the_context_of_who_entered() -> None:
    """Also for the closing, whoever does that."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    async def close() -> None:
        name.set("closer")
        await credential.close()

    name.set("enterer")
    credential = CommunicationTokenCredential(token_refresher=hour, observer=lambda _: seen.append(name.get()))
    async with credential, anyio.create_task_group() as group:
        await credential.get_token()
        group.start_soon(close)
    assert set(seen) == {"enterer"}


async def test_an_expired_token_is_still_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """What a source's error quotes is cut out, of the token that has ended and of those before it."""
    source = ScriptedSource(AccessToken("second-canary", LATER), RuntimeError("first-canary second-canary"))
    credential = CommunicationTokenCredential(AccessToken("first-canary", 5), token_refresher=source)
    async with credential:
        await credential.get_token()
        with pytest.raises(TokenRefreshError):
            await credential.refresh()
    assert "refresh failed (RuntimeError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.promise("R14")
async def test_a_careless_subclass_fails_its_round_only() -> None:
    """An error class of a user's own that does not call our __init__ does not end the refreshing."""

    class CarelessError(TokenSourceError):
        def __init__(self, status: int) -> None:
            self.status = status

    async with CommunicationTokenCredential(token_refresher=ScriptedSource(CarelessError(500), 3600)) as credential:
        with pytest.raises(TokenRefreshError):
            await credential.get_token()
        assert await credential.refresh() is credential.get_token_nowait()


class Unprintable(Exception):  # noqa: N818 - it is not only an error, it is a bad one
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.promise("R54")
async def test_a_log_that_raises() -> None:
    """Neither an exception without text nor a handler that raises ends the refreshing."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging gives it
            raise RuntimeError("the disk is full")

    logger, handler = logging.getLogger("anyio_acs_credential"), Broken()
    logger.addHandler(handler)
    try:
        async with CommunicationTokenCredential(token_refresher=ScriptedSource(Unprintable(), 3600)) as credential:
            with pytest.raises(TokenRefreshError):
                await credential.get_token()
            assert (await credential.refresh()).token
    finally:
        logger.removeHandler(handler)


@pytest.mark.promise("R6")
async def test_each_waiter_gets_an_exception_of_its_own() -> None:
    """Chained to the one cause, whose traceback does not grow with the waiters."""
    gate = anyio.Event()
    errors: list[TokenRefreshError] = []

    async def failing() -> AccessToken:
        await gate.wait()
        raise OSError("down")

    async def wait() -> None:
        try:
            await credential.get_token()
        except TokenRefreshError as error:
            errors.append(error)

    async with CommunicationTokenCredential(token_refresher=failing) as credential, anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert len({id(error) for error in errors}) == 100
    assert len({id(error.__cause__) for error in errors}) == 1
    assert len({len(inspect.getinnerframes(error.__traceback__)) for error in errors if error.__traceback__}) == 1


@pytest.mark.promise("R53")
async def test_a_refresh_error_carries_what_the_source_said() -> None:
    """Whether it is permanent and how long to wait, from the source or from another credential behind it."""
    inner = TokenRefreshError("from another credential", permanent=True, retry_after=7)
    for failure in (TokenSourceError("no", permanent=True, retry_after=7), inner):
        async with CommunicationTokenCredential(token_refresher=ScriptedSource(failure)) as credential:
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            assert (caught.value.permanent, caught.value.retry_after) == (True, 7)
            assert caught.value.__cause__ is failure


class BreakingClock:
    """Tells the time until it is broken; then the refresh task cannot go on."""

    broken = False
    monotonic = staticmethod(time.monotonic)

    def time(self) -> float:
        if self.broken:
            raise ZeroDivisionError("the clock")
        return time.time()


async def break_it(credential: CommunicationTokenCredential, clock: BreakingClock) -> None:
    """Make the refresh task look at a broken clock, which is a bug that no source can cause."""
    clock.broken = True
    task = credential._task
    assert task is not None
    task.round.forced = True
    task._wake.set()
    await anyio.sleep_forever()


async def test_a_bug_ends_the_block() -> None:
    """If the refresh task itself fails, the block is cancelled and that failure comes out, in no group."""
    clock = BreakingClock()
    credential = CommunicationTokenCredential(token_refresher=hour, proactive_refresh=False, clock=clock)
    with pytest.raises(ZeroDivisionError, match="the clock"):
        async with credential:
            await break_it(credential, clock)


async def test_the_blocks_error_wins_over_the_tasks() -> None:
    """The other one is named in a note."""
    clock = BreakingClock()
    credential = CommunicationTokenCredential(token_refresher=hour, proactive_refresh=False, clock=clock)

    async def body() -> None:
        try:
            await break_it(credential, clock)
        finally:
            raise KeyError("the block's own")

    with pytest.raises(KeyError) as caught:
        async with credential:
            await body()
    assert caught.value.__notes__ == ['the task "access token refresh" had failed too, with ZeroDivisionError']


# What a credential says of itself


async def test_what_it_shows() -> None:
    """How it stands, and never the token; a closed one has nothing to hand out, and says so."""
    held = AccessToken("held-token", int(time.time()) + 7200)
    credential = CommunicationTokenCredential(held, token_refresher=hour)
    assert repr(credential) == "<CommunicationTokenCredential not entered>"
    async with credential:
        assert repr(credential) == f"<CommunicationTokenCredential fresh, expires_on={held.expires_on}>"
        assert credential.statistics().state is TokenState.FRESH
    assert repr(credential) == "<CommunicationTokenCredential closed>"
    closed = credential.statistics()
    assert (closed.state, closed.expires_on, closed.next_refresh_at) == (TokenState.EXPIRED, held.expires_on, None)
    async with credential:
        assert credential.statistics().expires_on == held.expires_on
    static = CommunicationTokenCredential(AccessToken("ended", 5))
    assert repr(static) == "<CommunicationTokenCredential expired, expires_on=5>"
    with pytest.raises(TokenUnavailableError, match="cannot refresh its token: give it a token_refresher") as refused:
        await static.refresh()
    assert refused.value.__notes__ == [f"See {page_of('static-expired')}"]
    half_made = CommunicationTokenCredential.__new__(CommunicationTokenCredential)  # as its own `__init__` raises
    assert repr(half_made) == "<CommunicationTokenCredential not made>"


@pytest.mark.parametrize(
    "option", [{"observer": print}, {"policy": RefreshPolicy()}, {"proactive_refresh": False}], ids=str
)
def test_a_static_credential_refuses_what_it_would_ignore(option: dict[str, Any]) -> None:
    """As the overloads say."""
    with pytest.raises(TypeError, match="leave out observer, policy and proactive_refresh"):
        CommunicationTokenCredential(make_jwt(3600), **option)
