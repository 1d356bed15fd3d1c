"""The refresh task, in virtual time: when it asks the source, how often, and what callers get meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import math
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosed,
    CredentialClosedError,
    CredentialError,
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
)
from anyio_acs_credential._refreshing.round import Round
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, make_jwt, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio_acs_credential import CredentialEvent

STEADY = RefreshPolicy(jitter=0)
HOUR = 3600.0


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class Timed:
    """A source that notes when it was asked, in seconds since it was made."""

    def __init__(self, source: Callable[[], Awaitable[Any]], clock: VirtualClock) -> None:
        self.source, self.clock, self.began = source, clock, clock.monotonic()
        self.times: list[float] = []

    async def __call__(self) -> Any:
        self.times.append(self.clock.monotonic() - self.began)
        return await self.source()

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.times)]


def credential_of(source: Any, clock: VirtualClock, **options: Any) -> CommunicationTokenCredential:
    return CommunicationTokenCredential(token_refresher=source, clock=clock, **{"policy": STEADY, **options})


def a_token(clock: VirtualClock, life: float, text: str = "initial") -> AccessToken:
    return AccessToken(text, clock.time() + life)


# When


@pytest.mark.promise("R4")
async def test_renewal_begins_at_the_window_and_not_before(clock: VirtualClock) -> None:
    """A second before the window nothing is asked; a second after its edge the renewal is done."""
    source = ScriptedSource(HOUR, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        await anyio.sleep(HOUR - 601)
        assert source.calls == 0
        await anyio.sleep(2)
        assert source.calls == 1
        assert (await credential.get_token()).token != "initial"


@pytest.mark.promise("R4")
async def test_a_proactive_credential_fetches_its_first_token_by_itself(clock: VirtualClock) -> None:
    """Entering waits for nothing, and the token is there when it is asked for."""
    source = ScriptedSource(HOUR, latency=1, clock=clock)
    async with credential_of(source, clock) as credential:
        assert source.calls == 0
        await anyio.sleep(1.5)
        assert credential.get_token_nowait().expires_on > clock.time()
    assert source.calls == 1


async def test_an_on_demand_credential_asks_only_when_it_is_asked(clock: VirtualClock) -> None:
    """Without callers an on-demand credential leaves its source alone, whatever its token does."""
    source = ScriptedSource(HOUR, clock=clock)
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        await anyio.sleep(3 * HOUR)
        assert source.calls == 0
        first = await credential.get_token()
        assert source.calls == 1
        await anyio.sleep(HOUR - 121)
        assert await credential.get_token() is first
        assert source.calls == 1
        await anyio.sleep(2)
        assert await credential.get_token() is not first
        assert source.calls == 2


@pytest.mark.parametrize("by", ["the wall clock", "the monotonic clock"])
async def test_a_token_is_fresh_no_longer_than_each_clock_says(clock: VirtualClock, by: str) -> None:
    """Two minutes before its end by either clock, to the instant, callers get a newer one."""
    held = a_token(clock, HOUR)
    async with credential_of(
        ScriptedSource(HOUR, clock=clock), clock, token=held, proactive_refresh=False
    ) as credential:
        if by == "the wall clock":
            clock.jump(HOUR - 121)
            assert await credential.get_token() is held
            clock.jump(1)
        else:
            await anyio.sleep(HOUR - 120)
            clock.jump(-60)
        assert await credential.get_token() is not held


async def test_an_expiry_is_told_when_it_comes(clock: VirtualClock) -> None:
    """Though nobody asks, and the refresh task has nothing else to do until then."""
    events: list[object] = []
    held = a_token(clock, 61)
    async with credential_of(
        ScriptedSource(HOUR, clock=clock), clock, token=held, proactive_refresh=False, observer=events.append
    ):
        await anyio.sleep(60.5)
        assert events == []
        await anyio.sleep(1)
        assert events == [TokenExpired(held.expires_on)]


@pytest.mark.promise("R4")
async def test_short_tokens_do_not_make_a_storm(clock: VirtualClock) -> None:
    """A source of 30 s tokens is asked four times a minute at most, and twice a token by a thousand calls."""
    source = ScriptedSource(30, clock=clock)
    async with credential_of(source, clock):
        await anyio.sleep(600)
    assert source.calls <= 41
    source = ScriptedSource(30, clock=clock)
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        for _ in range(1000):
            await credential.get_token()
        assert source.calls <= 2


@pytest.mark.promise("R21")
async def test_tokens_that_end_at_once_do_not_make_a_storm(clock: VirtualClock) -> None:
    """Tokens of 10 ms are fetched at the pace of the shortest wait, in the background and by callers."""
    source = ScriptedSource(1.2, clock=clock)
    short = RefreshPolicy(jitter=0)
    async with credential_of(source, clock, policy=short) as credential:
        for _ in range(200):
            await credential.get_token()
            await anyio.sleep(0.05)
    assert source.calls <= 12


@pytest.mark.promise("R20")
@pytest.mark.once
async def test_jitter_spreads_equal_expiries(clock: VirtualClock) -> None:
    """A thousand credentials whose tokens end together renew them over at least a tenth of the window."""
    planned: list[float] = []
    held = a_token(clock, HOUR)
    for _ in range(1000):
        async with credential_of(
            ScriptedSource(HOUR, clock=clock), clock, token=held, policy=RefreshPolicy()
        ) as credential:
            planned.append(credential.statistics().next_refresh_at or math.inf)
    assert max(planned) - min(planned) >= 0.09 * 600
    assert max(planned) <= held.expires_on - 600


async def test_a_renewal_happens_when_it_was_planned(clock: VirtualClock) -> None:
    """The jitter is drawn once for each token: the time that the statistics give is the time that it happens."""
    source = Timed(ScriptedSource(HOUR, clock=clock), clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR), policy=RefreshPolicy()) as credential:
        planned = credential.statistics().next_refresh_at or math.inf
        await anyio.sleep(HOUR / 2)
        assert credential.statistics().next_refresh_at == pytest.approx(planned)
        await anyio.sleep(HOUR / 2)
    assert source.times == [pytest.approx(planned - 1_767_225_600, abs=0.1)]


async def test_a_day_of_life_is_renewed_an_hour_ahead(clock: VirtualClock) -> None:
    """The window of a token of 24 h is its twenty-fourth part."""
    source = Timed(ScriptedSource(86_400, clock=clock), clock)
    async with credential_of(source, clock, token=a_token(clock, 86_400)):
        await anyio.sleep(86_400)
    assert source.times == [pytest.approx(82_800, abs=1)]


# What a result may do


@pytest.mark.promise("R3")
@pytest.mark.parametrize(
    "bad",
    [
        None,
        b"bytes",
        "opaque",
        "",
        42.0 + 1j,
        {"token": "x"},
        AccessToken("ended", 5),
        AccessToken("a-bit-shorter", 1_767_225_600 + 60),
    ],
    ids=str,
)
async def test_a_bad_result_never_replaces_a_valid_token(clock: VirtualClock, bad: object) -> None:
    """Expired, malformed, of a wrong type, or ending earlier: the held token stays, the very same object."""
    held = a_token(clock, 700)

    async def source() -> Any:
        await checkpoint()
        return bad

    async with credential_of(source, clock, token=held) as credential:
        await anyio.sleep(500)
        assert await credential.get_token() is held
        assert credential.statistics().refreshes + credential.statistics().failures > 0


@pytest.mark.promise("R3")
async def test_an_expired_result_is_a_failure_that_says_so(clock: VirtualClock) -> None:
    """With nothing else to hand out, callers learn why the source's token was no use."""
    source = ScriptedSource(AccessToken("ended", 5), clock=clock)
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        with pytest.raises(TokenRefreshError) as caught:
            await credential.get_token()
        assert isinstance(caught.value.__cause__, TokenSourceError)
        assert "has expired" in str(caught.value.__cause__)


