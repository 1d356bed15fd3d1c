"""Arbitrary runs of a credential in virtual time, against a model of what the contract says.

A plan says what happens to one credential: time passes, the wall clock is moved, the source changes its ways, callers
come and go, the block is closed and entered again. The model beside it knows which token has to be held, when the
source may be asked and what each caller has to get.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosed,
    CredentialClosedError,
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
from anyio_acs_credential.testing import VirtualClock, make_jwt, virtual_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio_acs_credential import CredentialEvent

POLICY = RefreshPolicy(refresh_timeout=10)
EPSILON = 0.002  # a remainder below a millisecond counts as none


@dataclass(frozen=True)
class Pass:
    """Time passes."""

    seconds: float


@dataclass(frozen=True)
class Jump:
    """The wall clock is moved."""

    seconds: float


@dataclass(frozen=True)
class Ways:
    """How the source answers from now on."""

    latency: float
    answer: float | Literal["same", "transient", "permanent", "group", "nonsense"]
    retry_after: float | None = None


@dataclass(frozen=True)
class Ask:
    """A caller comes, and is cancelled after `patience` seconds."""

    way: Literal["get", "nowait", "refresh", "reject held", "reject older"]
    patience: float | None = None


Step: TypeAlias = Pass | Jump | Ways | Ask


@dataclass(frozen=True)
class Plan:
    """One credential's life: blocks that are entered one after the other."""

    proactive: bool
    first: float | None
    blocks: Sequence[tuple[Sequence[Step], bool]]
    """Steps of each block, and whether `close()` ends it before it is left."""


lives = st.one_of(st.sampled_from([-5.0, 1.0, 2.0, 30.0, 600.0, 3600.0, 86400.0]), st.floats(0, 90_000))
waits = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 4.0, 31.0, 300.0, 3000.0]), st.floats(0, 4_000))
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Pass, waits),
    st.builds(Pass, waits),
    st.builds(Jump, st.sampled_from([-86400.0, -3600.0, -30.0, -0.3, 0.3, 30.0, 3600.0, 86400.0])),
    st.builds(
        Ways,
        st.sampled_from([0.0, 0.0, 0.2, 3.0, 9.0, 50.0]),
        st.one_of(lives, st.sampled_from(["same", "transient", "permanent", "group", "nonsense"])),
        st.sampled_from([None, None, 0.0, 7.0, 200.0, 1e6, math.inf]),
    ),
    st.builds(
        Ask,
        st.sampled_from(["get", "get", "nowait", "refresh", "reject held", "reject older"]),
        st.one_of(st.none(), st.floats(0, 12)),
    ),
)
plans = st.builds(
    Plan,
    st.booleans(),
    st.one_of(st.none(), lives),
    st.lists(st.tuples(st.lists(steps, max_size=25), st.booleans()), min_size=1, max_size=3),
)


class WatchedClock(VirtualClock):
    """Fails whoever reads it without end while time stands still: in virtual time, nothing else would end that."""

    reads, instant = 0, -1.0

    def monotonic(self) -> float:
        now = super().monotonic()
        self.reads = self.reads + 1 if now - self.instant < 1e-6 else 0
        self.instant = now
        assert self.reads < 20_000, "the clock is read again and again while time stands still"
        return now


