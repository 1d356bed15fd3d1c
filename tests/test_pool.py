"""The pool: one open credential for each user, shared, bounded, and nobody's trouble another's."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import traceback
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import count
from math import inf, nan
from typing import TYPE_CHECKING, Any, Self

import anyio
import pytest
from anyio.lowlevel import checkpoint
from cancelling import Program, cancelled_at_every_checkpoint, tasks
from clocks import REAL_TIME
from test_cancellation import BODY_ERRORS, DEADLY, asyncio_only, hanging, leaked, quick
from told import told

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosedError,
    CredentialNotEnteredError,
    CredentialPool,
    CredentialUsageError,
    PoolStatistics,
    SignInRequiredError,
    TokenRefreshError,
)
from anyio_acs_credential._refreshing.block import running
from anyio_acs_credential.testing import virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

in_virtual_time = pytest.mark.parametrize("anyio_backend", virtual_time_backends())
NEVER = 4_000_000_000


@dataclass
class World:
    """Makes credentials that say what becomes of them."""

    source: Callable[[], Awaitable[AccessToken]] = quick
    made: list[str] = field(default_factory=list)
    open: dict[str, Watched] = field(default_factory=dict)
    most: int = 0
    failures: dict[str, BaseException] = field(default_factory=dict)
    """What making a credential raises, or entering it, where the key ends with an exclamation mark."""
    let_enter: anyio.Event | None = None
    stubborn: bool = False
    """Whether entering goes on when it is cancelled."""
    let_leave: anyio.Event | None = None

    def make(self, key: str) -> CommunicationTokenCredential:
        self.made.append(key)
        if key in self.failures and not key.endswith("!"):
            raise self.failures[key]
        return Watched(self, key)


class Watched(CommunicationTokenCredential):
    """A credential that is the only open one of its key, and is left by the task that entered it."""

    def __init__(self, world: World, key: str) -> None:
        super().__init__(token_refresher=world.source, clock=REAL_TIME)
        self.world, self.key, self.task = world, key, 0

    async def __aenter__(self) -> Self:
        self.task = anyio.get_current_task().id
        if self.world.let_enter is not None:
            with anyio.CancelScope(shield=self.world.stubborn):
                await self.world.let_enter.wait()
        if self.key in self.world.failures:
            raise self.world.failures[self.key]
        assert self.key not in self.world.open
        await super().__aenter__()
        self.world.open[self.key] = self
        self.world.most = max(self.world.most, len(self.world.open))
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        assert self.task == anyio.get_current_task().id
        if self.world.let_leave is not None:
            with anyio.CancelScope(shield=True):
                await self.world.let_leave.wait()
        result = await super().__aexit__(*exc_info)  # noqa: ASYNC102 - it is what it would be without this class
        del self.world.open[self.key]
        return result


@asynccontextmanager
async def opened(world: World, **options: Any) -> AsyncGenerator[CredentialPool[str]]:
    """A pool; whatever was done in its block, nothing is left of it afterwards."""
    before = tasks()
    try:
        async with CredentialPool(world.make, **options) as pool:
            yield pool
    finally:
        assert world.open == {}
        assert tasks() == before


async def touch(pool: CredentialPool[str], *keys: str) -> None:
    for key in keys:
        async with pool.use(key) as credential:
            await credential.get_token()


@dataclass
class User:
    """Uses a credential until it is let go."""

    pool: CredentialPool[str]
    key: str
    let_go: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    credential: CommunicationTokenCredential | None = None
    error: BaseException | None = None

    async def run(self) -> None:
        try:
            with self.scope:
                async with self.pool.use(self.key) as self.credential:
                    await self.let_go.wait()
        except Exception as error:  # noqa: BLE001 - it is compared
            self.error = error


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a cancellation leads to, which asyncio delivers when all tasks look blocked."""
    with anyio.fail_after(40):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await checkpoint()


async def come(group: anyio.abc.TaskGroup, pool: CredentialPool[str], *keys: str) -> list[User]:
    """Users that ask one after the other."""
    users = [User(pool, key) for key in keys]
    for user in users:
        group.start_soon(user.run)
        await anyio.wait_all_tasks_blocked()
    return users