async def test_a_result_that_cannot_be_awaited_names_the_fix(clock: VirtualClock) -> None:
    """A blocking function as the refresher fails its round and is told about worker threads."""
    async with credential_of(lambda: make_jwt(clock=clock), clock, proactive_refresh=False) as credential:
        with pytest.raises(TokenRefreshError) as caught:
            await credential.get_token()
        assert str(caught.value.__cause__) == (
            "the token refresher returned str, which cannot be awaited; give an async function, "
            "and call blocking code in it through anyio.to_thread.run_sync"
        )


async def test_a_malformed_result_is_an_invalid_token(clock: VirtualClock) -> None:
    """What is no token fails its round with the error that says what is wanted."""
    async with credential_of(ScriptedSource("opaque", clock=clock), clock, proactive_refresh=False) as credential:
        with pytest.raises(TokenRefreshError) as caught:
            await credential.get_token()
        assert isinstance(caught.value.__cause__, InvalidTokenError)


@pytest.mark.promise("R19")
async def test_no_progress_is_retried_at_half_of_what_remains(clock: VirtualClock) -> None:
    """A source that gives the same token again and again is asked a dozen times before it ends.

    It answers Azure/azure-sdk#3712, Azure/azure-sdk-for-js#19804 and Azure/azure-sdk-for-net#25031.
    """
    same = a_token(clock, HOUR)
    source = Timed(ScriptedSource(same, clock=clock), clock)
    async with credential_of(source, clock, token=same) as credential:
        await anyio.sleep(HOUR - 1)
        assert await credential.get_token() is same
        assert 8 <= len(source.times) <= 12
        assert source.gaps[0] == pytest.approx(300, abs=1)
        assert min(source.gaps) >= 0.99
        assert credential.statistics().consecutive_failures == 0


@pytest.mark.promise("R19")
async def test_another_text_with_the_same_expiry_replaces_without_being_progress(clock: VirtualClock) -> None:
    """A token with the same expiry is taken, and the next attempt still waits for half of what remains."""
    expires_on = clock.time() + HOUR
    source = Timed(ScriptedSource(AccessToken("other", expires_on), clock=clock), clock)
    async with credential_of(source, clock, token=AccessToken("initial", expires_on)) as credential:
        await anyio.sleep(HOUR - 598)
        assert (await credential.get_token()).token == "other"
        await anyio.sleep(290)
        assert len(source.times) == 1
        await anyio.sleep(20)
        assert len(source.times) == 2


# Failures


