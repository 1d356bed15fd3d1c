"""Arbitrary runs of a pool in virtual time, against what the contract says of it.

A plan says what happens: users come, use a credential for a while and go, or are cancelled; credentials are discarded,
or closed by who uses them; making one fails for a while; time passes; the pool is left while others still use it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import anyio
import pytest
from anyio.lowlevel import checkpoint
from clocks import REAL_TIME
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialClosedError, CredentialPool
from anyio_acs_credential.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE = 60.0
EPSILON = 0.37  # no step ends at a sum of these: what is looked at stands still


@dataclass(frozen=True)
class Pass:
    """Time passes."""

    seconds: float


@dataclass(frozen=True)
class Use:
    """A user comes, uses a credential for so long, and is cancelled after `patience` seconds."""

    key: int
    seconds: float
    patience: float = inf
    closes: bool = False
    """Whether it closes the credential itself, which it should not."""


@dataclass(frozen=True)
class Discard:
    """Somebody signs out."""

    key: int


@dataclass(frozen=True)
class Break:
    """From now on, opening the credential of this key fails, or works again."""

    key: int
    way: str


Step: TypeAlias = Pass | Use | Discard | Break


@dataclass(frozen=True)
class Plan:
    """One pool's life: blocks that are entered one after the other."""

    max_size: int | None
    enters_in: float
    leaves_in: float
    blocks: Sequence[Sequence[Step]]


keys = st.integers(0, 4)
seconds = st.sampled_from([0.0, 0.0, 1.0, 10.0, 59.0, 61.0, 200.0])
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Pass, seconds),
    st.builds(Use, keys, seconds),
    st.builds(Use, keys, seconds, st.sampled_from([inf, 0.0, 1.0, 20.0]), st.sampled_from([False, False, True])),
    st.builds(Use, keys, seconds, st.sampled_from([0.0, 5.0, 70.0])),
    st.builds(Discard, keys),
    st.builds(Break, keys, st.sampled_from(["", "", "make", "enter", "leave"])),
)
plans = st.builds(
    Plan,
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from([0.0, 0.0, 2.0]),
    st.sampled_from([0.0, 0.0, 3.0]),
    st.lists(st.lists(steps, max_size=30), min_size=1, max_size=2),
)


class Watched(CommunicationTokenCredential):
    """A credential that tells the play what becomes of it."""

    def __init__(self, play: Play, key: int) -> None:
        super().__init__(token_refresher=self.source, clock=REAL_TIME)
        self.play, self.key = play, key
        self.users = 0
        self.unused_since = anyio.current_time()
        self.may_close = False
        """Whether it was discarded, was closed by its user, or was in a pool that was left."""

    async def source(self) -> AccessToken:
        await checkpoint()
        return AccessToken(f"of-{self.key}", 4_000_000_000)

    async def __aenter__(self) -> Self:
        self.play.enter(self)
        try:
            await anyio.sleep(self.play.plan.enters_in)
            if self.play.ways[self.key] == "enter":
                raise OSError("enter")  # noqa: TRY301 - what fails on entering is the matter
            self.unused_since = anyio.current_time()
            return await super().__aenter__()
        except BaseException:
            self.play.leave(self)
            raise

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        self.play.closing(self)
        result = await super().__aexit__(*exc_info)  # noqa: ASYNC102 - it is what it would be without this class
        with anyio.CancelScope(shield=True):
            await anyio.sleep(self.play.plan.leaves_in)
        self.play.leave(self)
        if self.play.ways[self.key] == "leave":
            raise OSError("leave")
        return result


