# ruff: noqa: ASYNC240, ARG002 - the event loop may wait for a file here; and a store that breaks a rule ignores things
"""The stores: each keeps every rule of the protocol, and the suite that checks them finds what breaks one."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from functools import partial
from itertools import count
from traceback import TracebackException
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread
from redacted import Redacted

from anyio_acs_credential import AccessToken, CredentialClosedError, CredentialNotEnteredError, CredentialUsageError
from anyio_acs_credential._loops.home import Home
from anyio_acs_credential.fleet import (
    Entry,
    MemoryTokenStore,
    Sealer,
    SQLiteTokenStore,
    StoreError,
    Taken,
    TokenStore,
    UnreadableError,
    shared,
)
from anyio_acs_credential.fleet import _sqlite_file as sqlite_file
from anyio_acs_credential.fleet._slot import Slot
from anyio_acs_credential.fleet._worker import Worker
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, check_token_store, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

OLD, NEW = (urlsafe_b64encode(32 * letter).decode() for letter in (b"o", b"n"))
VIRTUAL = pytest.mark.parametrize("anyio_backend", virtual_time_backends())
BOTH = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
LONG = 600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "tokens of a fleet?#%.db"


def store_of(path: Path, *keys: str) -> SQLiteTokenStore:
    return SQLiteTokenStore(path, encryption_keys=keys or (OLD,))


async def put(store: TokenStore, name: str, value: bytes) -> int:
    fence = (await store.take(name, LONG)).fence
    assert fence is not None
    assert await store.put(name, fence, value, LONG)
    return fence


class TestProtocol:
    """Every rule, for each of the stores."""

    @VIRTUAL
    async def test_in_memory(self) -> None:
        await check_token_store(lambda: MemoryTokenStore(clock=VirtualClock()))

    @pytest.mark.promise("R65")
    async def test_sqlite(self, path: Path) -> None:
        await check_token_store(partial(store_of, path))

    @BOTH
    async def test_sqlite_while_a_key_is_replaced(self, path: Path) -> None:
        await check_token_store(partial(store_of, path, NEW, OLD))


class Broken(MemoryTokenStore):
    """Breaks one rule."""


class GivesToAll(Broken):
    async def take(self, name: str, seconds: float) -> Taken:
        return Taken(await self.look(name), 7, 0.0)


class NeverFrees(Broken):
    async def release(self, name: str, fence: int) -> None:
        await self.look(name)


class NeverEnds(Broken):
    async def take(self, name: str, seconds: float) -> Taken:
        return await super().take(name, LONG if seconds < 1 else seconds)


class KeepsForEver(Broken):
    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        return await super().put(name, fence, value, LONG)


class KeepsNothing(Broken):
    async def look(self, name: str) -> Entry | None:
        await super().look(name)
        return None


class LooksBeforeItPuts(Broken):
    """As in two statements without a transaction."""

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        slot = self._slots[name].filled(self._clock.time(), fence, value, seconds)
        await anyio.sleep(0.01)
        if slot is not None:
            self._slots[name] = slot
        return slot is not None


class MixesNames(Broken):
    async def look(self, name: str) -> Entry | None:
        return await super().look(name.lower())

    async def take(self, name: str, seconds: float) -> Taken:
        return await super().take(name.lower(), seconds)

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        return await super().put(name.lower(), fence, value, seconds)


@VIRTUAL
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (GivesToAll, "a lease has one holder"),
        (NeverFrees, r"release\(\) frees the lease|is False for a lease that was released"),
        (NeverEnds, "a lease whose time is over is free"),
        (KeepsForEver, "still gives an entry 10 s after its time was over"),
        (KeepsNothing, "what was put is there"),
        (LooksBeforeItPuts, r"of 20 put\(\) at once, that with the greatest fence is kept"),
        (MixesNames, "each text is a name of its own"),
    ],
)
async def test_the_suite_finds_what_breaks_a_rule(kind: type[Broken], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        await check_token_store(lambda: kind(clock=VirtualClock()))


@BOTH
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_store_is_used_where_it_is_open(kind: str, path: Path) -> None:
    make: Callable[[], Any] = MemoryTokenStore if kind == "memory" else partial(store_of, path)
    store = make()
    with pytest.raises(CredentialNotEnteredError, match="put `async with store:` around"):
        await store.look("n")
    async with store:
        with pytest.raises(CredentialUsageError, match="open already"):
            await store.__aenter__()
        with pytest.raises(CredentialUsageError, match="entered in another event loop"):
            await to_thread.run_sync(anyio.run, store.look, "n")
        fence = await put(store, "n", b"value")
    with pytest.raises(CredentialClosedError, match="the token store is closed"):
        await store.look("n")
    async with store:
        assert await store.look("n") == Entry(fence, b"value")


def test_a_store_whose_event_loop_has_ended_is_entered_anew() -> None:
    store = MemoryTokenStore()

    async def enter() -> None:
        await store.__aenter__()

    anyio.run(enter)
    anyio.run(enter)


def in_child(store: Any, name: str, told: Any) -> None:
    async def ask() -> None:
        try:
            await store.look(name)
        except CredentialUsageError as error:
            told.send(str(error))

    anyio.run(ask)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.promise("R70")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_forked_process_is_refused_and_opens_one_of_its_own(path: Path) -> None:
    """The file is whole for both, whatever the parent's thread was doing at the fork."""
    fork = multiprocessing.get_context("fork")
    async with store_of(path) as store:
        fence = await put(store, "n", b"value")
        for inherited in (True, False):
            ours, theirs = fork.Pipe()
            process = fork.Process(
                target=in_child if inherited else look_anew, args=(store if inherited else path, "n", theirs)
            )
            async with anyio.create_task_group() as group:
                group.start_soon(keep_busy, store)
                await anyio.sleep(0.02)
                await to_thread.run_sync(process.start)  # a thread in which no event loop runs, in the child as well
                await to_thread.run_sync(process.join, 30)
                group.cancel_scope.cancel()
            assert process.exitcode == 0
            assert ours.poll()
            answer = ours.recv()
            assert ("after the fork" in answer) if inherited else (answer == (fence, b"value"))
        assert await store.look("n") == Entry(fence, b"value")