class TestOfOneUser:
    @pytest.mark.promise("R61")
    async def test_made_once_and_shared(self) -> None:
        """However many use it at the same time, or again, one credential is made."""
        world = World()
        async with opened(world) as pool, anyio.create_task_group() as group:
            users = [User(pool, "alice") for _ in range(1_000)]
            for user in users:
                group.start_soon(user.run)
            await anyio.wait_all_tasks_blocked()
            assert {user.credential for user in users} == {world.open["alice"]}
            for user in users:
                user.let_go.set()
            await anyio.wait_all_tasks_blocked()
            await touch(pool, "alice")
            assert world.made == ["alice"]

    async def test_in_the_context_of_who_entered_the_pool(self) -> None:
        """Making, and asking for tokens, see the context variables of that task, not those of the first user."""
        who: ContextVar[str] = ContextVar("who")
        seen = []

        async def source() -> AccessToken:
            seen.append(who.get())
            return await quick()

        def make(_: str) -> CommunicationTokenCredential:
            seen.append(who.get())
            who.set("what was made before")
            return CommunicationTokenCredential(token_refresher=source)

        who.set("the pool")
        async with CredentialPool[Any](make) as pool:
            who.set("the user")
            await touch(pool, "alice", "bob")
        assert seen == ["the pool", "what was made before"] * 2

    async def test_it_is_one_task(self) -> None:
        async with opened(World()) as pool:
            await checkpoint()
            before = tasks()
            await touch(pool, "alice")
            [keeper] = tasks() - before
            assert {task.name for task in anyio.get_running_tasks() if task.id == keeper} == {"credential keeper"}

    async def test_a_static_credential(self) -> None:
        """One that never refreshes is kept open and closed as others are."""
        token = AccessToken("held", NEVER)
        async with CredentialPool[Any](lambda _: CommunicationTokenCredential(token)) as pool:
            async with pool.use("alice") as credential:
                assert await credential.get_token() is token
                await pool.discard("alice")
                with pytest.raises(CredentialClosedError):
                    await credential.get_token()
            async with pool.use("alice") as another:
                assert another is not credential

    async def test_closed_by_its_user(self) -> None:
        """A credential that somebody closed is not handed out again."""
        world = World()
        async with opened(world) as pool:
            async with pool.use("alice") as credential:
                await credential.close()
                async with pool.use("alice") as another:
                    await another.get_token()
            async with pool.use("alice") as again:
                again._shut()
            await touch(pool, "alice")
            assert (another, world.made) == (again, ["alice"] * 3)

    async def test_cancelled_while_it_opens(self) -> None:
        """Its opening goes on, for the next user."""
        let_enter = anyio.Event()
        world = World(let_enter=let_enter)
        async with opened(world, max_size=1) as pool, anyio.create_task_group() as group:
            [user] = await come(group, pool, "alice")
            user.scope.cancel()
            await anyio.wait_all_tasks_blocked()
            let_enter.set()
            await touch(pool, "alice")
            assert (world.made, user.credential) == (["alice"], None)
            await touch(pool, "bob")


@pytest.mark.promise("R61")
@in_virtual_time
class TestIdle:
    async def test_closed_when_nobody_has_used_it(self) -> None:
        """To the second; each use begins the time anew, and one that lasts longer than that is left alone."""
        world = World()
        async with opened(world, idle_timeout=60) as pool:
            await touch(pool, "alice")
            await anyio.sleep(59)
            await touch(pool, "alice", "bob")
            await anyio.sleep(59)
            assert set(world.open) == {"alice", "bob"}
            async with pool.use("alice"):
                await anyio.sleep(2)
                assert set(world.open) == {"alice"}
                await anyio.sleep(3600)
                await touch(pool, "alice")
            await anyio.sleep(59)
            assert set(world.open) == {"alice"}
            await anyio.sleep(2)
            assert world.open == {}
            await touch(pool, "alice")
            assert world.made == ["alice", "bob", "alice"]

    async def test_each_has_a_time_of_its_own(self) -> None:
        world = World()
        async with opened(world, idle_timeout=60) as pool:
            await touch(pool, "alice")
            await anyio.sleep(10)
            await touch(pool, "bob")
            await anyio.sleep(51)
            assert set(world.open) == {"bob"}
            await anyio.sleep(10)
            assert world.open == {}

    async def test_the_default_is_half_an_hour(self) -> None:
        world = World()
        async with opened(world) as pool:
            await touch(pool, "alice")
            await anyio.sleep(1799)
            assert set(world.open) == {"alice"}
            await anyio.sleep(2)
            assert world.open == {}

    async def test_closed_at_once(self) -> None:
        world = World()
        async with opened(world, idle_timeout=0) as pool:
            await touch(pool, "alice")
            await anyio.sleep(0.001)
            assert world.open == {}

    async def test_closed_by_its_user_meanwhile(self) -> None:
        """Nothing is left to close when its time is over, and the pool goes on."""
        world = World()
        async with opened(world, idle_timeout=60) as pool:
            async with pool.use("alice") as credential:
                pass
            await credential.close()
            await anyio.sleep(61)
            await touch(pool, "bob")
            assert set(world.open) == {"bob"}

    async def test_discarded_in_use(self) -> None:
        """The end of that use begins no idle time."""
        world = World()
        async with opened(world, idle_timeout=60) as pool:
            async with pool.use("alice"):
                await pool.discard("alice")
            await anyio.sleep(61)
            await touch(pool, "bob")
            assert set(world.open) == {"bob"}

    async def test_given_up_while_it_opens(self) -> None:
        """Its idle time begins when it is open."""
        let_enter = anyio.Event()
        world = World(let_enter=let_enter)
        async with opened(world, idle_timeout=60) as pool, anyio.create_task_group() as group:
            [user] = await come(group, pool, "alice")
            user.scope.cancel()
            await anyio.sleep(61)
            let_enter.set()
            await anyio.sleep(59)
            assert set(world.open) == {"alice"}
            await anyio.sleep(2)
            assert world.open == {}
        assert world.made == ["alice"]

    async def test_never_closed(self) -> None:
        world = World()
        async with opened(world, idle_timeout=inf) as pool:
            await touch(pool, "alice")
            await anyio.sleep(86_400)
            assert set(world.open) == {"alice"}


