"""Many callers at once: one round for all, whatever order the event loop runs them in and whoever is cancelled."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from conftest import BACKENDS

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, TokenRefreshError

if TYPE_CHECKING:
    from types import TracebackType

CROWDS = [2, 10, pytest.param(10_000, marks=pytest.mark.once)]
SEEDS = 125  # for each event loop, with a source that works and with one that fails


class ShuffledLoop(asyncio.SelectorEventLoop):
    """Runs what is ready in another order than it became ready, as trio does and asyncio never would."""

    order = random.Random(0)  # noqa: S311 - dice, not keys

    def _run_once(self) -> None:
        self.order.shuffle(self._ready)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


LOOPS = {
    **BACKENDS,
    "asyncio": ("asyncio", {}),  # its debug mode keeps a stack for each task and callback: a minute for 10,000
    "asyncio+shuffled": ("asyncio", {"loop_factory": ShuffledLoop}),
}


@pytest.fixture(scope="module", params=[pytest.param(backend, id=name) for name, backend in LOOPS.items()])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


class StillClock:
    """Time stands still: no pace and no expiry depends on how fast the test runs."""

    def time(self) -> float:
        return 1_800_000_000.0

    def monotonic(self) -> float:
        return 1_000.0


@dataclass
class Source:
    """Waits until it is let go and for some checkpoints more, and notes whether it was cancelled."""

    error: Exception | None = None
    hesitation: int = 0
    calls: int = 0
    cancelled: int = 0
    let_go: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self) -> AccessToken:
        self.calls += 1
        try:
            await self.let_go.wait()
            await hesitate(self.hesitation)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return AccessToken("the-only-one", 1_800_003_600)


@dataclass
class Caller:
    """Asks for a token, may be cancelled, and keeps what it got."""

    credential: CommunicationTokenCredential
    hesitation: int = 0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    token: AccessToken | None = None
    error: TokenRefreshError | None = None
    raised: BaseException | None = None

    async def run(self) -> None:
        await hesitate(self.hesitation)
        with self.scope:
            try:
                self.token = await self.credential.get_token()
            except TokenRefreshError as error:
                self.error = error
            except BaseException as raised:
                self.raised = raised
                raise

    async def cancel(self, after: int) -> None:
        await hesitate(after)
        self.scope.cancel()

    @property
    def was_cancelled(self) -> bool:
        return self.scope.cancelled_caught and isinstance(self.raised, anyio.get_cancelled_exc_class())


async def hesitate(checkpoints: int) -> None:
    for _ in range(checkpoints):
        await checkpoint()


def credential_of(source: Source, token: AccessToken | None = None) -> CommunicationTokenCredential:
    return CommunicationTokenCredential(token, token_refresher=source, proactive_refresh=False, clock=StillClock())


async def ask_at_once(source: Source, count: int, credential: CommunicationTokenCredential) -> list[Caller]:
    """What so many callers get that all wait for the same round."""
    callers = [Caller(credential) for _ in range(count)]
    async with anyio.create_task_group() as group:
        for caller in callers:
            group.start_soon(caller.run)
        await anyio.wait_all_tasks_blocked()
        assert credential.statistics().waiting == count
        source.let_go.set()
    return callers


def length(traceback: TracebackType | None) -> int:
    return 0 if traceback is None else 1 + length(traceback.tb_next)


@pytest.mark.promise("R5")
@pytest.mark.parametrize("count", CROWDS)
async def test_a_crowd_on_an_expired_token_makes_one_call(count: int) -> None:
    """However many ask at once, the source is asked once and all get the same object."""
    source = Source()
    async with credential_of(source, AccessToken("expired", 1_799_999_999)) as credential:
        callers = await ask_at_once(source, count, credential)
        held = credential.get_token_nowait()
    assert source.calls == 1
    assert all(caller.token is held for caller in callers)


@pytest.mark.promise("R6")
@pytest.mark.parametrize("count", CROWDS)
async def test_a_crowd_at_a_failing_source_makes_one_call(count: int) -> None:
    """Each gets an exception of its own, chained to the one cause, with a traceback that does not grow."""
    source = Source(error=OSError("down"))
    async with credential_of(source) as credential:
        errors = [caller.error for caller in await ask_at_once(source, count, credential)]
    assert source.calls == 1
    assert len({id(error) for error in errors if error is not None}) == count
    assert {id(error.__cause__) for error in errors if error is not None} == {id(source.error)}
    assert len({length(error.__traceback__) for error in errors if error is not None}) == 1
    assert length(source.error.__traceback__ if source.error else None) < 10


@pytest.mark.promise("R8")
async def test_all_cancelled_and_the_round_goes_on() -> None:
    """When every caller has been cancelled, the source still answers, and the next caller gets its token at once."""
    source = Source()
    async with credential_of(source) as credential:
        callers = [Caller(credential) for _ in range(100)]
        async with anyio.create_task_group() as group:
            for caller in callers:
                group.start_soon(caller.run)
            await anyio.wait_all_tasks_blocked()
            for caller in callers:
                caller.scope.cancel()
        assert all(caller.was_cancelled for caller in callers)
        assert credential.statistics().waiting == 0
        source.let_go.set()
        await anyio.wait_all_tasks_blocked()
        assert credential.get_token_nowait() is await credential.get_token()
    assert (source.calls, source.cancelled) == (1, 0)


@pytest.mark.promise("R7")
async def test_cancelled_before_its_first_checkpoint() -> None:
    """A caller that was cancelled before it asked raises cancellation alone, and its round goes on."""
    source = Source()
    async with credential_of(source) as credential:
        first = Caller(credential)
        first.scope.cancel()
        await first.run()
        second = await ask_at_once(source, 1, credential)
        assert first.was_cancelled
        assert second[0].token is credential.get_token_nowait()
    assert (source.calls, source.cancelled) == (1, 0)


async def storm(dice: random.Random, error: Exception | None) -> None:
    """Callers that come at random checkpoints and are cancelled at others, while the source answers at another."""
    source = Source(error, hesitation=dice.randint(0, 8))
    source.let_go.set()
    token = AccessToken("expired", 1_799_999_999) if dice.random() < 0.5 else None
    async with credential_of(source, token) as credential:
        callers = [Caller(credential, dice.randint(0, 6)) for _ in range(dice.randint(2, 12))]
        doomed = dice.sample(callers, dice.choice([0, 1, len(callers) // 2, len(callers)]))
        async with anyio.create_task_group() as group:
            for caller in dice.sample(callers, len(callers)):
                group.start_soon(caller.run)
            for caller in doomed:
                group.start_soon(caller.cancel, dice.randint(0, 12))
        last = Caller(credential)
        await last.run()
        if source.error is None:
            assert last.token is credential.get_token_nowait()
        check(source, [*callers, last], doomed, last)


def check(source: Source, callers: list[Caller], doomed: list[Caller], last: Caller) -> None:
    assert (source.calls, source.cancelled) == (1, 0)
    assert source.error is None or last.error is not None
    for caller in callers:
        got = caller.error is not None if source.error else caller.token is not None and caller.token is last.token
        assert got != caller.was_cancelled
        assert got or caller in doomed
        assert caller.error is None or caller.error.__cause__ is source.error
    errors = [caller.error for caller in callers if caller.error is not None]
    assert len({id(error) for error in errors}) == len(errors)


@pytest.mark.promise("R5", "R6", "R7", "R8")
@pytest.mark.parametrize("error", [None, OSError("down")], ids=["source works", "source fails"])
async def test_any_order_and_any_cancellation(error: Any) -> None:
    """In whatever order callers come and go, there is one round, never cancelled, with an answer for each."""
    for seed in range(SEEDS):
        ShuffledLoop.order.seed(seed)
        try:
            await storm(random.Random(seed), error)  # noqa: S311 - dice, not keys
        except BaseException as failure:
            failure.add_note(f"with seed {seed}")
            raise