class Play:
    """One pool and its users."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.broken: list[str] = []
        self.ways: defaultdict[int, str] = defaultdict(str)
        self.entered: dict[int, Watched] = {}
        self.waiting = self.users = 0
        self.is_open = False
        self.pool = CredentialPool(self.make, idle_timeout=IDLE, max_size=plan.max_size)

    def check(self, kept: object, broken: str) -> None:
        if not kept:
            self.broken.append(f"{broken}, at {anyio.current_time():.3f}")

    def make(self, key: int) -> Watched:
        self.check(self.is_open, f"{key} was made outside the block")
        if self.ways[key] == "make":
            raise LookupError("make")
        return Watched(self, key)

    def enter(self, credential: Watched) -> None:
        self.check(credential.key not in self.entered, f"two credentials of {credential.key}")
        self.entered[credential.key] = credential
        self.check(len(self.entered) <= (self.plan.max_size or inf), "more than max_size")

    def closing(self, credential: Watched) -> None:
        """Only what nobody uses is closed, and no sooner than the contract says."""
        if credential.may_close or not self.is_open:
            return
        self.check(not credential.users, f"{credential.key} was closed in use")
        unused = anyio.current_time() - credential.unused_since
        makes_room = self.plan.max_size is not None
        self.check(unused >= IDLE - EPSILON or makes_room, f"{credential.key} was closed {unused} s after its last use")

    def leave(self, credential: Watched) -> None:
        self.check(self.entered.pop(credential.key, None) is credential, f"{credential.key} was left twice")

    async def use(self, use: Use) -> None:
        self.users += 1
        with anyio.move_on_after(use.patience):
            self.waiting += 1
            waits = True
            try:
                async with self.pool.use(use.key) as credential:
                    self.waiting -= 1
                    waits = False
                    await self.hold(use, credential)
            except (LookupError, OSError) as error:
                self.check(str(error) in {"make", "enter"}, f"{use.key} got {error!r}")
            except CredentialClosedError:
                self.check(not self.is_open, f"{use.key} was told that the open pool is closed")
            finally:
                self.waiting -= waits
        self.users -= 1

    async def hold(self, use: Use, credential: CommunicationTokenCredential) -> None:
        assert isinstance(credential, Watched)
        self.check(credential is self.entered.get(use.key), f"{use.key} got another credential than the open one")
        credential.users += 1
        try:
            await self.ask(credential)
            await anyio.sleep(use.seconds)
            await self.ask(credential)
            if use.closes:
                credential.may_close = True
                await credential.close()
        finally:
            credential.users -= 1
            credential.unused_since = anyio.current_time()

    async def ask(self, credential: Watched) -> None:
        try:
            token = await credential.get_token()
            self.check(token.token == f"of-{credential.key}", "the token of another user")
        except CredentialClosedError:
            may_be_closed = credential.may_close or not self.is_open
            self.check(may_be_closed, f"{credential.key} was closed in use")

    async def discard(self, key: int) -> None:
        credential = self.entered.get(key)
        if credential is not None:
            credential.may_close = True
        try:
            await self.pool.discard(key)
        except CredentialClosedError:
            self.check(not self.is_open, "discard() was told that the open pool is closed")
        else:
            self.check(credential is None or self.entered.get(key) is not credential, f"{key} was not closed")

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            tasks = len(anyio.get_running_tasks())
            for block in self.plan.blocks:
                self.is_open = True
                async with self.pool:
                    for step in block:
                        await self.do(step, group)
                    self.is_open = False
                    for credential in self.entered.values():
                        credential.may_close = True
                self.check(not self.entered, "a credential outlived its pool")
                await anyio.sleep(0.1)
                self.check(self.waiting == 0, "somebody waits for a pool that was left")
            await anyio.sleep(1_000)
            self.check(self.users == 0, "a user is left")
            self.check(len(anyio.get_running_tasks()) == tasks, "a task is left")

    async def do(self, step: Step, group: anyio.abc.TaskGroup) -> None:
        match step:
            case Pass(seconds):
                await anyio.sleep(seconds)
                await self.look()
            case Use():
                group.start_soon(self.use, step)
            case Discard(key):
                group.start_soon(self.discard, key)
                await checkpoint()
            case Break(key, way):
                self.ways[key] = way

    async def look(self) -> None:
        """What nobody uses is closed in time, and nobody waits while there is room for them."""
        await anyio.sleep(EPSILON + self.plan.leaves_in + self.plan.enters_in)
        now, slack = anyio.current_time(), 2 * EPSILON + self.plan.leaves_in + self.plan.enters_in
        for credential in self.entered.values():
            unused = 0 if credential.users else now - credential.unused_since
            self.check(unused <= IDLE + slack, f"{credential.key} is open {unused} s after its last use")
        in_use = sum(credential.users > 0 for credential in self.entered.values())
        if self.plan.leaves_in == self.plan.enters_in == 0:
            self.check(self.waiting == 0 or in_use == (self.plan.max_size or inf), "somebody waits with room to give")


EVICTED_FOR_ONE_WHO_GOES = Plan(
    1, 2.0, 3.0, [[Use(0, 1), Pass(10), Use(1, 10, 1.0), Use(0, 1), Pass(10), Use(2, 1), Pass(10)]]
)
LEFT_BEFORE_ANYTHING_OPENS = Plan(1, 0.0, 0.0, [[Use(0, 10), Use(1, 10), Pass(0)], [Use(0, 1), Pass(1)]])
CLOSED_BY_ITS_USER = Plan(1, 0.0, 3.0, [[Use(0, 1, inf, True), Use(0, 1), Use(1, 1), Pass(10), Discard(0)]])


@pytest.mark.promise("R61", "R62", "R63", "R64")
@pytest.mark.parametrize("backend", anyio.get_available_backends())
@given(plan=plans)
@example(plan=EVICTED_FOR_ONE_WHO_GOES)
@example(plan=LEFT_BEFORE_ANYTHING_OPENS)
@example(plan=CLOSED_BY_ITS_USER)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_run_keeps_the_contract(backend: str, plan: Plan) -> None:
    """One open credential a key, never more than max_size, none closed in use, all closed at the end."""
    play = Play(plan)
    anyio.run(play.run, **virtual_time(backend))
    assert play.broken == []