@pytest.mark.promise("R14")
@pytest.mark.parametrize(
    "failure",
    [
        OSError("down"),
        StopIteration(5),
        StopAsyncIteration(),
        RecursionError(),
        TimeoutError(),
        ExceptionGroup("several", [OSError(), ValueError()]),
        BaseExceptionGroup("several", [OSError()]),
        type("Odd", (BaseException,), {})(),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_hundred_failures_then_success(clock: VirtualClock, failure: BaseException) -> None:
    """Whatever the source raises fails its round only: when it recovers, so does the credential."""
    source = ScriptedSource(*[failure] * 100, HOUR, clock=clock)

    def raising() -> Awaitable[Any]:
        if isinstance(failure, StopIteration) and source.calls < 100:
            source.calls += 1
            raise failure  # a plain callable: a coroutine would turn it into a RuntimeError
        return source()

    async with credential_of(raising, clock) as credential:
        await anyio.sleep(2 * HOUR)
        assert credential.statistics().failures == 100
        assert credential.statistics().state is TokenState.FRESH
        assert credential.statistics().last_error is None
        assert (await credential.get_token()).token


@pytest.mark.promise("R15")
@pytest.mark.parametrize("life", [40, 100, HOUR, 86_400])
@pytest.mark.parametrize("proactive", [True, False])
async def test_an_outage_of_most_of_the_window_is_not_noticed(
    clock: VirtualClock, life: float, proactive: bool
) -> None:
    """With the source down for 90 % of the window, no caller ever sees an error or an expired token."""
    window = (min(max(600, life / 24), life / 2)) if proactive else min(120, life / 4)
    back_at = clock.monotonic() + life - 0.1 * window

    async def source() -> AccessToken:
        await checkpoint()
        if clock.monotonic() < back_at:
            raise OSError("down")
        return a_token(clock, life, "newer")

    async with credential_of(source, clock, token=a_token(clock, life), proactive_refresh=proactive) as credential:
        await anyio.sleep(life - 1.5 * window)
        end, step = clock.monotonic() + 1.5 * window + 5, max(1, window / 100)
        while clock.monotonic() < end:
            token = await credential.get_token()
            assert token.expires_on > clock.time()
            await anyio.sleep(step)
        assert token.token == "newer"


@pytest.mark.promise("R16")
async def test_waits_between_attempts_grow_to_a_cap(clock: VirtualClock) -> None:
    """In a window of ten minutes a dead source is asked at most 20 times, at waits that grow to a minute."""
    source = Timed(ScriptedSource(OSError("down"), clock=clock), clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)):
        await anyio.sleep(HOUR - 1.5)
    assert 10 <= len(source.times) <= 20
    growing = source.gaps[:-2]  # the last two were cut to end before the token and with it
    assert all(later > earlier - 1e-6 for earlier, later in itertools.pairwise(growing))
    assert min(source.gaps) >= 1
    assert max(source.gaps) <= 60.1


@pytest.mark.promise("R16")
async def test_a_success_resets_the_backoff(clock: VirtualClock) -> None:
    """The first wait of the next streak is the shortest again."""
    source = Timed(ScriptedSource(*[OSError("down")] * 6, 60, OSError("down"), clock=clock), clock)
    async with credential_of(source, clock):
        await anyio.sleep(300)
    assert source.gaps[5] > 16
    assert source.gaps[7] <= 2


@pytest.mark.promise("R30")
async def test_retry_after_is_the_wait(clock: VirtualClock) -> None:
    """What the source asks for is the wait, five minutes at most; nonsense is ignored."""
    wishes = [7, 250, 1000, math.nan, -5]
    source = Timed(
        ScriptedSource(*[TokenSourceError("busy", retry_after=wish) for wish in wishes], HOUR, clock=clock), clock
    )
    async with credential_of(source, clock):
        await anyio.sleep(700)
    assert source.gaps[:3] == [pytest.approx(wait, abs=0.1) for wait in (7, 250, 300)]
    assert source.gaps[3] <= 16


@pytest.mark.promise("R16", "R30")
async def test_a_short_retry_after_shortens_no_backoff(clock: VirtualClock) -> None:
    """A source that is down and says "half a second" each time is asked ever less often, as any other is."""
    source = Timed(ScriptedSource(*[TokenSourceError("busy", retry_after=0.5)] * 9, HOUR, clock=clock), clock)
    async with credential_of(source, clock):
        await anyio.sleep(400)
    assert source.gaps[:8] == sorted(source.gaps[:8])
    assert source.gaps[6] >= 60


async def test_nobody_asks_before_a_retry_after_has_passed(clock: VirtualClock) -> None:
    """Callers without a token get the last error at once until then, and the wish with it."""
    source = ScriptedSource(TokenSourceError("busy", retry_after=40), HOUR, clock=clock)
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        for _ in range(39):
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            assert caught.value.retry_after == 40
            await anyio.sleep(1)
        assert source.calls == 1
        await anyio.sleep(1.1)
        assert (await credential.get_token()).token


@pytest.mark.parametrize("proactive", [True, False])
async def test_callers_with_nothing_wait_a_second_and_not_the_backoff(clock: VirtualClock, proactive: bool) -> None:
    """However long the background rests after a streak of failures, they may have a round made."""
    source = ScriptedSource(*[OSError("down")] * 5, HOUR, clock=clock)
    async with credential_of(source, clock, proactive_refresh=proactive) as credential:
        for _ in range(5):
            with pytest.raises(TokenRefreshError):
                await credential.refresh()
        await anyio.sleep(1.01)
        before = clock.monotonic()
        assert (await credential.get_token()).token
        assert clock.monotonic() == before


@pytest.mark.promise("R17")
@pytest.mark.parametrize("proactive", [True, False])
@pytest.mark.once
async def test_a_dead_source_is_asked_once_a_second(clock: VirtualClock, proactive: bool) -> None:
    """A thousand calls a second make one attempt a second; those between get the last error, each its own."""
    source = ScriptedSource(OSError("down"), clock=clock)
    errors: list[TokenRefreshError] = []
    async with credential_of(source, clock, proactive_refresh=proactive) as credential:
        for _ in range(3000):
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            errors.append(caught.value)
            await anyio.sleep(0.001)
    assert 3 <= source.calls <= 5
    assert len({id(error) for error in errors}) == len(errors)
    assert all(isinstance(error.__cause__, OSError) for error in errors)


@pytest.mark.promise("R18")
async def test_a_permanent_failure_latches(clock: VirtualClock) -> None:
    """After it the source is probed each five minutes; the held token is handed out to its end, then the error."""
    source = ScriptedSource(TokenSourceError("revoked", permanent=True), clock=clock)
    held = a_token(clock, 1200)
    async with credential_of(source, clock, token=held) as credential:
        await anyio.sleep(1199)
        assert await credential.get_token() is held
        await anyio.sleep(2)
        for _ in range(100):
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            assert caught.value.permanent
            assert "refresh()" in str(caught.value)
        await anyio.sleep(HOUR - 1201)
        assert source.calls <= 13


@pytest.mark.promise("R18")
async def test_refresh_unlatches(clock: VirtualClock) -> None:
    """refresh() asks at once, whatever the latch says, and its success ends it."""
    source = ScriptedSource(TokenSourceError("revoked", permanent=True), HOUR, clock=clock)
    async with credential_of(source, clock) as credential:
        with pytest.raises(TokenRefreshError):
            await credential.get_token()
        token = await credential.refresh()
        assert await credential.get_token() is token


@pytest.mark.promise("R9")
async def test_the_source_has_a_deadline_of_its_own(clock: VirtualClock) -> None:
    """A source that hangs fails its round after the time-out, for all who wait, and is asked again."""
    source = ScriptedSource(anyio.sleep_forever, HOUR, clock=clock)
    async with credential_of(source, clock) as credential:
        with pytest.raises(TokenRefreshError) as caught:
            await credential.get_token()
        assert clock.monotonic() == pytest.approx(1030, abs=0.5)
        assert str(caught.value.__cause__) == (
            "the token source gave no answer within 30 s (RefreshPolicy.refresh_timeout): see what it waits for"
        )
        await anyio.sleep(3)
        assert (await credential.get_token()).token


@pytest.mark.promise("R9")
async def test_a_callers_deadline_never_shortens_a_round(clock: VirtualClock) -> None:
    """A caller that gives up leaves the round as it is."""
    source = ScriptedSource(HOUR, latency=10, clock=clock)
    async with credential_of(source, clock) as credential:
        with pytest.raises(TimeoutError), anyio.fail_after(0.01):
            await credential.get_token()
        assert (await credential.get_token()).token
        assert source.calls == 1
        assert clock.monotonic() == pytest.approx(1010, abs=0.5)


# Callers


async def test_a_stale_token_waits_for_its_successor_five_seconds_at_most(clock: VirtualClock) -> None:
    """Callers one after the other lose those seconds once: they count from the beginning of the round."""
    source = ScriptedSource(HOUR, latency=20, clock=clock)
    held = a_token(clock, 480)
    async with credential_of(source, clock, token=held, proactive_refresh=False) as credential:
        await anyio.sleep(361)
        began = clock.monotonic()
        for _ in range(3):
            assert await credential.get_token() is held
            assert clock.monotonic() - began == pytest.approx(5, abs=0.1)
        await anyio.sleep(16)
        assert await credential.get_token() is not held
        assert source.calls == 1


async def test_a_later_caller_waits_for_the_rest(clock: VirtualClock) -> None:
    """Who comes while a round is in flight waits until five seconds after its beginning, and no longer."""
    source = ScriptedSource(HOUR, latency=20, clock=clock)
    waited: list[float] = []

    async def call(after: float) -> None:
        await anyio.sleep(after)
        before = clock.monotonic()
        await credential.get_token()
        waited.append(round(clock.monotonic() - before, 3))

    async with (
        credential_of(source, clock, token=a_token(clock, 480), proactive_refresh=False) as credential,
        anyio.create_task_group() as group,
    ):
        await anyio.sleep(361)
        for after in (0, 2, 4.5, 5.5):
            group.start_soon(call, after)
    assert sorted(waited) == [0, 0.5, 3, 5]


async def test_a_stale_read_within_a_backoff_is_a_point_of_cancellation(clock: VirtualClock) -> None:
    """Where nothing is waited for, a read still notices the cancellation and lets others run."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with credential_of(
        ScriptedSource(OSError("down"), clock=clock), clock, token=a_token(clock, 480), proactive_refresh=False
    ) as credential:
        await anyio.sleep(361)
        await credential.get_token()
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            for _ in range(10):
                await credential.get_token()
            assert turns >= 5
            group.cancel_scope.cancel()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await credential.get_token()
            pytest.fail("the read did not notice the cancellation")


async def test_a_stale_token_is_replaced_within_the_wait(clock: VirtualClock) -> None:
    """A source that answers in time gives the stale token's callers the new one."""
    source = ScriptedSource(HOUR, latency=3, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, 480), proactive_refresh=False) as credential:
        await anyio.sleep(361)
        assert (await credential.get_token()).token != "initial"