@pytest.mark.promise("R61")
class TestDiscard:
    async def test_closes_at_once_and_the_next_use_makes_a_new_one(self) -> None:
        world = World()
        async with opened(world) as pool, pool.use("alice") as credential, pool.use("bob") as other:
            await pool.discard("alice")
            assert set(world.open) == {"bob"}
            with pytest.raises(CredentialClosedError):
                await credential.get_token()
            await other.get_token()
            async with pool.use("alice") as another:
                await another.get_token()
            await pool.discard("carol")
            assert world.made == ["alice", "bob", "alice"]

    async def test_the_new_one_waits_for_the_end_of_the_old(self) -> None:
        """Two credentials of one user are never open, however long closing takes; others do not wait."""
        let_leave = anyio.Event()
        world = World(let_leave=let_leave)
        async with opened(world, max_size=3) as pool, anyio.create_task_group() as group:
            await touch(pool, "alice")
            for _ in range(2):
                group.start_soon(pool.discard, "alice")
            await anyio.wait_all_tasks_blocked()
            [user] = await come(group, pool, "alice")
            assert [user.credential] == [None]
            await touch(pool, "bob")
            let_leave.set()
            await anyio.wait_all_tasks_blocked()
            assert user.credential is world.open["alice"]
            user.let_go.set()

    @pytest.mark.parametrize("stubborn", [False, True])
    async def test_while_it_opens(self, stubborn: bool) -> None:
        """Those who wait get a new one, made afterwards."""
        let_enter = anyio.Event()
        world = World(let_enter=let_enter, stubborn=stubborn)
        async with opened(world) as pool, anyio.create_task_group() as group:
            users = await come(group, pool, "alice", "alice")
            group.start_soon(pool.discard, "alice")
            await anyio.wait_all_tasks_blocked()
            let_enter.set()
            await until(lambda: None not in [user.credential for user in users])
            assert {user.credential for user in users} == {world.open["alice"]}
            assert world.made == ["alice", "alice"]
            group.cancel_scope.cancel()

    async def test_between_opening_and_waking(self) -> None:
        """A user who was woken for a credential that was closed meanwhile gets the next."""
        world = World()
        got: list[CommunicationTokenCredential] = []

        async def use() -> None:
            async with pool.use("alice") as credential:
                got.append(credential)
                if len(got) == 1:  # both were woken at once, and the other has not run yet
                    await pool.discard("alice")
                else:
                    await credential.get_token()

        async with opened(world) as pool, anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(use)
        assert got[0] is not got[1]
        assert world.made == ["alice", "alice"]

    async def test_while_it_waits_for_room(self) -> None:
        """There is nothing to close, and the user goes on waiting."""
        world = World()
        async with opened(world, max_size=1) as pool, anyio.create_task_group() as group:
            alice, bob = await come(group, pool, "alice", "bob")
            await pool.discard("bob")
            assert [bob.credential] == [None]
            alice.let_go.set()
            await anyio.wait_all_tasks_blocked()
            assert bob.credential is world.open["bob"]
            bob.let_go.set()

    async def test_cancelled(self) -> None:
        """It closes all the same."""
        world = World()
        async with opened(world) as pool:
            await touch(pool, "alice")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await pool.discard("alice")
            assert scope.cancelled_caught
            await anyio.wait_all_tasks_blocked()
            assert world.open == {}