@dataclass
class Model:
    """What the contract says of the credential: the token that is held, and when the source may be asked again."""

    clock: VirtualClock
    token: AccessToken | None = None
    received: float = 0
    life: float = 0
    refreshes: int = 0
    failures: int = 0
    streak: int = 0
    quiet_until: float = -math.inf
    ends_with_token: bool = False
    """Whether the wait after the last round is over when the held token is: every such wait but a latch."""
    ended: bool = False
    """Whether it has ended since."""
    lapsed: AccessToken | None = None
    """The token that the last answer replaced after it had ended."""
    forced: bool = False
    rejected: set[str] = field(default_factory=set)

    def remaining(self) -> float:
        if self.token is None:
            return 0
        left = self.token.expires_on - self.clock.time()
        return max(0, min(left, self.received + self.life - self.clock.monotonic()))

    def look(self) -> None:
        """Take note of an expiry."""
        self.ended = self.ended or self.remaining() < 0.002

    def hold(self, token: AccessToken) -> None:
        self.token, self.received = token, self.clock.monotonic()
        self.life = max(0, token.expires_on - self.clock.time())

    def answered(self, token: AccessToken) -> None:
        life, remaining, held = token.expires_on - self.clock.time(), self.remaining(), self.token
        if life < 0.001 or token.token in self.rejected:
            self.failed(TokenSourceError())
            return
        self.lapsed = held if remaining < 0.001 else None
        newer = held is None or remaining < 0.001 or (token != held if self.forced else life > remaining + 0.5)
        if held is None or newer or (token != held and token.expires_on == held.expires_on):
            self.hold(token)
        self.refreshes, self.streak = self.refreshes + 1, 0
        self._wait(1 if newer else max(1, remaining / 2), ends_with_token=not newer)

    def failed(self, error: BaseException) -> None:
        self.failures, self.streak = self.failures + 1, self.streak + 1
        after = error.retry_after if isinstance(error, TokenSourceError) else None
        wait = max(1.0, min(after, 300)) if after and 0 < after < math.inf else 1.0
        if (remaining := self.remaining()) > 0:
            wait = min(wait, max(1.0, remaining - 1))
        if isinstance(error, TokenSourceError) and error.permanent:
            self._wait(300, ends_with_token=False)
        else:
            self._wait(wait, ends_with_token=remaining > 0)

    def _wait(self, seconds: float, *, ends_with_token: bool) -> None:
        self.quiet_until = self.clock.monotonic() + seconds
        self.ends_with_token, self.ended, self.forced = ends_with_token, False, False
        self.rejected.clear()

    def may_ask(self) -> bool:
        self.look()
        in_time = self.clock.monotonic() >= self.quiet_until - EPSILON
        return self.forced or in_time or (self.ends_with_token and self.ended)