async def test_a_stale_token_is_handed_out_at_once_within_a_backoff(clock: VirtualClock) -> None:
    """While the source rests after a failure, callers do not wait for it."""
    source = ScriptedSource(OSError("down"), latency=1, clock=clock)
    held = a_token(clock, 480)
    async with credential_of(source, clock, token=held, proactive_refresh=False) as credential:
        await anyio.sleep(361)
        assert await credential.get_token() is held  # after the round that failed
        before = clock.monotonic()
        for _ in range(200):
            assert await credential.get_token() is held
        assert clock.monotonic() == before
        assert source.calls == 1


async def test_a_stale_tokens_callers_wait_for_the_backoff_alone(clock: VirtualClock) -> None:
    """The pace of a round a second is for those who have nothing valid."""
    source = ScriptedSource(OSError("down"), HOUR, clock=clock)
    policy = RefreshPolicy(retry_initial=0.1)
    async with credential_of(
        source, clock, token=a_token(clock, 480), proactive_refresh=False, policy=policy
    ) as credential:
        await anyio.sleep(361)
        assert (await credential.get_token()).token == "initial"  # after the round that failed
        await anyio.sleep(0.25)
        before = clock.monotonic()
        assert (await credential.get_token()).token != "initial"
        assert clock.monotonic() == before


async def test_a_token_that_ends_while_its_caller_waits(clock: VirtualClock) -> None:
    """A stale token that runs out during the wait is not handed out: the caller goes on waiting for the round."""
    source = ScriptedSource(HOUR, latency=10, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, 480), proactive_refresh=False) as credential:
        await anyio.sleep(478)
        assert (await credential.get_token()).token != "initial"
        assert clock.monotonic() == pytest.approx(1488, abs=0.1)


@pytest.mark.promise("R42")
async def test_a_failed_round_and_the_end_of_the_credential_at_once(clock: VirtualClock) -> None:
    """A caller with a valid token is not told of the failure, but of the end, if that comes before its turn."""
    source = ScriptedSource(OSError("down"), latency=1, clock=clock)
    results: list[object] = []

    async def end() -> None:
        with pytest.raises(TokenRefreshError):
            await credential.refresh()
        await credential.close()

    async def call() -> None:
        try:
            results.append((await credential.get_token()).token)
        except CredentialError as error:
            results.append(type(error))

    async with credential_of(source, clock, token=a_token(clock, 480), proactive_refresh=False) as credential:
        await anyio.sleep(361)
        async with anyio.create_task_group() as group:
            group.start_soon(end)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(call)
    assert results in ([CredentialClosedError], ["initial"])


@pytest.mark.promise("R23")
async def test_the_wall_clock_is_set_back_as_a_caller_is_refused(clock: VirtualClock) -> None:
    """What it is told then is the truth of that moment: the held token is valid again."""
    source = ScriptedSource(TokenSourceError("no", permanent=True), clock=clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR), proactive_refresh=False) as credential:
        clock.jump(2 * HOUR)
        with pytest.raises(TokenRefreshError):
            await credential.get_token()
        found: list[AccessToken] = []

        async def ask() -> None:
            found.append(await credential.get_token())

        async def set_back() -> None:
            clock.jump(-2 * HOUR)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(set_back)
        assert [token.token for token in found] == ["initial"]
    assert source.calls == 1


async def test_a_stale_token_that_turns_out_to_be_fresh(clock: VirtualClock) -> None:
    """A clock that was set ahead and then right again leaves the waiting caller with the token that it has."""
    source = ScriptedSource(OSError("down"), latency=3, clock=clock)
    held = a_token(clock, 480)
    got: list[AccessToken] = []

    async def call() -> None:
        got.append(await credential.get_token())

    async with credential_of(source, clock, token=held, proactive_refresh=False) as credential:
        clock.jump(400)
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.sleep(1)
            clock.jump(-400)
    assert got == [held]


@pytest.mark.parametrize("closing", [False, True])
async def test_a_token_that_ends_at_the_last_moment(clock: VirtualClock, closing: bool) -> None:
    """What was valid when a caller asked is looked at again when it is handed out."""
    source = ScriptedSource(OSError("down"), HOUR, clock=clock)
    results: list[object] = []

    async def end() -> None:
        clock.jump(HOUR)
        if closing:
            await credential.close()

    async def call() -> None:
        try:
            results.append((await credential.get_token()).token)
        except CredentialClosedError as error:
            results.append(type(error))

    async with credential_of(source, clock, token=a_token(clock, 480), proactive_refresh=False) as credential:
        await anyio.sleep(361)
        assert (await credential.get_token()).token == "initial"  # the round failed: now there is a back-off
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            group.start_soon(end)
    assert len(results) == 1
    assert not closing or results[0] in ("initial", CredentialClosedError)