def look_anew(path: Path, name: str, told: Any) -> None:
    async def ask() -> None:
        async with store_of(path) as store:
            entry = await store.look(name)
            assert entry is not None
            told.send((entry.fence, entry.value))

    anyio.run(ask)


async def keep_busy(store: TokenStore) -> None:
    for fence in count(1):
        await store.put("busy", fence, b"value", LONG)
        await anyio.sleep(0.002)  # lets the other in: SQLite's locks are not fair


class TestSlot:
    """What a clock that is set does to a lease."""

    def test_nobody_waits_for_a_clock_that_was_set_back(self) -> None:
        slot, taken = Slot().taken(1_000_000.0, 5.0)
        assert taken.fence == 1_000_000_000
        assert slot.free_in(1_000_004.0) == 1.0
        assert slot.free_in(999_999.5) == 5.5  # within the tolerance
        assert slot.free_in(990_000.0) == 0.0
        _, again = slot.taken(990_000.0, 5.0)
        assert again.fence == 1_000_000_001

    def test_a_late_entry_lifts_the_next_fence(self) -> None:
        slot = Slot().filled(1.0, 5_000_000, b"", 9.0)
        assert slot is not None
        assert slot.taken(2.0, 5.0)[1].fence == 5_000_001


class TestFile:
    """SQLite's file: whose it is, what can be read in it, and what happens to it."""

    @pytest.mark.promise("R69")
    @BOTH
    async def test_nothing_can_be_read_in_it_and_it_is_one_users_alone(self, path: Path) -> None:
        old = os.umask(0)
        try:
            async with store_of(path) as store:
                await put(store, "token:canary-of-a-name", b"canary-of-a-value")
                await store.take("token:canary-of-a-name", LONG)
                for file in path.parent.iterdir():
                    assert stat.S_IMODE(file.stat().st_mode) == 0o600
                    assert b"canary" not in file.read_bytes()
        finally:
            os.umask(old)
        assert path.stat().st_size > 0

    @BOTH
    async def test_a_path_that_hides_itself_is_what_it_holds(self, path: Path) -> None:
        async with SQLiteTokenStore(Redacted(path), encryption_keys=[Redacted(OLD)]) as store:
            await put(store, "token:ana", b"value")
        assert path.exists()

    @pytest.mark.promise("R69")
    @BOTH
    async def test_a_wrong_key_is_one_clear_error_and_the_own_source(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with store_of(path, OLD) as ours, store_of(path, NEW) as store:
            fence = await put(ours, "n", b"value")
            for ask in (store.look("n"), store.take("n", LONG)):
                with pytest.raises(StoreError, match="give all processes the same encryption_keys") as caught:
                    await ask
                assert caught.value.permanent
            source = shared(ScriptedSource(LONG), store, key="ana")
            assert isinstance(await source(), AccessToken)
            assert isinstance(await source(), AccessToken)
            assert caplog.text.count("the other processes of the fleet have another encryption key") == 1
            assert await ours.look("n") == Entry(fence, b"value")

    @BOTH
    async def test_a_key_that_is_lost_is_forgotten(self, path: Path) -> None:
        """Unless somebody uses it: who does so renews its mark each hour."""
        async with store_of(path, OLD) as lost:
            await lost.look("n")
            for is_used in (True, False):
                with sqlite3.connect(path) as connection:
                    connection.execute("UPDATE slots SET kept_until = 0.0")
                connection.close()
                if is_used:
                    lost._agree_at = 0.0
                    await lost.look("n")
                async with store_of(path, NEW) as store:
                    if is_used:
                        with pytest.raises(StoreError, match="another encryption key"):
                            await store.look("n")
                    else:
                        assert await store.look("n") is None

    @BOTH
    async def test_what_another_key_has_encrypted(self, path: Path) -> None:
        async with store_of(path) as store:
            fence = await put(store, "n", b"value")
            with sqlite3.connect(path) as connection:
                sealed = Sealer([NEW]).seal("n", fence, b"value")
                connection.execute("UPDATE slots SET value = ? WHERE fence = ?", (sealed, fence))
            connection.close()
            with pytest.raises(UnreadableError, match="give all processes the same encryption_keys"):
                await store.look("n")
            taken = await store.take("n", LONG)
            assert (taken.entry, taken.fence is None) == (None, False)  # it is there to be replaced
            assert taken.fence is not None
            assert await store.put("n", taken.fence, b"newer", LONG)
            assert await store.look("n") == Entry(taken.fence, b"newer")

    @pytest.mark.promise("R69")
    @BOTH
    async def test_a_key_is_replaced(self, path: Path) -> None:
        async with store_of(path, OLD) as before:
            fence = await put(before, "n", b"old")
        async with store_of(path, NEW, OLD) as between:
            assert await between.look("n") == Entry(fence, b"old")
            taken = await between.take("n", LONG)
            assert taken.entry == Entry(fence, b"old")
            assert taken.fence is not None
            await between.put("n", taken.fence, b"new", LONG)
        async with store_of(path, NEW) as after:
            assert await after.look("n") == Entry(taken.fence, b"new")

    @BOTH
    async def test_what_is_newest_is_found_under_whichever_key_it_was_put(self, path: Path) -> None:
        async with store_of(path, OLD) as before, store_of(path, NEW, OLD) as between:
            await put(between, "n", b"first")
            fence = await put(before, "n", b"second")
            assert await between.look("n") == Entry(fence, b"second")
            assert (await between.take("n", LONG)).entry == Entry(fence, b"second")

    @pytest.mark.promise("R69")
    @BOTH
    async def test_an_entry_that_was_moved_or_played_back(self, path: Path) -> None:
        async with store_of(path) as store:
            first = await put(store, "ana", b"first")
            with sqlite3.connect(path) as connection:
                (old,) = connection.execute("SELECT value FROM slots WHERE name != 'keys'").fetchone()
            last = await put(store, "ana", b"last")
            await put(store, "ben", b"value")
            assert last > first
            with connection:
                connection.execute("UPDATE slots SET value = ? WHERE name != 'keys'", (old,))
            connection.close()
            for name in ("ana", "ben"):
                with pytest.raises(StoreError, match="written as another entry, or as an older one"):
                    await store.look(name)

    @BOTH
    async def test_what_ended_a_day_ago_is_cleared_away(self, path: Path) -> None:
        async with store_of(path) as store:
            await put(store, "old", b"value")
            with sqlite3.connect(path) as connection:
                connection.execute("UPDATE slots SET kept_until = kept_until - 200000")
            store._file._purge_at = 0.0
            await put(store, "new", b"value")
            assert connection.execute("SELECT count(*) FROM slots").fetchone() == (1,)
            connection.close()

    @BOTH
    async def test_one_that_is_deleted_or_replaced_is_made_anew(self, path: Path) -> None:
        async with store_of(path) as store:
            await put(store, "n", b"value")
            path.unlink()
            assert await store.look("n") is None
            await put(store, "n", b"value")
            async with store_of(path) as other:
                assert await other.look("n") == await store.look("n") is not None

    @BOTH
    async def test_another_process_that_holds_it_up(self, path: Path) -> None:
        """It is waited for, for half a second; and what comes after is as before."""
        async with store_of(path) as store:
            await put(store, "n", b"value")
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreError, match=r"cannot be used .*locked"):
                await store.take("n", LONG)
            connection.close()
            assert (await store.take("n", LONG)).fence is not None

    @pytest.mark.promise("R68")
    @BOTH
    @pytest.mark.parametrize("fault", ["read-only", "full", "gone", "no database", "damaged"])
    async def test_a_file_that_cannot_be_used(self, path: Path, fault: str) -> None:
        async with store_of(path) as store:
            await put(store, "n", b"value")
            connection = store._file._connection
            assert connection is not None
            if fault == "read-only":
                await store._worker.call(connection.execute, "PRAGMA query_only = 1")
            elif fault == "full":
                await store._worker.call(connection.execute, "PRAGMA max_page_count = 1")
            elif fault == "gone":
                path.unlink()
                path.with_name(f"{path.name}-journal").unlink()
                path.parent.rmdir()
            else:
                data = b"nonsense" * 1000 if fault == "no database" else path.read_bytes()[:100] + bytes(12188)
                await store._worker.call(store._file.close)
                path.write_bytes(data)
            with pytest.raises(StoreError, match="full, read-only or gone") as caught:
                await put(store, "n", 100_000 * b"canary")
            assert not caught.value.permanent
            traceback = TracebackException.from_exception(caught.value, capture_locals=True)
            ours = [frame for frame in traceback.stack if "anyio_acs_credential/" in frame.filename]
            assert ours
            assert "canary" not in str([frame.locals for frame in ours])

    @BOTH
    async def test_another_programs_database(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
        path.chmod(0o600)
        async with store_of(path) as store:
            with pytest.raises(StoreError, match="another program's database") as caught:
                await store.look("n")
        assert caught.value.permanent

    @pytest.mark.skipif(os.name != "posix", reason="rights are another matter elsewhere")
    @pytest.mark.parametrize(
        ("mischief", "message"),
        [
            ("mode", "others have rights to .*640, and not 600"),
            ("user", "belongs to another user"),
            ("directory", "is no file"),
            ("link", "is no file"),
            ("open to all", "everybody may replace files"),
            ("their directory", "the directory of .* belongs to another user"),
        ],
    )
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_what_is_not_this_users_alone(
        self, path: Path, mischief: str, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if mischief == "directory":
            path.mkdir()
        elif mischief == "link":
            path.symlink_to(path.with_name("other"))
        else:
            path.touch(0o600)
        if mischief == "mode":
            path.chmod(0o640)
        elif mischief == "user":
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        elif mischief == "open to all":
            path.parent.chmod(0o777)
        elif mischief == "their directory":
            monkeypatch.setattr(os, "geteuid", lambda: 4711)
            real = os.lstat
            monkeypatch.setattr(type(path), "lstat", lambda self: owned(real(self), 4711))
            monkeypatch.setattr(type(path), "stat", lambda self, **_: owned(real(self), 4712))
        async with store_of(path) as store:
            with pytest.raises(StoreError, match=message) as caught:
                await store.look("n")
        assert caught.value.permanent
        path.parent.chmod(0o700)

    @BOTH
    async def test_another_process_that_was_faster_to_make_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.open

        def late(name: Any, flags: int, mode: int = 0o777) -> int:
            os.close(real(name, flags, mode))
            return real(name, flags, mode)

        monkeypatch.setattr("anyio_acs_credential.fleet._sqlite_rights.os.open", late)
        async with store_of(path) as store:
            assert await store.look("n") is None

    @BOTH
    async def test_another_process_that_was_faster_to_fill_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with store_of(path) as store:
            fence = await put(store, "n", b"value")
        real, answers = sqlite_file._is_ours, [False]
        monkeypatch.setattr(sqlite_file, "_is_ours", lambda connection: answers.pop() if answers else real(connection))
        async with store_of(path) as late:
            assert await late.look("n") == Entry(fence, b"value")

    @pytest.mark.parametrize("wrong", [b"tokens.db", "", 7, None])
    def test_what_is_no_path(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="give the path of a file"):
            SQLiteTokenStore(wrong, encryption_keys=[OLD])

    def test_a_path_that_no_file_has(self) -> None:
        with pytest.raises(ValueError, match=r"'a\\x00b' has a NUL in it, which no file has: leave it out"):
            SQLiteTokenStore("a\0b", encryption_keys=[OLD])
        with pytest.raises(ValueError, match=r"':memory:' is no file.*use MemoryTokenStore"):
            SQLiteTokenStore(":memory:", encryption_keys=[OLD])


def owned(status: os.stat_result, user: int) -> os.stat_result:
    values = list(status)
    values[stat.ST_UID] = user
    return os.stat_result(values)


class TestThread:
    """The thread in which SQLite blocks."""

    @pytest.mark.promise("R68")
    @BOTH
    async def test_one_that_hangs_holds_up_nobody(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither the event loop, nor leaving, nor, as a daemon, the end of the program. What waited is dropped."""
        goes_on = threading.Event()
        made: list[str] = []

        def hang(self: Any, *_: object) -> None:
            made.append("hung")
            goes_on.wait(60)

        async with store_of(path) as store:
            await put(store, "n", b"value")
            monkeypatch.setattr(sqlite_file.SQLiteFile, "read", hang)
            real = store._file.close

            def close() -> None:
                made.append("closed")
                real()

            monkeypatch.setattr(store._file, "close", close)
            for _ in range(3):
                with anyio.move_on_after(0.05) as scope:
                    await store.look("n")
                assert scope.cancelled_caught
            thread = store._worker._thread
            assert thread.daemon
        assert thread.is_alive()
        goes_on.set()
        await to_thread.run_sync(thread.join, 30)
        assert not thread.is_alive()
        assert made == ["hung", "closed"]

    @BOTH
    async def test_its_own_thread_ends_with_it(self, path: Path) -> None:
        async with store_of(path) as unused:
            pass
        assert unused._worker._thread.ident is None
        async with store_of(path) as store:
            await store.look("n")
            thread = store._worker._thread
        await to_thread.run_sync(thread.join, 30)
        assert not thread.is_alive()

    def test_an_event_loop_that_has_ended_hears_nothing(self, path: Path) -> None:
        goes_on = threading.Event()
        store = store_of(path)

        async def leave_it() -> threading.Thread:
            await store.__aenter__()
            with anyio.move_on_after(0.05):
                await store._worker.call(goes_on.wait, 60)
            return store._worker._thread

        thread = anyio.run(leave_it)
        goes_on.set()
        store._worker._jobs.put(None)
        thread.join(30)
        assert not thread.is_alive()


async def after(gate: threading.Event, worker: Worker, *calls: Callable[[], Any]) -> list[Any]:
    """What these calls give, or raise, when all of them wait before the thread gets to the first."""
    answers: list[Any] = [None] * len(calls)

    async def call(place: int) -> None:
        try:
            answers[place] = await worker.call(calls[place], together=True)
        except Exception as error:  # noqa: BLE001 - it is looked at
            answers[place] = error

    async with anyio.create_task_group() as group:
        group.start_soon(worker.call, gate.wait, 60)
        for place in range(len(calls)):
            await anyio.wait_all_tasks_blocked()
            group.start_soon(call, place)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    return answers


@BOTH
class TestTogether:
    """What many ask at once is one transaction: the disk is waited for once."""

    @pytest.fixture
    def gate(self) -> threading.Event:
        return threading.Event()

    @pytest.mark.promise("R65")
    async def test_many_leases(self, path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
        async with store_of(path) as store:
            await put(store, "0", b"value")
            made: list[object] = []
            real = sqlite_file._transaction

            def transaction(connection: sqlite3.Connection) -> AbstractContextManager[None]:
                made.append(connection)
                return real(connection)

            monkeypatch.setattr(sqlite_file, "_transaction", transaction)
            takes = [partial(store._take, str(number), LONG) for number in range(150)]
            taken = await after(gate, store._worker, *takes)
            assert all(each.fence is not None for each in taken)
            assert taken[0].entry is not None
            assert len(made) == 2
            for number, each in enumerate(taken):
                assert await store.prolong(str(number), each.fence, LONG)

    async def test_one_that_fails_leaves_the_others_alone(self, path: Path, gate: threading.Event) -> None:
        def fail() -> None:
            raise ValueError("one")

        async with store_of(path) as store:
            takes = [partial(store._take, name, LONG) for name in "ab"]
            first, failed, last = await after(gate, store._worker, takes[0], fail, takes[1])
            assert isinstance(failed, ValueError)
            assert first.fence is not None
            assert last.fence is not None
            assert (await store.take("a", LONG)).fence is None

    async def test_a_disk_that_is_full_as_they_are_written(
        self, path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody is told of a lease that the file does not have."""
        real, faults = sqlite_file._transaction, ["full"]

        @contextmanager
        def transaction(connection: sqlite3.Connection) -> Iterator[None]:
            with real(connection):
                yield
                if faults:
                    raise sqlite3.OperationalError(faults.pop())

        async with store_of(path) as store:
            await put(store, "0", b"value")
            monkeypatch.setattr(sqlite_file, "_transaction", transaction)
            taken = await after(gate, store._worker, *(partial(store._take, name, LONG) for name in "abc"))
            assert faults == []
            for name, each in zip("abc", taken, strict=True):
                assert await store.prolong(name, each.fence, LONG)

    async def test_what_is_asked_alone_keeps_its_turn(self, gate: threading.Event) -> None:
        order: list[str] = []

        @contextmanager
        def together() -> Iterator[None]:
            order.append("together")
            yield

        worker = Worker(Home("worker", "elsewhere"), "worker", together)

        async def alone() -> None:
            await worker.call(order.append, "alone")

        async with anyio.create_task_group() as group:
            group.start_soon(worker.call, gate.wait, 60)
            for name in ("a", "b", "alone", "c", "given up", "d"):
                await anyio.wait_all_tasks_blocked()
                if name == "alone":
                    group.start_soon(alone)
                elif name == "given up":
                    with anyio.move_on_after(0):
                        await worker.call(order.append, name, together=True)
                else:
                    group.start_soon(partial(worker.call, order.append, name, together=True))
            await anyio.wait_all_tasks_blocked()
            gate.set()
        await worker.stop(partial(order.append, "last"))
        assert order == ["together", "a", "b", "alone", "together", "c", "d", "last"]