@pytest.mark.promise("R63")
class TestMaxSize:
    async def test_the_one_unused_the_longest_makes_room(self) -> None:
        world = World()
        async with opened(world, max_size=2) as pool:
            await touch(pool, "alice", "bob", "alice", "carol")
            assert set(world.open) == {"alice", "carol"}
            async with pool.use("alice"):
                await touch(pool, "dave", "erin")
                assert set(world.open) == {"alice", "erin"}
            assert world.most == 2

    async def test_no_more_is_closed_than_has_to_be(self) -> None:
        """Where room is being made already, however long that takes, nothing else is closed for it."""
        let_leave = anyio.Event()
        world = World(let_leave=let_leave)
        async with opened(world, max_size=2) as pool, anyio.create_task_group() as group:
            await touch(pool, "alice", "bob")
            [carol] = await come(group, pool, "carol")
            await touch(pool, "bob")
            let_leave.set()
            await until(lambda: carol.credential is not None)
            await touch(pool, "bob")
            carol.let_go.set()
        assert world.made == ["alice", "bob", "carol"]

    async def test_with_all_in_use_the_next_waits_in_order(self) -> None:
        """The one who came first; those of one key wait together; who uses an open one does not wait."""
        world = World()
        async with opened(world, max_size=1) as pool, anyio.create_task_group() as group:
            alice, *waiting = await come(group, pool, "alice", "bob", "carol", "bob", "alice")
            assert [user.credential is not None for user in waiting] == [False, False, False, True]
            waiting[3].let_go.set()
            alice.let_go.set()
            await anyio.wait_all_tasks_blocked()
            assert [user.credential for user in waiting[:3]] == [world.open["bob"], None, world.open["bob"]]
            [again] = await come(group, pool, "alice")
            for user in waiting[:3:2]:
                assert waiting[1].credential is None
                user.let_go.set()
                await anyio.wait_all_tasks_blocked()
            assert waiting[1].credential is world.open["carol"]
            assert again.credential is None
            waiting[1].let_go.set()
            again.let_go.set()
        assert (world.most, world.made) == (1, ["alice", "bob", "carol", "alice"])

    async def test_cancelling_who_waits_loses_nothing(self) -> None:
        """The room goes to the next; a place is given up when all who wait for it are gone."""
        world = World()
        async with opened(world, max_size=1) as pool, anyio.create_task_group() as group:
            alice, *bobs, carol = await come(group, pool, "alice", "bob", "bob", "carol")
            for bob in bobs:
                bob.scope.cancel()
            await anyio.wait_all_tasks_blocked()
            alice.let_go.set()
            await anyio.wait_all_tasks_blocked()
            assert carol.credential is world.open["carol"]
            carol.let_go.set()
            await touch(pool, "bob", "alice")
        assert (world.most, world.made) == (1, ["alice", "carol", "bob", "alice"])

    async def test_cancelled_as_the_room_is_given(self) -> None:
        """Wherever the cancellation strikes, the room is not lost."""
        for checkpoints in range(12):
            world = World()
            async with opened(world, max_size=1) as pool, anyio.create_task_group() as group:
                alice, bob, carol = await come(group, pool, "alice", "bob", "carol")
                carol.let_go.set()
                alice.let_go.set()
                for _ in range(checkpoints):
                    await checkpoint()
                bob.scope.cancel()
                with anyio.fail_after(40):
                    await touch(pool, "dave")
            assert "carol" in world.made

    async def test_who_waits_for_an_old_one_to_end_holds_up_nobody(self) -> None:
        let_leave = anyio.Event()
        world = World(let_leave=let_leave)
        async with opened(world, max_size=2) as pool, anyio.create_task_group() as group:
            [alice] = await come(group, pool, "alice")
            group.start_soon(pool.discard, "alice")
            await anyio.wait_all_tasks_blocked()
            users = await come(group, pool, "alice", "bob", "carol")
            assert [user.credential is not None for user in users] == [False, True, False]
            let_leave.set()
            await anyio.wait_all_tasks_blocked()
            assert [user.credential is not None for user in users] == [True, True, False]
            for user in (alice, *users):
                user.let_go.set()


