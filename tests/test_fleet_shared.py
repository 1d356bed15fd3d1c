"""A fleet in one process and in virtual time: who asks the source, who waits, and what a store can do to them."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from redacted import Redacted

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialUsageError,
    ServiceError,
    SignInRequiredError,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential._tokens.token_source import TokenSource
from anyio_acs_credential.fleet import Entry, MemoryTokenStore, StoreError, Taken, UnreadableError, shared
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, make_jwt, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio_acs_credential._tokens.token_source import Watch

NAME = "token:ana"
LIFE = 3600.0


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class FaultyStore(MemoryTokenStore):
    """Does what it is told instead, while it is told to.

    Attributes:
        fault: Awaited at each operation with its name, its result is the operation's where it is not None.
        asked: The operations, in order.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.fault: Callable[[str], Awaitable[Any]] | None = None
        self.asked: list[str] = []

    async def _faulty(self, operation: str, call: Callable[[], Awaitable[Any]]) -> Any:
        self.asked.append(operation)
        answer = await self.fault(operation) if self.fault is not None else None
        return await call() if answer is None else answer

    async def look(self, name: str) -> Entry | None:
        found: Entry | None = await self._faulty("look", partial(super().look, name))
        return found

    async def take(self, name: str, seconds: float) -> Taken:
        taken: Taken = await self._faulty("take", partial(super().take, name, seconds))
        return taken

    async def prolong(self, name: str, fence: int, seconds: float) -> bool:
        done: bool = await self._faulty("prolong", partial(super().prolong, name, fence, seconds))
        return done

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        done: bool = await self._faulty("put", partial(super().put, name, fence, value, seconds))
        return done

    async def release(self, name: str, fence: int) -> None:
        await self._faulty("release", partial(super().release, name, fence))


@pytest.fixture
async def store(clock: VirtualClock) -> AsyncGenerator[FaultyStore]:
    async with FaultyStore(clock) as store:
        yield store


class Asked(TokenSource):
    """A source that takes claims: plays a script as `ScriptedSource` does, and notes the claims."""

    def __init__(self, *script: Any, clock: VirtualClock, latency: float = 1) -> None:
        self.play = ScriptedSource(*script, clock=clock, latency=latency)
        self.claims: list[str | None] = []
        self.watched: Watch | None = None

    async def __call__(self, claims: str | None = None) -> AccessToken:
        self.claims.append(claims)
        token: AccessToken = await self.play()
        return token

    def secrets(self) -> list[str]:
        return ["canary"]

    def watch_exchanges(self, watch: Watch) -> None:
        self.watched = watch


def member(source: Any, store: MemoryTokenStore, clock: VirtualClock, **options: Any) -> Any:
    """The source of one process."""
    made: Any = shared(source, store, key="ana", **options)
    made.use(clock)
    return made


async def all_of(*calls: Callable[[], Awaitable[AccessToken]]) -> list[AccessToken | Exception]:
    answers: list[AccessToken | Exception] = [ValueError()] * len(calls)

    async def call(place: int) -> None:
        try:
            answers[place] = await calls[place]()
        except Exception as error:  # noqa: BLE001 - it is looked at
            answers[place] = error

    async with anyio.create_task_group() as group:
        for place in range(len(calls)):
            group.start_soon(call, place)
    return answers


def wait_after(failures: int) -> Any:
    """The back-off after so many failures in a row, whatever its jitter."""
    return pytest.approx(1.5 * 2 ** (failures - 1), rel=0.34)


def is_shared(token: AccessToken) -> bool:
    return token._is_shared