class Play:
    """One credential, its source, its callers and its observer."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = WatchedClock()
        self.model = Model(self.clock)
        self.ways = Ways(0, 3600.0)
        self.broken: list[str] = []
        self.given: list[AccessToken] = []
        self.told: set[int] = set()
        self.starts = self.in_flight = self.callers = self.jumps = 0
        self.open = False
        self.last_event: type[CredentialEvent] = CredentialClosed
        self.credential = CommunicationTokenCredential(
            self.make(plan.first) if plan.first is not None else None,
            token_refresher=self.source,
            proactive_refresh=plan.proactive,
            policy=POLICY,
            observer=self.observe,
            clock=self.clock,
        )
        if self.given:
            self.model.hold(self.given[0])

    def check(self, kept: object, broken: str) -> None:
        """Collected, not raised: what the source and the observer raise is the credential's to swallow."""
        if not kept:
            self.broken.append(f"{broken}, at {self.clock.monotonic():.3f}")

    def make(self, life: float) -> AccessToken:
        self.given.append(AccessToken.from_jwt(make_jwt(life, clock=self.clock)))
        return self.given[-1]

    async def source(self) -> AccessToken:
        self.check(self.in_flight == 0, "two calls of the source at once")
        self.check(self.model.may_ask(), "the source was asked too early")
        self.starts += 1
        self.in_flight = 1
        try:
            await (anyio.sleep(self.ways.latency) if self.ways.latency else checkpoint())
            token = self.answer()
        except BaseException as error:
            if self.open:
                self.model.failed(error)
            raise
        finally:
            self.in_flight = 0
        if self.open:  # an answer that comes as the block is left is nobody's
            self.model.answered(token)
        return token

    def answer(self) -> AccessToken:
        match self.ways.answer:
            case "same":
                return self.given[-1] if self.given else self.make(600)
            case "transient" | "permanent" as kind:
                raise TokenSourceError("no", permanent=kind == "permanent", retry_after=self.ways.retry_after)
            case "group":
                raise BaseExceptionGroup("several", [ValueError("one"), TimeoutError("two")])
            case "nonsense":
                raise RuntimeError("nonsense")
            case life:
                return self.make(life)

    def observe(self, event: CredentialEvent) -> None:
        self.model.look()
        last = RefreshStarted if self.in_flight or self.last_event is RefreshStarted else self.last_event
        match event:
            case RefreshStarted(forced):
                self.check(last is not RefreshStarted, "RefreshStarted within a round")
                self.model.forced = forced
            case RefreshSucceeded(expires_on):
                self.check(last is RefreshStarted, "RefreshSucceeded without RefreshStarted")
                self.check(self.model.token and self.model.token.expires_on == expires_on, "another token is held")
                self.check(self.model.streak == 0, "RefreshSucceeded after a failure")
                lapsed = self.model.lapsed
                self.check(lapsed is None or lapsed.expires_on in self.told, "no TokenExpired for a token that ended")
            case RefreshFailed(_, consecutive_failures):
                self.check(last is RefreshStarted, "RefreshFailed without RefreshStarted")
                self.check(consecutive_failures == self.model.streak, "a wrong count of failures")
            case TokenExpired(expires_on):
                self.told.add(expires_on)
                replaced = self.model.lapsed is not None and self.model.lapsed.expires_on == expires_on
                self.check(replaced or self.model.remaining() < 0.002, "TokenExpired before the expiry")
        self.check(self.open or isinstance(event, CredentialClosed), f"{event} after the block")
        if not isinstance(event, TokenExpired):
            self.last_event = type(event)

    async def ask(self, ask: Ask) -> None:
        began, jumps, self.callers = self.clock.monotonic(), self.jumps, self.callers + 1
        with anyio.move_on_after(math.inf if ask.patience is None else ask.patience) as scope:
            try:
                if ask.way == "nowait":
                    self.nowait()
                else:
                    await self.call(ask.way, self.model.remaining())
            except CredentialClosedError:
                self.check(not self.open, "CredentialClosedError in an open block")
            except TokenRefreshError as error:
                self.check(error.__cause__ is not None or ask.way == "reject held", "an error without its cause")
                lost = self.model.remaining() > 0.002 and ask.way in {"get", "reject older"}
                self.check(not lost, f"{ask.way} failed while a token was valid")
        self.callers -= 1
        longest = (POLICY.refresh_timeout + 2) * (2 + self.jumps - jumps)
        took = self.clock.monotonic() - began
        self.check(scope.cancelled_caught or took <= longest, f"{ask.way} took {took} s")

    async def call(self, way: str, remaining: float) -> None:
        held, began, jumps = self.model.token, self.clock.monotonic(), self.jumps
        fresh = remaining > POLICY.on_demand_window
        if way == "get":
            token = await self.credential.get_token()
        elif way == "reject older":
            older = [token for token in self.given if token != held]
            fresh = remaining > 0.002
            token = await self.credential.refresh(rejected=older[0] if older else "older")
        else:
            fresh = False
            token = await self.refresh(held if way == "reject held" and remaining > 0.002 else None)
        self.check(token.expires_on > self.clock.time(), f"{way} gave an expired token")
        now = self.model.token
        self.check(token is now or (fresh and token is held), f"{way} gave another token than the one held")
        waited = (
            self.clock.monotonic() > began and self.jumps == jumps
        )  # a jump may have ended it while the call yielded
        self.check(not (fresh and waited), f"{way} waited with a token to hand out")

    async def refresh(self, rejected: AccessToken | None) -> AccessToken:
        """`refresh()`, which takes part in a round in flight, and may refuse to replace a rejected token at once."""
        if self.in_flight:
            self.model.forced = True
        if rejected is None:
            return await self.credential.refresh()
        known, starts = rejected.token in self.model.rejected, self.starts
        self.model.rejected.add(rejected.token)
        try:
            return await self.credential.refresh(rejected=rejected)
        except TokenRefreshError:
            if self.starts == starts and not self.in_flight and not known:
                self.model.rejected.discard(rejected.token)
            raise

    def nowait(self) -> None:
        try:
            token = self.credential.get_token_nowait()
        except TokenUnavailableError:
            self.check(self.model.remaining() < 0.002, "get_token_nowait() lost a valid token")
        else:
            self.check(token is self.model.token, "get_token_nowait() gave another token than the one held")
            self.check(token.expires_on > self.clock.time(), "get_token_nowait() gave an expired token")

    def look(self) -> None:
        """The statistics agree with the model and with themselves."""
        now, model = self.credential.statistics(), self.model
        counts = (now.refreshes, now.failures, now.consecutive_failures)
        self.check(counts == (model.refreshes, model.failures, model.streak), f"counted {counts}")
        self.check(now.expires_on == (model.token.expires_on if model.token else None), "another token is held")
        self.check((now.last_error is None) == (now.consecutive_failures == 0), "an error without a failure")
        self.check(now.waiting <= self.callers, "more wait than there are callers")
        if abs(model.remaining() - 0.001) > 0.001:
            has_none = model.remaining() == 0 or "closed" in repr(self.credential)
            self.check((now.state is TokenState.EXPIRED) == has_none, f"the token is {now.state}")
        asks = self.open and self.plan.proactive
        self.check((now.next_refresh_at is not None) == asks, "next_refresh_at where it will not be, or the reverse")
        self.check(now.next_refresh_at is None or now.next_refresh_at >= self.clock.time(), "a refresh in the past")

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            for block, close in self.plan.blocks:
                self.model.streak, self.model.quiet_until = 0, -math.inf
                self.open = True
                async with self.credential:
                    for step in block:
                        await self.do(step, group)
                    self.look()
                    self.open = False
                    if close:
                        await self.credential.close()
                await self.closed()

    async def do(self, step: Step, group: anyio.abc.TaskGroup) -> None:
        match step:
            case Pass(seconds):
                await anyio.sleep(seconds)
            case Jump(seconds):
                self.clock.jump(seconds)
                self.jumps += 1
                self.model.look()
            case Ways():
                self.ways = step
            case Ask():
                group.start_soon(self.ask, step)
        self.look()

    async def closed(self) -> None:
        """Nobody waits on, and nobody gets in any more."""
        self.model.forced = False
        self.model.rejected.clear()
        for _ in range(10):
            await checkpoint()
        self.check(self.callers == 0, f"{self.callers} callers of a closed credential wait")
        self.check(self.in_flight == 0, "the source is still being asked")
        self.check(self.last_event is CredentialClosed, "CredentialClosed is not the last event")
        with pytest.raises(CredentialClosedError):
            await self.credential.get_token()
        with pytest.raises(CredentialClosedError):
            self.credential.get_token_nowait()
        self.look()