class TestFailures:
    @pytest.mark.promise("R62")
    @pytest.mark.parametrize("key", ["alice", "alice!"], ids=["making", "entering"])
    async def test_a_failure_is_that_uses_alone(self, key: str) -> None:
        """Those who wait for it get it, made once; others are not touched, and the next use tries again."""
        let_enter = anyio.Event()
        world = World(failures={key: LookupError("unknown user")}, let_enter=let_enter)
        async with opened(world, max_size=2) as pool, anyio.create_task_group() as group:
            users = await come(group, pool, "bob", key)
            let_enter.set()
            await anyio.wait_all_tasks_blocked()
            assert users[1].error is world.failures[key]
            await touch(pool, "bob")
            with pytest.raises(LookupError, match="unknown user"):
                await touch(pool, key)
            del world.failures[key]
            await touch(pool, key)
            users[0].let_go.set()
        assert world.made == ["bob", key, key, key]

    async def test_many_wait_for_one_that_fails(self) -> None:
        """It is made once for all of them, and its traceback does not grow with their number."""
        error = LookupError("unknown user")
        let_enter = anyio.Event()
        world = World(failures={"alice!": error}, let_enter=let_enter)
        async with opened(world) as pool, anyio.create_task_group() as group:
            users = await come(group, pool, *["alice!"] * 20)
            let_enter.set()
            await anyio.wait_all_tasks_blocked()
            assert {user.error for user in users} == {error}
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert len(frames) < 10
        assert frames[-1] == "__aenter__"  # where it was raised
        assert world.made == ["alice!"]

    async def test_one_credential_for_two_users(self) -> None:
        """It is open already, for the second: an error of that use."""
        shared = CommunicationTokenCredential(token_refresher=quick)
        async with CredentialPool[Any](lambda _: shared) as pool, pool.use("alice"):
            with pytest.raises(CredentialUsageError, match="open already"):
                await touch(pool, "bob")
            await touch(pool, "alice")
        async with shared:  # and it is the program's again
            assert (await shared.refresh()).token == "fetched"

    @pytest.mark.parametrize(
        ("made", "name"),
        [(None, "NoneType"), ("a token", "str"), (hanging, "coroutine")],
        ids=["nothing", "a token", "a coroutine"],
    )
    async def test_what_is_no_credential(self, made: Any, name: str) -> None:
        def make(_: str) -> Any:
            return made() if made is hanging else made

        async with CredentialPool[Any](make) as pool:
            with pytest.raises(TypeError) as caught:
                await touch(pool, "alice")
        returned = f"make returned {name}: give a plain function that returns a new CommunicationTokenCredential"
        assert told(caught.value) == (
            "pool-make",
            f"{returned}, not entered; what has to be awaited belongs into its token_refresher",
        )

    async def test_a_stray_cancellation_is_a_failure(self) -> None:
        """Code that lets out a cancellation of its own fails that use, and the pool goes on."""
        strays: list[BaseException] = []
        try:
            await leaked()
        except BaseException as stray:  # noqa: BLE001, ASYNC103 - it is thrown again below
            strays.append(stray)
        world = World(failures={"alice": strays[0]})
        async with opened(world) as pool:
            with pytest.raises(CredentialClosedError) as caught:
                await touch(pool, "alice")
            await touch(pool, "bob")
        assert told(caught.value) == (
            "closed",
            "the credential was cancelled by its own code while it opened; use the pool again",
        )

    async def test_what_leaving_raises_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """By its type alone: its text may be secret."""

        class Careless(CommunicationTokenCredential):
            async def __aexit__(self, *exc_info: Any) -> bool | None:
                await super().__aexit__(*exc_info)  # noqa: ASYNC102 - likewise
                raise OSError("canary")

        async with CredentialPool[Any](lambda _: Careless(token_refresher=quick)) as pool:
            await touch(pool, "alice")
            await pool.discard("alice")
            await touch(pool, "alice")
        assert [record.getMessage() for record in caplog.records] == [
            "a credential of a pool raised OSError when it was closed"
        ] * 2

    @pytest.mark.promise("R64")
    @pytest.mark.parametrize("backend", anyio.get_available_backends())
    @pytest.mark.parametrize("place", ["make", "enter", "source"])
    @pytest.mark.parametrize("waits", [True, False], ids=["body waits for it", "body sleeps"])
    @pytest.mark.parametrize("error", DEADLY, ids=lambda error: type(error).__name__)
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_what_ends_a_program_passes_through(
        self, backend: str, place: str, waits: bool, error: BaseException
    ) -> None:
        """An interrupt or an exit, wherever the program raises it, leaves the pool's block as the same object."""

        async def source() -> AccessToken:
            await checkpoint()
            raise error

        async def main() -> None:
            key = {"make": "alice", "enter": "alice!", "source": "bob"}[place]
            world = World(source=source, failures={"alice": error, "alice!": error})
            async with CredentialPool(world.make) as pool, anyio.create_task_group() as group:
                group.start_soon(touch, pool, "carol")
                if waits:
                    await touch(pool, key)
                else:
                    group.start_soon(touch, pool, key)
                    await anyio.sleep_forever()

        caught: BaseException | None = None
        try:
            anyio.run(main, backend=backend)
        except BaseException as raised:  # noqa: BLE001, ASYNC103 - whatever it is, it is compared
            caught = raised
        assert caught is error

    @pytest.mark.parametrize("tells", [True, False], ids=["body is told", "body is cancelled"])
    async def test_an_interrupt_that_struck_between_our_lines(self, tells: bool) -> None:
        """It leaves the block alone, though what ran there could not say that it was hit."""

        class Struck:
            crash: BaseException | None = None

            async def run(self) -> None:
                struck = BaseExceptionGroup("a nursery's", [ValueError(), BaseExceptionGroup("inner", [interrupt])])
                await checkpoint()
                raise struck

            def close(self) -> None:
                pass

        interrupt = KeyboardInterrupt()
        caught: BaseException | None = None
        try:
            async with running(Struck(), "struck"):
                with suppress(*([anyio.get_cancelled_exc_class()] if tells else [])):  # noqa: ASYNC103 - as it may be
                    await anyio.sleep_forever()
                raise CredentialClosedError("told")  # noqa: TRY301 - here is where it is raised
        except BaseException as raised:  # noqa: BLE001, ASYNC103 - whatever it is, it is compared
            caught = raised
        assert caught is interrupt

    @asyncio_only
    async def test_a_keeper_cancelled_natively(self) -> None:
        """It closes its credential, and no more."""
        world = World()
        async with opened(world) as pool, pool.use("alice") as credential:
            await touch(pool, "bob")
            [task] = [task for task in asyncio.all_tasks() if id(task) == world.open["alice"].task]
            task.cancel()
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(CredentialClosedError):
                await credential.get_token()
            await touch(pool, "alice", "bob")
            assert world.made == ["alice", "bob", "alice"]

    @asyncio_only
    async def test_the_pools_task_cancelled_natively(self, caplog: pytest.LogCaptureFixture) -> None:
        """It closes the pool, and its block goes on."""
        async with opened(World()) as pool, pool.use("alice") as credential:
            [task] = [task for task in asyncio.all_tasks() if task.get_name() == "credential pool"]
            task.cancel()
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(CredentialClosedError):
                await credential.get_token()
            with pytest.raises(CredentialClosedError):
                await touch(pool, "bob")
        warning = "the task of a credential pool was cancelled by Task.cancel(); the pool is closed"
        assert caplog.record_tuples == [("anyio_acs_credential", logging.WARNING, warning)]