@pytest.mark.promise("R65")
class TestOneFetch:
    """One process asks, and the others get what it got."""

    @pytest.mark.once
    async def test_six_hours_of_a_fleet(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = ScriptedSource(LIFE, latency=2, clock=clock)
        counts: list[tuple[int, int]] = []

        async def work() -> None:
            mine = shared(source, store, key="ana")
            async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
                await credential.get_token()
                await anyio.sleep(6 * LIFE)
                statistics = credential.statistics()
                assert statistics.failures == 0
                counts.append((statistics.refreshes, statistics.shared))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(work)
        lives = 6 * LIFE / (LIFE - 660)
        assert source.most_in_flight == 1
        assert source.calls <= lives + 2
        assert sum(refreshes - others for refreshes, others in counts) == source.calls

    async def test_each_operation_is_needed(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(LIFE, clock=clock)
        first, second = (member(source, store, clock) for _ in range(2))
        token = await first()
        assert not is_shared(token)
        assert store.asked == ["look", "take", "put"]
        store.asked.clear()
        other = await second()
        assert other == token
        assert is_shared(other)
        assert store.asked == ["look"]
        store.asked.clear()
        assert await first() != token  # asked for again, it is another one that is wanted
        assert len(source.claims) == 2

    async def test_a_slow_source_keeps_its_lease(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(LIFE, clock=clock, latency=18)
        answers = await all_of(*(member(source, store, clock) for _ in range(5)))
        assert len(set(answers)) == 1
        assert source.play.calls == 1

    async def test_whose_token_it_is_comes_along(self, store: FaultyStore, clock: VirtualClock) -> None:
        from anyio_acs_credential._exchange.wire import ExchangedToken

        token = ExchangedToken("opaque-text", clock.time() + LIFE, "8:acs:ana")
        await member(ScriptedSource(token, clock=clock), store, clock)()
        mine = shared(ScriptedSource(token, clock=clock), store, key="ana")
        async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
            assert await credential.get_token() == token
            assert credential.raw_id == "8:acs:ana"
            assert credential.statistics().shared == 1

    async def test_it_calls_no_clock_wrong(self, store: FaultyStore, clock: VirtualClock) -> None:
        """What it says of the service's time came by the clock of the machine that fetched it."""
        wrong = VirtualClock(clock.time() - 600)
        made: Any = shared(Asked(AccessToken("fetched", int(clock.time()) + 3600, 3600), clock=wrong), store, key="ana")
        made.use(wrong)
        await made()
        mine = member(Asked(LIFE, clock=clock), store, clock)
        async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
            assert (await credential.get_token()).token == "fetched"
            assert credential.statistics().clock_offset is None

    async def test_a_token_that_is_about_to_end_is_no_use(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(100, LIFE, clock=clock)
        await member(source, store, clock)()
        await anyio.sleep(91)
        token = await member(source, store, clock)()
        assert token.expires_on > clock.time() + LIFE - 10
        assert source.play.calls == 2

    async def test_a_token_that_came_as_ended_is_not_shared(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(0, clock=clock)
        await member(source, store, clock)()
        assert await store.look(NAME) is None
        assert (await store.take(NAME, 5)).fence is not None

    async def test_keys_are_apart(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(LIFE, clock=clock)
        ana, ben = (shared(source, store, key=key) for key in ("ana", "ben"))
        for each in (ana, ben):
            each.use(clock)
        assert await ana() != await ben()

    async def test_keys_that_hide_themselves_are_apart(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(LIFE, clock=clock)
        ana, ben = (shared(source, store, key=Redacted(key)) for key in ("ana", "ben"))
        for each in (ana, ben):
            each.use(clock)
        assert await ana() != await ben()
        assert await store.look(NAME) is not None

    async def test_one_that_asks_its_own_credential(self, store: FaultyStore, clock: VirtualClock) -> None:
        async def ask_itself() -> AccessToken:
            return await credential.get_token()

        mine = shared(ask_itself, store, key="ana")
        async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
        assert isinstance(caught.value.__cause__, CredentialUsageError)


@pytest.mark.promise("R66")
class TestLease:
    """What happens to a lease, and who comes after it."""

    async def test_the_next_takes_over_from_a_killed_one(self, store: FaultyStore, clock: VirtualClock) -> None:
        await store.take(NAME, 5)
        began = clock.monotonic()
        await member(Asked(LIFE, clock=clock, latency=0), store, clock)()
        assert 4.9 < clock.monotonic() - began < 5.5

    async def test_a_late_answer_is_its_own_and_nobody_elses(self, store: FaultyStore, clock: VirtualClock) -> None:
        """The holder could not prolong, as where it was stopped; another has fetched since."""
        slow, quick = Asked(LIFE, clock=clock, latency=9), Asked(LIFE, clock=clock, latency=0)

        async def cut_off(operation: str) -> bool | None:
            return False if operation == "prolong" else None

        async def later() -> AccessToken:
            await anyio.sleep(1)
            token: AccessToken = await member(quick, store, clock)()
            return token

        store.fault = cut_off
        late, newer = await all_of(member(slow, store, clock), later)
        assert isinstance(late, AccessToken)
        assert isinstance(newer, AccessToken)
        assert late != newer
        assert await member(Asked(LIFE, clock=clock), store, clock)() == newer

    async def test_a_prolongation_that_fails_is_tried_again(self, store: FaultyStore, clock: VirtualClock) -> None:
        faults = [StoreError(), None]

        async def sometimes(operation: str) -> None:
            if operation == "prolong" and len(faults) > 1 and (fault := faults.pop(0)) is not None:
                raise fault

        store.fault = sometimes
        source = Asked(LIFE, clock=clock, latency=12)
        answers = await all_of(*(member(source, store, clock) for _ in range(3)))
        assert len(set(answers)) == 1
        assert source.play.calls == 1

    async def test_a_cancelled_round_ends_its_lease(self, store: FaultyStore, clock: VirtualClock) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(member(Asked(LIFE, clock=clock, latency=10), store, clock))
            await anyio.sleep(2)
            group.cancel_scope.cancel()
        began = clock.monotonic()
        await member(Asked(LIFE, clock=clock, latency=0), store, clock)()
        assert clock.monotonic() == began

    @pytest.mark.parametrize("operation", ["release", "put"])
    async def test_a_round_that_ends_waits_for_a_store_that_hangs_for_a_second(
        self, operation: str, store: FaultyStore, clock: VirtualClock
    ) -> None:
        async def hang(asked: str) -> None:
            if asked == operation:
                await anyio.sleep_forever()

        store.fault = hang
        began = clock.monotonic()
        with anyio.CancelScope(deadline=anyio.current_time() + (2 if operation == "put" else inf)) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(member(Asked(LIFE, clock=clock, latency=10), store, clock))
                await anyio.sleep(2)
                scope.cancel()
        assert clock.monotonic() - began == 3

    async def test_one_that_was_taken_for_nothing_is_released(self, store: FaultyStore, clock: VirtualClock) -> None:
        """The token had come between the look and the lease."""
        source = Asked(LIFE, clock=clock, latency=0)
        token = await member(source, store, clock)()

        async def nothing_yet(operation: str) -> Any:
            await checkpoint()
            return Entry(0, b'{"token":null,"failure":null}') if operation == "look" else None

        store.fault = nothing_yet
        assert await member(source, store, clock)() == token
        assert store.asked[-1] == "release"
        assert source.play.calls == 1

    async def test_a_token_that_comes_while_another_has_the_lease(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        source = Asked(LIFE, clock=clock, latency=0)
        token = await member(source, store, clock)()
        await store.take(NAME, 60)

        async def nothing_yet(operation: str) -> Any:
            return Entry(0, b'{"token":null,"failure":null}') if operation == "look" else None

        store.fault = nothing_yet
        assert await member(source, store, clock)() == token

    async def test_a_source_that_is_as_slow_as_a_round_is_asked_once(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        """Nobody else asks it because it is slow: they would all do so at the same moment."""
        source = Asked(LIFE, clock=clock, latency=29)
        async with AsyncExitStack() as stack:
            fleet = [
                await stack.enter_async_context(
                    CommunicationTokenCredential(token_refresher=member(source, store, clock), clock=clock)
                )
                for _ in range(9)
            ]
            tokens = await all_of(*(each.get_token for each in fleet))
        assert len({token.token for token in tokens if isinstance(token, AccessToken)}) == 1
        assert source.play.calls == 1

    async def test_the_next_takes_over_from_one_that_waits_for_ever(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        """It prolongs its lease for a minute."""
        began = clock.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(member(Asked(LIFE, clock=clock, latency=1e6), store, clock))
            await anyio.wait_all_tasks_blocked()
            await member(Asked(LIFE, clock=clock, latency=0), store, clock)()
            group.cancel_scope.cancel()
        assert 60 < clock.monotonic() - began < 67


@pytest.mark.promise("R67")
class TestFailures:
    """A failure is an answer, too."""

    async def test_it_is_everybodys_for_as_long_as_the_source_asked(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        source = Asked(TokenSourceError("too many requests", retry_after=120), LIFE, clock=clock)
        answers = await all_of(*(member(source, store, clock) for _ in range(5)))
        assert {type(each) for each in answers} == {TokenSourceError}
        waits = sorted(each.retry_after or 0 for each in answers if isinstance(each, TokenSourceError))
        assert waits[-1] == 120
        assert waits[0] > 118
        await anyio.sleep(60)
        with pytest.raises(TokenSourceError, match="another process of the fleet was told: too many") as caught:
            await member(source, store, clock)()
        assert caught.value.retry_after == pytest.approx(60, abs=2)
        await anyio.sleep(60)
        await member(source, store, clock)()
        assert source.play.calls == 2

    async def test_many_who_ask_at_once_later_are_told_at_once(self, store: FaultyStore, clock: VirtualClock) -> None:
        """Under the lease, one after the other, and none asks a source that is throttled."""

        async def take_time(operation: str) -> None:
            await anyio.sleep(0.002)

        source = Asked(TokenSourceError("too many requests", retry_after=120), clock=clock)
        with pytest.raises(TokenSourceError):
            await member(source, store, clock)()
        await anyio.sleep(30)
        store.fault = take_time
        began = clock.monotonic()
        answers = await all_of(*(member(source, store, clock) for _ in range(30)))
        assert {type(each) for each in answers} == {TokenSourceError}
        assert source.play.calls == 1
        assert clock.monotonic() - began < 10

    @pytest.mark.once
    @pytest.mark.parametrize(
        "failure",
        [OSError("down"), TokenSourceError("busy", retry_after=0.5)],
        ids=["silent", "half a second"],
    )
    async def test_a_fleet_backs_off_as_one_process_does(
        self, failure: Exception, store: FaultyStore, clock: VirtualClock
    ) -> None:
        """A short wait that is asked for shortens no back-off."""
        source = ScriptedSource(failure, clock=clock)

        async def work() -> None:
            mine = shared(source, store, key="ana")
            async with CommunicationTokenCredential(token_refresher=mine, clock=clock):
                await anyio.sleep(600)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(work)
        assert source.calls < 80  # one alone asks 15 times in ten minutes: twenty, 300 times

    async def test_it_is_told_to_each_once_and_then_tried(self, store: FaultyStore, clock: VirtualClock) -> None:
        """As a person's refresh() wants it."""
        source = Asked(SignInRequiredError("sign in"), LIFE, clock=clock)
        first, second = (member(source, store, clock) for _ in range(2))
        for each in (first, second):
            with pytest.raises(SignInRequiredError) as caught:
                await each()
            assert caught.value.permanent
            assert caught.value.retry_after is None
        assert source.play.calls == 1
        assert isinstance(await second(), AccessToken)
        assert await first() == await member(source, store, clock)()
        assert source.play.calls == 2

    async def test_a_permanent_one_ends_for_all_at_once(self, store: FaultyStore, clock: VirtualClock) -> None:
        """Whoever is told late is not held up for as long again."""
        source = Asked(SignInRequiredError("sign in", permanent=True), LIFE, clock=clock)
        with pytest.raises(SignInRequiredError):
            await member(source, store, clock)()
        await anyio.sleep(280)
        mine = member(source, store, clock)
        async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            assert caught.value.permanent
            assert caught.value.retry_after is None
            assert source.play.calls == 1
            await anyio.sleep(30)
            assert isinstance(credential.get_token_nowait(), AccessToken)
        assert source.play.calls == 2

    async def test_a_challenge_that_cannot_be_met_likewise(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(LIFE, SignInRequiredError("sign in", permanent=True), LIFE, clock=clock)
        mine = member(source, store, clock)
        async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
            await credential.get_token()
            with pytest.raises(SignInRequiredError):
                await member(source, store, clock)("a")
            await anyio.sleep(280)
            with pytest.raises(TokenRefreshError):
                await credential.get_token(claims="a")
            assert source.play.calls == 2
            await anyio.sleep(30)
            await credential.get_token(claims="a")
            assert source.play.calls == 3

    async def test_what_programs_decide_by_comes_along(self, store: FaultyStore, clock: VirtualClock) -> None:
        error = ServiceError("no", status_code=403, code="Denied", request_id="7", permanent=True)
        source = Asked(error, clock=clock)
        for _ in range(2):
            with pytest.raises(ServiceError) as caught:
                await member(source, store, clock)()
        told = caught.value
        assert told is not error
        assert (told.status_code, told.code, told.request_id, told.permanent) == (403, "Denied", "7", True)

    async def test_others_text_is_shown_without_its_secrets(self, store: FaultyStore, clock: VirtualClock) -> None:
        class UnspeakableError(Exception):
            def __str__(self) -> str:
                raise ValueError

        for error, text in (
            (OSError("canary in the mine"), r"OSError: \[redacted\] in the mine"),
            (UnspeakableError(), "Unspeak"),
        ):
            source = Asked(error, clock=clock)
            with pytest.raises(type(error)):
                await member(source, store, clock)()
            with pytest.raises(TokenSourceError, match=text):
                await member(source, store, clock)()
            await anyio.sleep(600)

    async def test_a_round_whose_time_is_up_is_one(self, store: FaultyStore, clock: VirtualClock) -> None:
        """The others are told, and do not wait for the same source in turn."""
        source = Asked(LIFE, clock=clock, latency=100)
        calls = [member(source, store, clock) for _ in range(3)]
        with anyio.move_on_after(5):
            await calls[0]()
        began = clock.monotonic()
        for error in await all_of(*calls[1:]):
            assert isinstance(error, TokenSourceError)
            assert "gave no answer within 5 s" in str(error)
            assert not error.permanent
        assert clock.monotonic() - began < 1
        assert source.play.calls == 1

    async def test_the_token_before_it_stays(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(LIFE, TokenSourceError("down", retry_after=60), clock=clock)
        first = member(source, store, clock)
        token = await first()
        with pytest.raises(TokenSourceError):
            await first()
        assert await member(source, store, clock)() == token

    async def test_one_that_is_no_exception_is_nobody_elses(self, store: FaultyStore, clock: VirtualClock) -> None:
        class Gone(BaseException):
            pass

        with pytest.raises(Gone):
            await member(Asked(Gone(), clock=clock), store, clock)()
        assert await store.look(NAME) is None
        assert (await store.take(NAME, 5)).fence is not None


@pytest.mark.promise("R67")
class TestClaims:
    """Challenges, and rejected tokens."""

    async def test_they_reach_the_source_and_what_meets_them_is_shared(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        source = Asked(LIFE, clock=clock)
        first, second, third = (member(source, store, clock) for _ in range(3))
        plain = [await each() for each in (first, second, third)]
        assert len(set(plain)) == 1
        met = await all_of(partial(first, "a"), partial(second, "a"), partial(third, "b"))
        assert met[0] == met[1] != met[2]
        assert source.claims[0] is None
        assert sorted(filter(None, source.claims)) == ["a", "b"]
        assert source.play.most_in_flight == 1

    async def test_what_was_not_met_is_its_challengers_alone(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(TokenSourceError("not met", retry_after=60), LIFE, clock=clock, latency=0)
        first, second, third = (member(source, store, clock) for _ in range(3))
        for each in (first, second):
            with pytest.raises(TokenSourceError):
                await each("a")
        assert source.claims == ["a"]
        await third()
        assert source.claims == ["a", None]

    @pytest.mark.parametrize(
        ("before", "failures"),
        [(["a", "b", *"cccccc"], 1), ([None, None, None, None, "a", *"bbb"], 5)],
        ids=["challenges", "plain ones, and then challenges"],
    )
    async def test_it_neither_lengthens_the_back_off_of_the_others_nor_shortens_it(
        self, store: FaultyStore, clock: VirtualClock, before: list[str | None], failures: int
    ) -> None:
        source = Asked(LIFE, TokenSourceError("down"), clock=clock, latency=0)
        first, second = (member(source, store, clock) for _ in range(2))
        assert await first() == await second()
        for claims in [*before, None]:
            with pytest.raises(TokenSourceError):
                await first(claims)
        with pytest.raises(TokenSourceError) as caught:
            await second()
        assert caught.value.retry_after == wait_after(failures)

    async def test_the_same_one_backs_off(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = Asked(LIFE, TokenSourceError("down"), clock=clock, latency=0)
        first, second = (member(source, store, clock) for _ in range(2))
        await first()
        for _ in range(5):
            with pytest.raises(TokenSourceError):
                await first("a")
        with pytest.raises(TokenSourceError) as caught:
            await second("a")
        assert caught.value.retry_after == wait_after(5)

    async def test_a_rejected_token_is_replaced_once(self, store: FaultyStore, clock: VirtualClock) -> None:
        source = ScriptedSource(LIFE, clock=clock)
        tokens: list[AccessToken] = []
        ready = anyio.Event()

        async def work() -> None:
            mine = shared(source, store, key="ana")
            async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
                first = await credential.get_token()
                await ready.wait()
                tokens.append(await credential.refresh(rejected=first))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(work)
            await anyio.sleep(10)
            ready.set()
        assert source.calls == 2
        assert len(set(tokens)) == 1

    async def test_a_source_that_gives_it_again_is_asked_once_for_all(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        text = make_jwt(LIFE, clock=clock)
        source = ScriptedSource(text, text, LIFE, clock=clock, latency=1)
        ready = anyio.Event()
        refused: list[str] = []

        async def work() -> None:
            mine = shared(source, store, key="ana")
            async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
                first = await credential.get_token()
                await ready.wait()
                with pytest.raises(TokenRefreshError) as caught:
                    await credential.refresh(rejected=first)
                refused.append(str(caught.value.__cause__))
                await anyio.sleep(10)
                assert await credential.refresh() != first

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(work)
            await anyio.sleep(10)
            ready.set()
            await anyio.sleep(5)
            assert source.calls == 2
        assert len(refused) == 5
        assert all("returned the token that was turned down" in each for each in refused)

    async def test_one_that_was_given_again_long_ago_is_asked_anew(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        text = make_jwt(LIFE, clock=clock)
        source = ScriptedSource(text, text, LIFE, clock=clock)
        first, second = (member(source, store, clock) for _ in range(2))
        assert await first() == await second()
        await first()
        await anyio.sleep(10)
        assert (await second()).token != text
        assert source.calls == 3

    async def test_only_a_source_that_takes_claims_is_given_some(self, store: FaultyStore, clock: VirtualClock) -> None:
        asked = Asked(LIFE, clock=clock)
        plain = ScriptedSource(LIFE, clock=clock)
        for source in (asked, plain):
            mine = shared(source, store, key=type(source).__name__)
            async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
                first = await credential.get_token()
                assert await credential.get_token(claims="a") != first
        assert asked.claims == [None, "a"]
        assert plain.calls == 2

    async def test_claims_that_a_callback_cannot_meet_are_not_dropped(self, clock: VirtualClock) -> None:
        mine = member(ScriptedSource(LIFE, clock=clock), MemoryTokenStore(), clock)
        with pytest.raises(TypeError):
            await mine("a")

    def test_what_watches_exchanges_reaches_the_source(self, clock: VirtualClock) -> None:
        asked: Any = Asked(LIFE, clock=clock)
        watch: Any = object()
        for source in (asked, ScriptedSource(LIFE, clock=clock)):
            member(source, MemoryTokenStore(), clock).watch_exchanges(watch)
        assert asked.watched is watch
        assert asked.clock is clock


NONSENSE = (b"", b"[]", b'{"token":7,"failure":null}', b'{"token":{"text":"x"},"failure":null}', b"\xff")


def kept(**changes: Any) -> bytes:
    token = {"text": "opaque-text", "expires_on": 2_000_000_000, "life": 60, "fence": 5, "claims": None, "raw_id": None}
    return json.dumps({"token": {**token, **changes}, "failure": None}).encode()


@pytest.mark.promise("R68")
class TestStore:
    """Whatever the store does, the token comes, a second late at most; it is told once, and mended by itself."""

    @pytest.mark.parametrize("operation", ["look", "take", "put", "prolong", "release"])
    @pytest.mark.parametrize("how", ["raises", "hangs", "lies"])
    async def test_a_fault_in_any_operation(
        self, store: FaultyStore, clock: VirtualClock, operation: str, how: str
    ) -> None:
        async def fault(asked: str) -> Any:
            if asked != operation:
                return None
            if how == "hangs":
                await anyio.sleep_forever()
            if how == "lies":
                return object()
            raise RuntimeError("the store's driver")

        store.fault = fault
        source = Asked(LIFE, clock=clock, latency=3)
        began = clock.monotonic()
        assert isinstance(await member(source, store, clock)(), AccessToken)
        assert clock.monotonic() - began <= 4

    @pytest.mark.parametrize("operation", ["look", "prolong"])
    @pytest.mark.parametrize("kind", ["a cancellation", "a group of them"])
    async def test_a_cancellation_that_a_driver_lets_out(
        self, kind: str, operation: str, store: FaultyStore, clock: VirtualClock, anyio_backend: Any
    ) -> None:
        if anyio_backend[0] == "trio" and kind == "a cancellation":
            pytest.skip("trio's cannot be made by a driver")

        async def fault(asked: str) -> None:
            if asked == operation:
                stray = asyncio.CancelledError()
                raise stray if kind == "a cancellation" else BaseExceptionGroup("", [stray])

        store.fault = fault
        assert isinstance(await member(Asked(LIFE, clock=clock, latency=3), store, clock)(), AccessToken)
        assert operation in store.asked

    async def test_what_ends_a_program_passes(self, store: FaultyStore, clock: VirtualClock) -> None:
        async def fault(_asked: str) -> None:
            raise BaseExceptionGroup("", [KeyboardInterrupt()])

        store.fault = fault
        with pytest.raises(BaseExceptionGroup):
            await member(Asked(LIFE, clock=clock), store, clock)()

    async def test_an_entry_that_cannot_be_read_is_replaced(
        self, store: FaultyStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """By whoever has the lease; the others find what it has put."""

        async def damaged(asked: str) -> None:
            if asked == "look" and "put" not in store.asked:
                raise UnreadableError("damaged", permanent=True)

        store.fault = damaged
        source = Asked(LIFE, clock=clock, latency=0)
        first, second = (member(source, store, clock) for _ in range(2))
        token = await first()
        assert await second() == token
        assert source.play.calls == 1
        assert caplog.text.count("an entry of the token store is replaced: UnreadableError: damaged") == 1

    @pytest.mark.parametrize("free_in", [float("nan"), -1.0, float("inf")])
    async def test_a_lease_that_is_held_for_no_time_that_passes(
        self, store: FaultyStore, clock: VirtualClock, free_in: float
    ) -> None:
        async def fault(asked: str) -> Any:
            return Taken(None, None, free_in) if asked == "take" else None

        store.fault = fault
        began = clock.monotonic()
        assert isinstance(await member(Asked(LIFE, clock=clock, latency=3), store, clock)(), AccessToken)
        assert clock.monotonic() - began <= 4

    async def test_it_costs_a_second_once_and_is_told_once(
        self, store: FaultyStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "anyio_acs_credential")

        async def hang(_: str) -> None:
            await anyio.sleep_forever()

        store.fault = hang
        source = Asked(LIFE, clock=clock, latency=0)
        mine = member(source, store, clock)
        waits = []
        for _ in range(5):
            began = clock.monotonic()
            await mine()
            waits.append(clock.monotonic() - began)
        assert waits == [1, 0, 0, 0, 0]
        assert len(store.asked) == 1
        await anyio.sleep(300)
        await mine()
        assert len(store.asked) == 2
        store.fault = None
        await anyio.sleep(300)
        await mine()
        told = [(each.levelname, getattr(each, "acs_event", "")) for each in caplog.records]
        assert told == [("WARNING", "store_failed"), ("DEBUG", "store_failed"), ("INFO", "store_recovered")]
        assert "out of order (it gave no answer in time)" in caplog.text

    async def test_one_that_hangs_while_another_process_is_waited_for(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        async def hang(operation: str) -> None:
            if operation == "look" and len(store.asked) > 4:
                await anyio.sleep_forever()

        await store.take(NAME, 60)
        store.fault = hang
        began = clock.monotonic()
        await member(Asked(LIFE, clock=clock, latency=0), store, clock)()
        assert store.asked == ["take", "look", "take", "look", "look"]
        assert clock.monotonic() - began < 1.4

    async def test_it_is_tried_again_at_the_pace_of_a_back_off(self, store: FaultyStore, clock: VirtualClock) -> None:
        async def fail(_: str) -> None:
            raise OSError("down")

        store.fault = fail
        mine = member(Asked(LIFE, clock=clock, latency=0), store, clock)
        for _ in range(720):
            await mine()
            await anyio.sleep(5)
        assert 55 < len(store.asked) < 75

    @pytest.mark.parametrize("operation", ["take", "put"])
    async def test_one_that_can_only_be_read_is_told_once(
        self, operation: str, store: FaultyStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One that is full or read-only is not taken for mended because it is read, and not tried in each round."""
        caplog.set_level(logging.INFO, "anyio_acs_credential")

        async def full(asked: str) -> None:
            if asked == operation:
                raise OSError("no space is left")

        store.fault = full
        mine = member(Asked(LIFE, clock=clock, latency=0), store, clock)
        for _ in range(720):
            await mine()
            await anyio.sleep(5)
        assert 55 < store.asked.count("look") < 75
        store.fault = None
        await anyio.sleep(70)
        await mine()
        told = [getattr(each, "acs_event", "") for each in caplog.records]
        assert told == ["store_failed", "store_recovered"]

    @pytest.mark.parametrize("answer", [LIFE, TokenSourceError("throttled", retry_after=60)])
    async def test_one_that_another_process_uses_works_again(
        self, answer: Any, store: FaultyStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "anyio_acs_credential")
        mine, other = (member(Asked(*script, clock=clock), store, clock) for script in ([LIFE], [answer]))

        async def fail(_: str) -> None:
            raise OSError("down")

        store.fault = fail
        await mine()
        store.fault = None
        await anyio.sleep(70)
        await all_of(other, mine)
        told = [getattr(each, "acs_event", "") for each in caplog.records]
        assert told == ["store_failed", "store_recovered"]

    async def test_one_that_keeps_no_token_is_waited_for_by_nobody(
        self, store: FaultyStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As on a disk that is almost full: leases fit there, and tokens do not."""

        async def put(name: str, fence: int, value: bytes, seconds: float) -> bool:
            if len(value) > 50:
                raise OSError("no space is left")
            return await MemoryTokenStore.put(store, name, fence, value, seconds)

        store.put = put  # type: ignore[method-assign]
        source = Asked(LIFE, clock=clock, latency=3)
        began = clock.monotonic()
        answers = await all_of(*(member(source, store, clock) for _ in range(20)))
        assert all(isinstance(answer, AccessToken) for answer in answers)
        assert clock.monotonic() - began <= 2 * 3 + 1
        assert caplog.text.count("another process could not put its token there") == 19

    @pytest.mark.parametrize("how", ["raises", "hangs"])
    async def test_nobody_waits_for_leases_under_which_nothing_can_be_put(
        self, how: str, store: FaultyStore, clock: VirtualClock
    ) -> None:
        """Each process ends its lease, and the next one takes it within a second."""

        async def fault(asked: str) -> None:
            if asked == "put" and how == "raises":
                raise StoreError
            if asked == "put":
                await anyio.sleep_forever()

        store.fault = fault
        source, began = Asked(LIFE, clock=clock, latency=0), clock.monotonic()
        answers = await all_of(*(member(source, store, clock) for _ in range(8)))
        assert all(isinstance(answer, AccessToken) for answer in answers)
        assert clock.monotonic() - began < (8 if how == "raises" else 16)  # and not 35, seven leases of five seconds

    async def test_what_could_not_be_put_is_put_again_at_once(self, store: FaultyStore, clock: VirtualClock) -> None:
        async def once(asked: str) -> None:
            if asked == "put" and store.asked.count("put") == 1:
                raise OSError("cut")

        store.fault = once
        source = Asked(LIFE, clock=clock)
        await all_of(*(member(source, store, clock) for _ in range(20)))
        assert source.play.calls == 1

    async def test_a_fleet_comes_together_again(self, store: FaultyStore, clock: VirtualClock) -> None:
        """What the store kept from before is not taken for newer than what each has fetched by itself."""
        source = Asked(600, LIFE, clock=clock, latency=0)
        first, second = (member(source, store, clock) for _ in range(2))
        await first()

        async def fail(_: str) -> None:
            raise OSError("down")

        store.fault = fail
        alone = [await first(), await second()]
        store.fault = None
        await anyio.sleep(10)
        third = await second()
        assert third not in alone
        assert await first() == third
        assert source.play.calls == 4

    async def test_nobody_storms_the_source_when_it_comes_back(self, store: FaultyStore, clock: VirtualClock) -> None:
        """Each comes back at a time of its own, finds what the first one put, and within a life all are together."""
        source = ScriptedSource(LIFE, latency=2, clock=clock)
        gathered: list[list[str]] = [[], []]

        async def work() -> None:
            mine = shared(source, store, key="ana")
            async with CommunicationTokenCredential(token_refresher=mine, clock=clock) as credential:
                for texts, end in zip(gathered, (4.5 * LIFE, 6 * LIFE), strict=True):
                    await anyio.sleep(end - clock.monotonic() + began)
                    texts.append((await credential.get_token()).token)

        async def fail(_: str) -> None:
            raise OSError("down")

        began = clock.monotonic()
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(work)
            await anyio.sleep(LIFE / 2)
            store.fault = fail
            await anyio.sleep(2 * LIFE)
            store.fault, alone = None, source.calls
            await anyio.sleep(2 * LIFE)
            together = source.calls
        assert alone > 20  # each for itself
        assert together - alone <= 6  # one or two for each of two lives
        assert source.calls - together <= 3
        assert [len(set(texts)) for texts in gathered] == [1, 1]

    async def test_a_store_that_was_emptied_and_its_clock_set_back(
        self, store: FaultyStore, clock: VirtualClock
    ) -> None:
        source = Asked(LIFE, clock=clock, latency=0)
        first, second = (member(source, store, clock) for _ in range(2))
        assert await first() == await second()
        store._slots.clear()
        clock.jump(-600)
        await first()  # each fetches once by itself, since all fences are lower now; then they are together again
        assert await second() == await first()
        assert await second() == await first()
        assert source.play.calls == 4

    @pytest.mark.parametrize("value", [*NONSENSE, kept(expires_on=True), kept(life=-1), kept(text=7), kept(fence="x")])
    async def test_nonsense_in_the_store(
        self, store: FaultyStore, clock: VirtualClock, value: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        fence = (await store.take(NAME, 5)).fence
        assert fence is not None
        await store.put(NAME, fence, value, 60)
        assert isinstance(await member(Asked(LIFE, clock=clock), store, clock)(), AccessToken)
        assert "no record of this version" in caplog.text

    async def test_what_a_later_version_has_put(self, store: FaultyStore, clock: VirtualClock) -> None:
        """It is read without what this one does not know: both run while a program is deployed."""
        fence = (await store.take(NAME, 5)).fence
        assert fence is not None
        await store.put(NAME, fence, kept(fence=fence, at=clock.time(), new="x"), 60)
        source = Asked(LIFE, clock=clock)
        assert (await member(source, store, clock)()).token == "opaque-text"
        assert source.play.calls == 0

    async def test_what_it_says_is_logged_without_secrets(
        self, store: FaultyStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        class UnspeakableError(Exception):
            def __str__(self) -> str:
                raise ValueError

        for error in (OSError("canary " + make_jwt()), UnspeakableError()):

            async def fail(_: str, error: Exception = error) -> None:
                raise error

            store.fault = fail
            await member(Asked(LIFE, clock=clock), store, clock)()
        assert "OSError: [redacted]" in caplog.text
        assert "Unspeakable" in caplog.text
        assert "canary" not in caplog.text

    async def test_a_log_that_raises(
        self, store: FaultyStore, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(_: str) -> None:
            raise OSError("down")

        def refuse(*_: object, **__: object) -> None:
            raise OSError("full")

        monkeypatch.setattr("anyio_acs_credential.fleet._guard._logger.log", refuse)
        store.fault = fail
        assert isinstance(await member(Asked(LIFE, clock=clock), store, clock)(), AccessToken)

    async def test_one_that_was_not_entered_is_told_of(
        self, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert isinstance(await member(Asked(LIFE, clock=clock), MemoryTokenStore(), clock)(), AccessToken)
        assert "put `async with store:` around" in caplog.text

    async def test_the_sources_own_failure_without_a_store(self, store: FaultyStore, clock: VirtualClock) -> None:
        async def fail(_: str) -> None:
            raise OSError("down")

        store.fault = fail
        error = ServiceError("no")
        with pytest.raises(ServiceError) as caught:
            await member(Asked(error, clock=clock), store, clock)()
        assert caught.value is error


class TestArguments:
    """What cannot be shared."""

    @pytest.mark.parametrize(
        ("changes", "kind", "message"),
        [
            ({"source": "jwt"}, TypeError, "cannot be called"),
            ({"source": str.replace}, TypeError, "bind them with functools.partial"),
            ({"store": "tokens.db"}, TypeError, "store is a token store, such as a SQLiteTokenStore, not str"),
            ({"store": MemoryTokenStore}, TypeError, "SQLiteTokenStore, not the class MemoryTokenStore"),
            ({"key": 7}, TypeError, "key is a text that names the user, not int"),
            ({"key": ""}, ValueError, "key is empty: give"),
            ({"lease": "5"}, TypeError, "lease is a number of seconds, not str"),
            ({"lease": True}, TypeError, "lease is a number of seconds, not bool"),
            ({"lease": 0.5}, ValueError, "lease is from 1 to 300 seconds, not 0.5"),
            ({"lease": float("nan")}, ValueError, "lease is from 1 to 300 seconds, not nan"),
        ],
    )
    def test_a_wrong_one(self, changes: dict[str, Any], kind: type[Exception], message: str) -> None:
        given: dict[str, Any] = {"source": ScriptedSource(LIFE), "store": MemoryTokenStore(), "key": "ana", **changes}
        source, store = given.pop("source"), given.pop("store")
        with pytest.raises(kind, match=message):
            shared(source, store, **given)

    def test_no_token_is_shown(self) -> None:
        from anyio_acs_credential.fleet._record import Kept, Record

        text = repr(Record(Kept("canary", 2_000_000_000, 60.0, 5)))
        assert "canary" not in text
        assert "hidden" in repr(Kept("canary", 2_000_000_000, 60.0, 5).token(0.0))