@pytest.mark.promise("R42")
async def test_a_source_that_fails_while_it_is_cancelled(clock: VirtualClock) -> None:
    """What it raises in its own cleaning up, when the block is left, is no failed round any more."""
    events: list[object] = []

    async def source() -> AccessToken:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async with credential_of(source, clock, observer=events.append) as credential:
        await anyio.sleep(1)
    assert [type(event) for event in events] == [RefreshStarted, CredentialClosed]
    assert credential.statistics().failures == 0


async def test_closing_wakes_who_waits_for_the_successor_of_a_stale_token(clock: VirtualClock) -> None:
    """They are told, though the token that they have would last a little."""
    source = ScriptedSource(anyio.sleep_forever)
    async with (
        credential_of(source, clock, token=a_token(clock, 480), proactive_refresh=False) as credential,
        anyio.create_task_group() as group,
    ):

        async def call() -> None:
            with pytest.raises(CredentialClosedError):
                await credential.get_token()

        await anyio.sleep(361)
        group.start_soon(call)
        await anyio.sleep(1)
        assert credential.statistics().waiting == 1
        await credential.close()


async def test_no_wait_for_a_stale_token_is_a_choice(clock: VirtualClock) -> None:
    """With a wait of zero, a stale token's callers start its renewal and get the held one at once."""
    source = ScriptedSource(HOUR, latency=1, clock=clock)
    policy = RefreshPolicy(on_demand_wait=0)
    held = a_token(clock, 480)
    async with credential_of(source, clock, token=held, proactive_refresh=False, policy=policy) as credential:
        await anyio.sleep(361)
        before = clock.monotonic()
        assert await credential.get_token() is held
        assert await credential.get_token() is held
        assert clock.monotonic() == before
        await anyio.sleep(1.1)
        assert await credential.get_token() is not held
        assert source.calls == 1


async def test_an_expiry_during_a_round_is_told(clock: VirtualClock) -> None:
    """A token that ends while its successor is on the way has ended before that was there."""
    events: list[object] = []
    source = ScriptedSource(HOUR, latency=20, clock=clock)
    credential = credential_of(
        source, clock, token=a_token(clock, 480), proactive_refresh=False, observer=events.append
    )
    async with credential:
        await anyio.sleep(470)
        await credential.refresh()
    assert [type(event) for event in events[:3]] == [RefreshStarted, TokenExpired, RefreshSucceeded]


async def test_nothing_happens_after_the_block(clock: VirtualClock) -> None:
    """However soon it is left, closing is the last that a credential tells, and its source is asked no more."""
    for checkpoints in range(6):
        for token in (None, AccessToken("ended", 5)):
            events: list[object] = []
            source = ScriptedSource(HOUR, clock=clock)
            async with credential_of(source, clock, token=token, observer=events.append):
                for _ in range(checkpoints):
                    await checkpoint()
                calls = source.calls
            assert events[-1] == CredentialClosed()
            assert source.calls == calls