@pytest.mark.promise("R64")
class TestTheBlock:
    async def test_leaving_closes_all(self) -> None:
        """Also what is in use elsewhere; who waits is told, and their leaving afterwards harms nothing."""
        world = World()
        pool = CredentialPool(world.make, max_size=2)
        async with anyio.create_task_group() as group:
            async with pool:
                users = await come(group, pool, "alice", "bob", "carol", "carol")
            assert world.open == {}
            for user in users[:2]:
                assert user.credential is not None
                with pytest.raises(CredentialClosedError):
                    await user.credential.get_token()
            await anyio.wait_all_tasks_blocked()
            assert [type(user.error) for user in users[2:]] == [CredentialClosedError] * 2
            async with pool:
                await touch(pool, "alice")
                for user in users[:2]:
                    user.let_go.set()
                await anyio.wait_all_tasks_blocked()
                await touch(pool, "alice")
        assert world.made == ["alice", "bob", "alice"]

    async def test_left_at_once(self) -> None:
        """Also before its task has begun, and with somebody who has asked."""
        world = World()
        with pytest.raises(ValueError, match="body"):
            async with opened(world):
                raise ValueError("body")
        async with anyio.create_task_group() as group:
            async with opened(world) as pool:
                user = User(pool, "alice")
                group.start_soon(user.run)
            user.let_go.set()
        assert isinstance(user.error, CredentialClosedError)

    async def test_left_while_sources_hang(self) -> None:
        with anyio.fail_after(40):
            async with opened(World(source=hanging)) as pool, anyio.create_task_group() as group:
                await come(group, pool, "alice", "bob")
                group.cancel_scope.cancel()

    @pytest.mark.parametrize("error", BODY_ERRORS, ids=lambda error: type(error).__name__)
    async def test_the_bodys_exception_leaves_as_it_is(self, error: BaseException) -> None:
        """It is the same object, in no group, through the uses and the pool."""
        error.__traceback__ = error.__context__ = None
        caught: BaseException | None = None
        try:
            async with opened(World()) as pool, pool.use("alice"), pool.use("bob"):
                raise error  # noqa: TRY301 - here is where it is raised
        except BaseException as raised:  # noqa: BLE001, ASYNC103 - whatever it is, it is compared
            caught = raised
        assert caught is error
        assert (error.__context__, error.__cause__, getattr(error, "__notes__", None)) == (None, None, None)

    async def test_cleanup_in_a_cancelled_body(self) -> None:
        """What is in use stays open until the body has left, and the pool still works for a shielded cleanup."""
        with anyio.move_on_after(0) as scope:
            async with opened(World()) as pool, pool.use("alice") as credential:
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.wait_all_tasks_blocked()
                        await credential.refresh()
                        await touch(pool, "bob")
        assert scope.cancelled_caught

    async def test_used_in_the_wrong_place(self) -> None:
        """Each refusal names the fix."""
        pool = CredentialPool(World().make)
        for call in (pool.use("alice").__aenter__, functools.partial(pool.discard, "alice")):
            with pytest.raises(CredentialNotEnteredError) as caught:
                await call()
            assert told(caught.value) == (
                "not-entered",
                "the pool opens credentials only inside its block: use `async with pool:` first",
            )
        with pytest.raises(CredentialUsageError, match="left, and never entered"):
            await pool.__aexit__(None, None, None)
        async with pool:
            with pytest.raises(CredentialUsageError, match="open already"):
                await pool.__aenter__()
            await touch(pool, "alice")
            for backend in anyio.get_available_backends():
                await anyio.to_thread.run_sync(functools.partial(anyio.run, self.expect_refusal, pool, backend=backend))
            await anyio.to_thread.run_sync(anyio.from_thread.run, touch, pool, "alice")
        for call in (pool.use("alice").__aenter__, functools.partial(pool.discard, "alice")):
            with pytest.raises(CredentialClosedError) as closed:
                await call()
            assert told(closed.value) == (
                "closed",
                "the pool is closed; use it inside its `async with` block, or enter it again",
            )

    @staticmethod
    async def expect_refusal(pool: CredentialPool[str]) -> None:
        for call in (functools.partial(touch, pool), pool.discard):
            with pytest.raises(CredentialUsageError) as caught:
                await call("alice")
            elsewhere = (
                "the pool was entered in another event loop; from other threads call it with anyio.from_thread.run(), "
                "and in a second event loop enter a pool of its own"
            )
            assert told(caught.value) == ("another-loop", elsewhere)

    async def test_a_use_is_for_one_block(self) -> None:
        async with opened(World()) as pool:
            use = pool.use("alice")
            with pytest.raises(CredentialUsageError) as caught:
                await use.__aexit__(None, None, None)
            assert told(caught.value) == ("open-already", "left, and never entered: `async with` does both")
            for _ in range(2):
                async with use as credential:
                    with pytest.raises(CredentialUsageError) as caught:
                        await use.__aenter__()
                    await credential.get_token()
                assert told(caught.value) == (
                    "open-already",
                    "this use has begun already: call pool.use(key) anew for each block",
                )

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_left_after_its_event_loop_was_closed(self) -> None:
        """It is closed, though its task has never ended."""
        pool = CredentialPool(World().make)
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _loop, _context: None)  # asyncio's own word about the pending task
        loop.run_until_complete(pool.__aenter__())
        loop.close()

        async def late() -> None:
            await pool.__aexit__(None, None, None)
            with pytest.raises(CredentialClosedError, match="the pool is closed"):
                await touch(pool, "alice")

        asyncio.run(late())

    async def test_nothing_is_left_of_it(self) -> None:
        """No credential outlives its pool's interest in it."""
        world = World()
        async with opened(world) as pool:
            await touch(pool, "alice")
            await pool.discard("alice")
            await checkpoint()
            gc.collect()
            assert not [each for each in gc.get_objects() if isinstance(each, Watched) and each.world is world]