get, soon = Ask("get"), Pass(0.2)
DEAD_SOURCE = Plan(False, None, [([Ways(0, "transient"), get, soon, get, soon, get], False)])
LATCHED = Plan(True, 60.0, [([Ways(0, "permanent"), Pass(200), get, Pass(250), get], False)])
REJECTED_AGAIN = Plan(False, 3600.0, [([Ways(0, "same"), Ask("reject held"), soon, get], False)])
NO_PROGRESS = Plan(True, 600.0, [([Ways(0, "same"), Pass(500)], False)])
OLDER_REJECTED = Plan(False, 3600.0, [([Ask("refresh"), Pass(3550), Ask("reject older"), soon], False)])
ENDS_IN_A_ROUND = Plan(False, 60.0, [([Ways(3, 3600.0), Pass(58), get, Pass(10)], False)])
# A token of 1.2 s is replaced 1.2 s later, to the last bit or all but; before that, the wall clock was set back a day.
REPLACED_AS_IT_ENDS = Plan(True, 2.0, [([Ways(0.2, 1.5), Pass(300), Jump(-86400), Pass(1)], False)])
LEFT_AS_IT_ENDS = Plan(False, 1.0, [([Pass(0), get, Jump(30), Pass(0)], False)])


@pytest.mark.promise("R1", "R2", "R3", "R5", "R9", "R14", "R17", "R18", "R19", "R22", "R23", "R42", "R49", "R50", "R54")
@pytest.mark.parametrize("backend", anyio.get_available_backends())
@given(plan=plans)
@example(plan=DEAD_SOURCE)
@example(plan=LATCHED)
@example(plan=REJECTED_AGAIN)
@example(plan=NO_PROGRESS)
@example(plan=OLDER_REJECTED)
@example(plan=ENDS_IN_A_ROUND)
@example(plan=REPLACED_AS_IT_ENDS)
@example(plan=LEFT_AS_IT_ENDS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_run_keeps_the_contract(backend: str, plan: Plan) -> None:
    """Whatever happens to a credential, tokens, callers, rounds, statistics and events are as the contract says."""
    play = Play(plan)
    anyio.run(play.run, **virtual_time(backend))
    assert play.broken == []