@pytest.mark.promise("R11")
async def test_a_fresh_token_is_handed_out_during_a_round(clock: VirtualClock) -> None:
    """A refresh in flight keeps nobody waiting whose token is fresh."""
    source = ScriptedSource(HOUR, latency=20, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        await anyio.sleep(HOUR - 595)
        assert source.in_flight == 1
        before = clock.monotonic()
        assert (await credential.get_token()).token == "initial"
        assert clock.monotonic() == before


@pytest.mark.promise("R11")
async def test_every_read_is_a_point_of_cancellation(clock: VirtualClock) -> None:
    """A cancelled task gets no further than its next read, also of a fresh token."""
    async with credential_of(ScriptedSource(HOUR, clock=clock), clock, token=a_token(clock, HOUR)) as credential:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await credential.get_token()
            pytest.fail("the read did not notice the cancellation")
        assert scope.cancelled_caught


@pytest.mark.promise("R11")
async def test_a_loop_of_reads_starves_nobody(clock: VirtualClock) -> None:
    """Others run at every 64th fresh read, and at no other: a full yield takes longer than all else in a read."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with (
        credential_of(ScriptedSource(HOUR, clock=clock), clock, token=a_token(clock, HOUR)) as credential,
        anyio.create_task_group() as group,
    ):
        group.start_soon(other)
        await checkpoint()
        for _ in range(5):
            before = turns
            for _ in range(640):
                await credential.get_token()
            assert 9 <= turns - before <= 11  # trio runs the tasks that are ready in any order
        group.cancel_scope.cancel()


@pytest.mark.promise("R2")
async def test_a_token_is_published_before_anybody_wakes(clock: VirtualClock) -> None:
    """Who is woken, and the observer before, finds the new token in place."""
    seen: list[AccessToken] = []

    def observe(event: object) -> None:
        if not isinstance(event, RefreshStarted) and credential.statistics().refreshes:
            seen.append(credential.get_token_nowait())

    credential = credential_of(ScriptedSource(HOUR, latency=1, clock=clock), clock, observer=observe)
    async with credential:
        token = await credential.get_token()
        assert credential.get_token_nowait() is token
        assert seen == [token]


@pytest.mark.promise("R10")
async def test_the_source_runs_in_the_context_of_who_entered(clock: VirtualClock) -> None:
    """A caller's context variables and cancel scopes are its own."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    async def source() -> AccessToken:
        await checkpoint()
        seen.append(name.get())
        return a_token(clock, HOUR)

    name.set("enterer")
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        name.set("caller")
        await credential.get_token()
    assert seen == ["enterer"]


@pytest.mark.promise("R12")
@pytest.mark.parametrize("how", ["directly", "in a child task", "by refresh()", "by refresh(rejected=)"])
async def test_a_source_that_asks_its_own_credential(clock: VirtualClock, how: str) -> None:
    """It is told so at once instead of waiting for itself, from whatever task it asks."""

    async def source() -> AccessToken:
        if how == "in a child task":
            with anyio.fail_after(1):
                async with anyio.create_task_group() as group:  # noqa: ASYNC112 - another task is the point
                    group.start_soon(credential.get_token)
        if how == "by refresh()":
            await credential.refresh()
        if how == "by refresh(rejected=)":
            await credential.refresh(rejected="other")
        return await credential.get_token()

    async with credential_of(source, clock, proactive_refresh=False) as credential:
        credential_alias = credential
        with pytest.raises(TokenRefreshError) as caught:
            await credential_alias.get_token()
        cause: BaseException | None = caught.value.__cause__
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        assert isinstance(cause, CredentialUsageError)
        assert str(cause) == (
            "the token source asked its own credential for a token, which would wait for itself; "
            "give the source a credential of its own, or none"
        )
        assert clock.monotonic() < 1000.1


async def test_a_task_that_a_source_left_behind_may_ask(clock: VirtualClock) -> None:
    """Only the round in flight is out of bounds: what a source started once may use the credential later."""
    got: list[AccessToken] = []
    later = anyio.Event()

    async with anyio.create_task_group() as group:

        async def background() -> None:
            await later.wait()
            got.append(await credential.get_token())

        async def source() -> AccessToken:
            group.start_soon(background)
            await checkpoint()
            return a_token(clock, HOUR, "fetched")

        async with credential_of(source, clock, proactive_refresh=False) as credential:
            await credential.get_token()
            await anyio.sleep(HOUR)
            later.set()
            await anyio.sleep(1)
            group.cancel_scope.cancel()
    assert {token.token for token in got} == {"fetched"}


# Forcing and rejecting


@pytest.mark.promise("R49")
async def test_a_thousand_forces_make_one_round(clock: VirtualClock) -> None:
    """refresh() starts a round, and every other joins it."""
    source = ScriptedSource(HOUR, latency=1, clock=clock)
    got: list[AccessToken] = []
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:

        async def force() -> None:
            got.append(await credential.refresh())

        async with anyio.create_task_group() as group:
            for _ in range(1000):
                group.start_soon(force)
    assert source.calls == 1
    assert len({id(token) for token in got}) == 1


async def test_a_forced_result_may_end_earlier(clock: VirtualClock) -> None:
    """What refresh() brings replaces the held token if it is unexpired, and a scheduled round it joins does so too."""
    source = ScriptedSource(1800, latency=5, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        assert (await credential.refresh()).expires_on == pytest.approx(clock.time() + 1800, abs=6)
        assert (await credential.get_token()).token != "initial"


async def test_a_forced_refresh_that_fails_keeps_the_held_token(clock: VirtualClock) -> None:
    """The caller of refresh() learns of the failure, everybody else keeps the token."""
    held = a_token(clock, HOUR)
    async with credential_of(ScriptedSource(OSError("down")), clock, token=held) as credential:
        with pytest.raises(TokenRefreshError):
            await credential.refresh()
        assert await credential.get_token() is held


async def test_a_forced_refresh_passes_a_backoff(clock: VirtualClock) -> None:
    """refresh() waits for no back-off."""
    source = ScriptedSource(*[OSError("down")] * 5, HOUR, clock=clock)
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        for _ in range(5):
            with pytest.raises(TokenRefreshError):
                await credential.refresh()
        assert (await credential.refresh()).token
        assert clock.monotonic() == 1000


@pytest.mark.promise("R50")
@pytest.mark.once
async def test_a_thousand_rejections_make_one_round(clock: VirtualClock) -> None:
    """Rejecting the held token fetches another once; rejecting an older one fetches nothing."""
    source = ScriptedSource(HOUR, latency=1, clock=clock)
    held = a_token(clock, HOUR)
    async with credential_of(source, clock, token=held) as credential:
        async with anyio.create_task_group() as group:
            for _ in range(1000):
                group.start_soon(lambda: credential.refresh(rejected=held))
        assert source.calls == 1
        newest = credential.get_token_nowait()
        assert await credential.refresh(rejected=held) is newest
        assert await credential.refresh(rejected=held.token) is newest
        await anyio.sleep(HOUR - 590)  # stale for its callers by now, or being renewed: an older token is still older
        calls = source.calls
        assert await credential.refresh(rejected=held) is credential.get_token_nowait()
        assert source.calls == calls


@pytest.mark.promise("R50")
async def test_a_rejection_respects_the_backoff(clock: VirtualClock) -> None:
    """A dead source is not asked once a rejection: the last error is raised at once, and the held token stays."""
    busy = TokenSourceError("busy", retry_after=100)
    source = ScriptedSource(busy, HOUR, clock=clock)
    held = a_token(clock, HOUR)
    async with credential_of(source, clock, token=held) as credential:
        for wait in (*[0] * 50, 99.5):
            await anyio.sleep(wait)
            with pytest.raises(TokenRefreshError) as caught:
                await credential.refresh(rejected=held)
            assert caught.value.__cause__ is busy
        assert source.calls == 1
        assert await credential.get_token() is held
        await anyio.sleep(1)
        assert await credential.refresh(rejected=held) is not held
        assert source.calls == 2


@pytest.mark.promise("R50")
async def test_a_source_that_returns_the_rejected_token(clock: VirtualClock) -> None:
    """That round failed; the token stays held, since one service's 401 may be its own mistake."""
    held = a_token(clock, HOUR)
    async with credential_of(ScriptedSource(held), clock, token=held) as credential:
        with pytest.raises(TokenRefreshError) as caught:
            await credential.refresh(rejected=held)
        assert "turned down" in str(caught.value.__cause__)
        assert await credential.get_token() is held


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("Bearer {}", "leave out"),
        ("bearer {}", "leave out"),
        (" {}", "copy it again"),
        ("{}\n", "copy it again"),
        ("", "blank"),
    ],
)
async def test_a_rejected_text_that_is_no_token_is_refused(clock: VirtualClock, written: str, fix: str) -> None:
    """No such text is ever held, so that it would not be replaced, however often it is turned down."""
    source = ScriptedSource(HOUR, clock=clock)
    async with credential_of(source, clock) as credential:
        held = await credential.get_token()
        with pytest.raises(InvalidTokenError, match=fix) as caught:
            await credential.refresh(rejected=written.format(held.token))
        assert held.token not in str(caught.value)
        assert await credential.refresh(rejected=held.token) is not held


NOT_AT_ONCE = (
    "the service turns tokens down as soon as they are fetched, so the next is not fetched at once; "
    "see why it refuses them (its answer's body, the token's scopes)"
)


@pytest.mark.promise("R31", "R50")
async def test_a_service_that_refuses_every_token_is_not_fed_one_a_request(clock: VirtualClock) -> None:
    """Tokens turned down right after their receipt are replaced at the pace of the back-off after the first."""
    source = Timed(ScriptedSource(HOUR, clock=clock), clock)
    refused = 0
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        for _ in range(600):
            try:
                await credential.refresh(rejected=await credential.get_token())
            except TokenRefreshError as error:
                assert str(error) == NOT_AT_ONCE  # noqa: PT017 - some of them succeed
                refused += 1
            await anyio.sleep(0.1)
    assert len(source.times) <= 8
    assert source.gaps == sorted(source.gaps)
    assert refused > 500