@dataclass
class Run(Program):
    """A program that uses a pool in every way, step after step, while others use it too."""

    world: World = field(default_factory=World)
    others: int = 0

    async def program(self, others: anyio.abc.TaskGroup) -> None:
        async with CredentialPool(self.world.make, max_size=2) as pool:
            others.start_soon(self.other, pool)
            await touch(pool, "alice", "bob")
            async with pool.use("carol"):
                await touch(pool, "dave")
                await pool.discard("carol")
            await touch(pool, "carol")
        self.finished = True

    async def other(self, pool: CredentialPool[str]) -> None:
        for key in ("bob", "erin", "alice"):
            with suppress(CredentialClosedError):
                await touch(pool, key)
        self.others += 1


@pytest.mark.promise("R63", "R64")
async def test_cancelled_at_every_checkpoint() -> None:
    """Wherever it strikes, cancellation ends the program, all is closed, and the others have an answer."""
    cancelled = 0
    async for run in cancelled_at_every_checkpoint(Run):
        assert run.others in {0, 1}
        assert (run.world.open, run.world.most <= 2) == ({}, True)
        cancelled += not run.finished
    assert cancelled > 15


@pytest.mark.promise("R64")
@asyncio_only
async def test_cancelled_natively_at_every_step() -> None:
    """`asyncio.Task.cancel()` of the host, at each step of the event loop, ends it and is not swallowed."""
    for ticks in count():
        world = World()

        async def use(world: World) -> None:
            async with opened(world, max_size=1) as pool:
                await touch(pool, "alice", "bob")
                await pool.discard("bob")

        host = asyncio.create_task(use(world))
        for _ in range(ticks):
            await asyncio.sleep(0)
        cancelling = host.cancel()
        await asyncio.wait([host], timeout=40)
        assert host.done()
        assert host.cancelled() == cancelling
        assert world.open == {}
        if not cancelling:
            break
    assert ticks > 8


@pytest.mark.promise("R62")
@in_virtual_time
@pytest.mark.once
async def test_two_thousand_users() -> None:
    """One whose source fails, one whose source hangs, one that is signed out: nobody else waits or fails."""

    def make(user: int) -> CommunicationTokenCredential:
        async def source() -> AccessToken:
            calls[user] += 1
            await (anyio.sleep_forever() if user == 17 else anyio.sleep(0.2))
            if user == 18:
                raise ConnectionError("down")
            if user == 19:
                raise SignInRequiredError("signed out")
            return AccessToken(f"of-{user}", NEVER)

        return CommunicationTokenCredential(token_refresher=source, clock=REAL_TIME)

    async def use(user: int) -> None:
        async with pool.use(user) as credential:
            with anyio.move_on_after(10):
                try:
                    outcomes[user] = (await credential.get_token()).token
                except TokenRefreshError as error:
                    outcomes[user] = type(error.__cause__).__name__
        times[user] = anyio.current_time() - began

    calls = [0] * 2_000
    outcomes: dict[int, str] = {}
    times: dict[int, float] = {}
    expected = {user: f"of-{user}" for user in range(2_000)} | {18: "ConnectionError", 19: "SignInRequiredError"}
    del expected[17]
    async with CredentialPool[Any](make) as pool:
        for _ in range(2):
            outcomes.clear()
            times.clear()
            began = anyio.current_time()
            async with anyio.create_task_group() as group:
                for user in range(2_000):
                    group.start_soon(use, user)
            assert outcomes == expected
            assert max(taken for user, taken in times.items() if user not in {17, 18}) < 1
    assert calls[:17] + calls[20:] == [1] * 1_997


WRONG_SIZE = "max_size is how many credentials may be open: at least 1, or None for any, not 0"
NO_SIZE = "max_size is a whole number of credentials, or None for any, not "
WRONG_TIMEOUT = "idle_timeout is a number of seconds from 0, or math.inf to keep all open, not "
NO_TIMEOUT = "idle_timeout is a number of seconds, or math.inf, not "
NO_MAKE = "make is a function that takes a key and returns a credential, not "
ASYNC_MAKE = "make is a plain function: what has to be awaited belongs into its credential's token_refresher"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"make": None}, TypeError, NO_MAKE + "NoneType"),
        ({"make": 5}, TypeError, NO_MAKE + "int"),
        ({"make": hanging}, TypeError, ASYNC_MAKE),
        ({"idle_timeout": "60"}, TypeError, NO_TIMEOUT + "str"),
        ({"idle_timeout": True}, TypeError, NO_TIMEOUT + "bool"),
        ({"idle_timeout": None}, TypeError, NO_TIMEOUT + "NoneType"),
        ({"idle_timeout": -1}, ValueError, WRONG_TIMEOUT + "-1"),
        ({"idle_timeout": nan}, ValueError, WRONG_TIMEOUT + "nan"),
        ({"max_size": 0}, ValueError, WRONG_SIZE),
        ({"max_size": 2.5}, TypeError, NO_SIZE + "float"),
        ({"max_size": True}, TypeError, NO_SIZE + "bool"),
    ],
)
def test_wrong_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        CredentialPool(**{"make": World().make, **arguments})
    assert told(caught.value) == ("pool-make" if "make" in arguments else "pool-limits", message)


@pytest.mark.parametrize("make", [lambda: None, World.make])
def test_a_make_that_takes_something_else(make: Any) -> None:
    with pytest.raises(TypeError) as caught:
        CredentialPool(make)
    anchor, message = told(caught.value)
    assert anchor == "pool-make"
    assert message.startswith("make is called with a key alone, which does not fit (")
    assert message.endswith("); bind the rest with functools.partial")


def test_an_object_whose_call_is_async() -> None:
    class Maker:
        async def __call__(self, key: str) -> CommunicationTokenCredential:
            raise NotImplementedError

    with pytest.raises(TypeError, match="token_refresher"):
        CredentialPool(Maker())  # type: ignore[arg-type]


async def test_a_make_without_a_signature() -> None:
    """What was written in C and does not say what it takes is tried."""
    credentials = {"alice": CommunicationTokenCredential(AccessToken("held", NEVER))}
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(getattr)
    async with CredentialPool(credentials.__getitem__) as pool:
        await touch(pool, "alice")


async def test_keys_of_any_hashable_kind() -> None:
    async with CredentialPool[Any](lambda _: CommunicationTokenCredential(AccessToken("held", NEVER))) as pool:
        for key in (None, ("tenant", "user"), 7):
            async with pool.use(key) as credential:
                await credential.get_token()
        with pytest.raises(TypeError, match="unhashable"):
            async with pool.use([]):
                pass


async def test_statistics() -> None:
    """Before it is entered, as credentials open, rest, wait for room and close, and afterwards."""
    world = World()
    pool = CredentialPool(world.make, max_size=2)
    nothing = PoolStatistics(open=0, in_use=0, idle=0, waiting=0, made=0, closed=0, max_size=2)
    assert pool.statistics() == nothing
    async with CredentialPool(world.make) as unbounded:
        assert unbounded.statistics() == replace(nothing, max_size=None)
    assert CredentialPool(world.make).statistics() == replace(nothing, max_size=None)
    async with pool, anyio.create_task_group() as group:
        async with pool.use("ada"):
            assert pool.statistics() == replace(nothing, open=1, in_use=1, made=1)
        assert pool.statistics() == replace(nothing, open=1, idle=1, made=1)
        async with pool.use("ada"), pool.use("ben"):
            group.start_soon(use_once, pool, "cleo")
            await anyio.wait_all_tasks_blocked()
            assert pool.statistics() == replace(nothing, open=2, in_use=2, waiting=1, made=2)
        await anyio.wait_all_tasks_blocked()
        assert pool.statistics() == replace(nothing, open=2, idle=2, made=3, closed=1)
        await pool.discard("cleo")
        assert pool.statistics() == replace(nothing, open=1, idle=1, made=3, closed=2)
    assert pool.statistics() == replace(nothing, made=3, closed=3)


async def use_once(pool: CredentialPool[str], key: str) -> None:
    async with pool.use(key):
        pass