@pytest.mark.promise("R50")
async def test_a_rejection_after_a_quiet_minute_is_served_at_once(clock: VirtualClock) -> None:
    """Only rejections right after a receipt slow the next one down."""
    source = ScriptedSource(HOUR, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        for calls in range(1, 5):
            await credential.refresh(rejected=await credential.get_token())
            assert source.calls == calls
            await anyio.sleep(61)


@pytest.mark.parametrize("forced", [False, True])
async def test_a_fetched_token_that_has_ended_by_then(clock: VirtualClock, forced: bool) -> None:
    """What a round brought, and a clock step ended before its caller had its turn, is fetched once more."""
    source = ScriptedSource(HOUR, clock=clock)

    def end(event: object) -> None:
        if isinstance(event, RefreshSucceeded) and source.calls == 1:
            clock.jump(2 * HOUR)

    credential = credential_of(source, clock, proactive_refresh=False, observer=end)
    async with credential:
        token = await (credential.refresh() if forced else credential.get_token())
        assert token.expires_on > clock.time()
        assert source.calls == 2


async def test_rejecting_without_a_valid_token_gets_one(clock: VirtualClock) -> None:
    """Where the rejected token has ended meanwhile, the call is as good as get_token()."""
    held = a_token(clock, 100)
    async with credential_of(
        ScriptedSource(HOUR, clock=clock), clock, token=held, proactive_refresh=False
    ) as credential:
        await anyio.sleep(101)
        assert await credential.refresh(rejected=held) is not held


async def test_claims_mean_a_rejection(clock: VirtualClock) -> None:
    """A claims challenge, which a refresher cannot pass on, fetches a new token once."""
    source = ScriptedSource(HOUR, latency=1, clock=clock)
    held = a_token(clock, HOUR)
    async with credential_of(source, clock, token=held) as credential:
        newer = await credential.get_token("scope", claims="{}")
        assert newer is not held
        assert (await credential.get_token_info("scope")).token == newer.token
        with pytest.raises(TokenRefreshError, match="turns tokens down"):
            await credential.get_token("scope", claims="{}")
        assert source.calls == 1
        await anyio.sleep(61)
        assert (await credential.get_token_info(options={"claims": "{}"})).token != newer.token
        assert source.calls == 2
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        assert (await credential.get_token(claims="{}", tenant_id="t", enable_cae=True)).token


@pytest.mark.promise("R54")
async def test_an_observer_of_the_expiry_may_ask_for_a_round(clock: VirtualClock, anyio_backend_name: str) -> None:
    """It is heard at once, also where an eager task asks while the observer is still being called."""
    source = Timed(ScriptedSource(HOUR, clock=clock), clock)
    asking: list[asyncio.Task[object]] = []

    def observe(event: object) -> None:
        if isinstance(event, TokenExpired) and anyio_backend_name == "asyncio":
            asking.append(asyncio.ensure_future(credential.refresh()))
        elif isinstance(event, TokenExpired):
            group.start_soon(credential.refresh)

    credential = credential_of(source, clock, token=a_token(clock, 60), proactive_refresh=False, observer=observe)
    async with anyio.create_task_group() as group, credential:
        await anyio.sleep(80)
    assert source.times == [pytest.approx(60, abs=0.1)]


# Clocks


@pytest.mark.promise("R22")
@pytest.mark.parametrize("step", [HOUR, 86_400])
async def test_a_wall_clock_set_ahead(clock: VirtualClock, step: float) -> None:
    """The renewal follows within a slice of the sleep, and no caller gets an expired token."""
    source = ScriptedSource(HOUR, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        await anyio.sleep(10)
        clock.jump(step)
        await anyio.sleep(30.1)
        assert source.calls == 1
        clock.jump(step)
        assert (await credential.get_token()).expires_on > clock.time()
        assert source.calls == 2


@pytest.mark.promise("R23")
async def test_a_wall_clock_set_back(clock: VirtualClock) -> None:
    """It makes no burst, and the token is still renewed before its real end."""
    source = Timed(ScriptedSource(HOUR, clock=clock), clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)):
        await anyio.sleep(100)
        clock.jump(-HOUR)
        await anyio.sleep(HOUR - 100)
    assert source.times == [pytest.approx(HOUR - 600, abs=31)]


@pytest.mark.promise("R24")
async def test_waking_from_a_long_sleep(clock: VirtualClock) -> None:
    """Eight hours of suspend are noticed within a slice, and a first attempt that fails is repeated soon."""
    source = Timed(ScriptedSource(OSError("no network yet"), HOUR, clock=clock), clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        await anyio.sleep(100)
        clock.jump(8 * HOUR)
        await anyio.sleep(40)
        assert credential.statistics().state is TokenState.FRESH
    assert source.times[0] <= 130.1
    assert source.gaps == [pytest.approx(1.5, abs=0.6)]


@pytest.mark.promise("R24")
async def test_waking_during_a_backoff(clock: VirtualClock) -> None:
    """A wait that was cut to end with the token is over when a suspend has ended the token."""
    source = ScriptedSource(TokenSourceError("busy", retry_after=290), HOUR, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        await anyio.sleep(HOUR - 599)
        assert source.calls == 1
        clock.jump(8 * HOUR)
        assert (await credential.get_token()).token
        assert source.calls == 2


@pytest.mark.promise("R24")
@pytest.mark.parametrize(
    ("slept", "failure", "asked"),
    [
        (8 * HOUR, OSError("the connection is gone"), 2),
        (8 * HOUR, TokenSourceError("signed out", permanent=True), 1),
        (61.0, OSError("the connection is gone"), 2),
        (59.0, OSError("the connection is gone"), 1),
        (-8 * HOUR, OSError("the connection is gone"), 1),
    ],
)
async def test_a_sleep_while_the_source_was_at_work(
    slept: float, failure: Exception, asked: int, clock: VirtualClock
) -> None:
    """What it brought may be as old as the sleep was long: it is asked once more before anybody is told."""

    async def sleep_through() -> str:
        clock.jump(slept)
        raise failure

    source = ScriptedSource(sleep_through, HOUR, clock=clock)
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        if asked == 2:
            assert (await credential.get_token()).token
        else:
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            assert caught.value.__cause__ is failure
        assert (source.calls, credential.statistics().failures) == (asked, 2 - asked)


@pytest.mark.promise("R24")
async def test_a_sleep_that_outlasts_the_token_that_was_asked_for(clock: VirtualClock) -> None:
    """The token has ended when it arrives, and the source is asked once more."""

    async def sleep_through() -> AccessToken:
        token = a_token(clock, HOUR)
        clock.jump(8 * HOUR)
        return token

    source = ScriptedSource(sleep_through, HOUR, clock=clock)
    async with credential_of(source, clock) as credential:
        assert (await credential.get_token()).expires_on > clock.time()
    assert source.calls == 2


@pytest.mark.promise("R24")
@pytest.mark.parametrize("took", [20, 40])
async def test_a_source_that_is_asked_once_more_has_the_rest_of_the_round(took: float, clock: VirtualClock) -> None:
    async def sleep_through() -> str:
        clock.jump(HOUR)
        await anyio.sleep(took)
        raise OSError

    source = ScriptedSource(sleep_through, anyio.sleep_forever, clock=clock)
    async with credential_of(source, clock, proactive_refresh=False) as credential:
        began = anyio.current_time()
        with pytest.raises(TokenRefreshError):
            await credential.get_token()
        assert anyio.current_time() - began == pytest.approx(30)


class StallingClock(VirtualClock):
    """A clock that can go on while the event loop stands still."""

    stalled = 0.0

    def time(self) -> float:
        return super().time() + self.stalled

    def monotonic(self) -> float:
        return super().monotonic() + self.stalled


@pytest.mark.promise("R25")
@pytest.mark.parametrize("stall", [5, 60])
@pytest.mark.parametrize("when", ["in the source", "in the sleep", "while waiting"])
async def test_a_stalled_event_loop(stall: float, when: str) -> None:
    """An event loop that stood still costs one refresh at most, no error, and nobody an expired token."""
    clock = StallingClock()
    calls = 0

    async def source() -> AccessToken:
        nonlocal calls
        calls += 1
        token = a_token(clock, 600, f"fetched {calls}".replace(" ", "-"))
        await anyio.sleep(1)
        if when == "in the source" and calls == 1:
            clock.stalled += stall
        return token

    async with credential_of(source, clock) as credential, anyio.create_task_group() as group:

        async def call() -> None:
            token = await credential.get_token()
            assert token.expires_on > clock.time()

        group.start_soon(call)
        await anyio.sleep(0.5)
        if when == "while waiting":
            clock.stalled += stall
        await anyio.sleep(10)
        if when == "in the sleep":
            clock.stalled += stall
        await call()
        assert calls <= 2
        assert credential.statistics().failures == 0


async def test_who_waited_for_a_round_that_failed_gets_its_error_however_late() -> None:
    """Also where the pause after it is over by then: nobody waits for a second round."""
    clock = StallingClock()
    calls = 0

    async def source() -> AccessToken:
        nonlocal calls
        calls += 1
        await checkpoint()
        raise OSError

    def stall(event: CredentialEvent) -> None:
        if isinstance(event, RefreshFailed):
            clock.stalled += HOUR

    async with credential_of(source, clock, proactive_refresh=False, observer=stall) as credential:
        with pytest.raises(TokenRefreshError):
            await credential.get_token()
        assert calls == 1


async def test_a_thread_that_has_left_a_round_is_not_called_at_its_end() -> None:
    called: list[str] = []
    leaves, stays = partial(called.append, "leaves"), partial(called.append, "stays")
    asked = Round()
    asked.call_at_end(leaves)
    asked.call_at_end(stays)
    asked.call_no_more(leaves)
    assert asked.waiting == 1
    asked.end()
    asked.call_no_more(stays)  # it looks after itself a moment too late
    assert called == ["stays"]
    with anyio.fail_after(1):
        await asked.wait()  # as does a task that begins to wait only now


async def test_a_round_that_is_no_longer_due_is_not_made() -> None:
    """A clock that was wrong for a moment is looked at again under the lock, before the source is asked."""

    class Glitch(VirtualClock):
        wrong_readings = 0

        def time(self) -> float:
            if self.wrong_readings:
                self.wrong_readings -= 1
                return super().time() + 86_400
            return super().time()

    clock = Glitch()
    source = ScriptedSource(HOUR, clock=clock)
    async with credential_of(source, clock, token=a_token(clock, HOUR)) as credential:
        await anyio.sleep(1)
        clock.wrong_readings = 1
        await anyio.sleep(60)
        assert clock.wrong_readings == 0
        assert source.calls == 0
        assert (await credential.get_token()).token == "initial"


@pytest.mark.promise("R48")
@pytest.mark.once
async def test_a_credential_is_one_task(clock: VirtualClock) -> None:
    """A thousand entered credentials are a thousand tasks, which end with them."""
    before = len(anyio.get_running_tasks())
    async with AsyncExitStack() as stack:
        for _ in range(1000):
            await stack.enter_async_context(credential_of(ScriptedSource(HOUR, clock=clock), clock))
        await anyio.sleep(1)
        assert len(anyio.get_running_tasks()) == before + 1000
    assert len(anyio.get_running_tasks()) == before


@pytest.mark.promise("R21")
@pytest.mark.once
async def test_a_week_of_refreshing(clock: VirtualClock) -> None:
    """A week of one-hour tokens, with failures between, is a few hundred calls and no error.

    It answers Azure/azure-sdk-for-python#39522.
    """
    script: list[Any] = [HOUR, OSError("down"), HOUR]
    source = ScriptedSource(*script * 10, HOUR, clock=clock)
    async with credential_of(source, clock, policy=RefreshPolicy()) as credential:
        for _ in range(7 * 24 * 6):
            assert (await credential.get_token()).expires_on > clock.time()
            await anyio.sleep(600)
    assert 190 <= source.calls <= 240
    assert source.most_in_flight == 1


@pytest.mark.once
async def test_a_token_of_sixty_days_is_no_storm(clock: VirtualClock) -> None:
    """A timer of 32 bits would run out at once; it is renewed when it is due, and not before."""
    days = 86_400
    source = ScriptedSource(60 * days, clock=clock)
    async with credential_of(source, clock, policy=RefreshPolicy(jitter=0)):
        await anyio.sleep(2 * days)
        clock.jump(55 * days)
        await anyio.sleep(60)
        assert source.calls == 1
        await anyio.sleep(2 * days)
        assert source.calls == 2


async def test_opened_for_each_request_of_two_days(clock: VirtualClock) -> None:
    """It is not how to use it, but it works on: each block has a valid token, beyond the life of any.

    It answers Azure/azure-sdk-for-python#39522.
    """
    credential = credential_of(ScriptedSource(HOUR, clock=clock), clock)
    for _ in range(2 * 24 * 4):
        async with credential:
            assert (await credential.get_token()).expires_on > clock.time()
        await anyio.sleep(HOUR / 4)
