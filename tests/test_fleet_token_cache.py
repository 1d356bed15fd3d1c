"""When a shared token cache takes its lease, what it makes of what others have put, and what a store may do to it."""

from __future__ import annotations

import json
import logging
from traceback import TracebackException
from typing import TYPE_CHECKING, Any

import anyio
import msal
import pytest
from anyio.lowlevel import checkpoint
from redacted import Redacted

from anyio_acs_credential._common.redaction import Secret
from anyio_acs_credential.fleet import MemoryTokenStore, StoreError, shared_token_cache
from anyio_acs_credential.fleet._merging import merge, read, write
from anyio_acs_credential.testing import VirtualClock, virtual_time_backends

if TYPE_CHECKING:
    from anyio_acs_credential.fleet import Entry, Taken
    from anyio_acs_credential.fleet._token_cache import SharedTokenCache

NAME = "cache:alice"
KIND = msal.TokenCache.CredentialType
FIRST = "first"
SECRET = "canary-of-a-refresh-token"


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


class Store(MemoryTokenStore):
    """A store whose operations fail, hang, or come after something else has happened.

    Attributes:
        fault: None; "fails", "is full", "hangs" or "raises nonsense".
        asked: What it was asked, in order.
    """

    def __init__(self) -> None:
        super().__init__(clock=VirtualClock())
        self.fault: str | None = None
        self.asked: list[str] = []

    async def look(self, name: str) -> Entry | None:
        await self._happens("look")
        return await super().look(name)

    async def take(self, name: str, seconds: float) -> Taken:
        await self._happens("take")
        return await super().take(name, seconds)

    async def prolong(self, name: str, fence: int, seconds: float) -> bool:
        await self._happens("prolong")
        return await super().prolong(name, fence, seconds)

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        await self._happens("put")
        return await super().put(name, fence, value, seconds)

    async def release(self, name: str, fence: int) -> None:
        await self._happens("release")
        await super().release(name, fence)

    async def _happens(self, operation: str) -> None:
        self.asked.append(operation)
        if self.fault == "hangs":
            await anyio.sleep_forever()
        if self.fault == "fails":
            raise StoreError("out of order")
        if self.fault == "is full" and operation == "put":
            raise StoreError("no space is left")
        if self.fault == "raises nonsense":
            raise ValueError("whatever a driver raises")

    async def fence(self) -> int:
        """That of a lease, as of another process."""
        fence = (await self.take(NAME, 5)).fence
        assert fence is not None
        return fence


def cache_on(store: Store) -> SharedTokenCache:
    cache: SharedTokenCache = shared_token_cache(store, key="alice")
    cache.clock = VirtualClock()
    return cache


def keep(cache: Any, person: str, secret: str, at: int = 0) -> None:
    """Have MSAL's cache hold a refresh token."""
    entry = {"home_account_id": person, "secret": secret, "last_modification_time": str(at)}
    cache.modify(KIND.REFRESH_TOKEN, entry, entry)


def held(cache: Any) -> dict[str, str]:
    """The refresh tokens in it, by person."""
    return {entry["home_account_id"]: entry["secret"] for entry in cache.search(KIND.REFRESH_TOKEN)}


async def nothing() -> None:
    """Nothing is in memory."""


async def signed_in(cache: SharedTokenCache, person: str, secret: str = FIRST, at: int = 0) -> None:
    """Have somebody sign in, in the cache's turn."""

    async def work() -> None:
        keep(cache, person, secret, at)

    await cache.in_turn(work, nothing)


async def seen(cache: SharedTokenCache) -> dict[str, str]:
    """What a cache holds, in its turn."""

    async def work() -> dict[str, str]:
        return held(cache)

    return await cache.in_turn(work, nothing)


@pytest.mark.promise("R78")
class TestItsTurn:
    async def test_what_was_got_is_put_and_found_by_others(self) -> None:
        async with Store() as store:
            await signed_in(cache_on(store), "alice")
            other = cache_on(store)
            assert await seen(other) == {"alice": "first"}
            assert store.asked == ["take", "put", "release", "take", "release"]
            assert (await store.take(NAME, 5)).fence is not None

    async def test_what_is_in_memory_is_found_without_the_store(self) -> None:
        async with Store() as store:

            async def look() -> str:
                return "in memory"

            assert await cache_on(store).in_turn(never, look) == "in memory"
            assert store.asked == []

    async def test_a_long_work_keeps_its_lease(self) -> None:
        async with Store() as store:
            cache = cache_on(store)

            async def work() -> None:
                for _ in range(10):
                    await anyio.sleep(4)
                    assert (await store.take(NAME, 5)).fence is None

            await cache.in_turn(work, nothing)
            assert (await store.take(NAME, 5)).fence is not None

    async def test_what_another_has_put_meanwhile_is_looked_at_again(self) -> None:
        """The work is not done twice."""
        async with Store() as store:
            waiting, working = cache_on(store), cache_on(store)

            async def look() -> dict[str, str] | None:
                return held(waiting) or None

            async def work() -> None:
                await anyio.sleep(1)
                keep(working, "alice", "second")

            async with anyio.create_task_group() as group:
                group.start_soon(working.in_turn, work, nothing)
                await anyio.sleep(0.1)
                # It may find the lease free, and then works on what it has loaded.
                found = await waiting.in_turn(lambda: seen_in(waiting), look)
            assert found == {"alice": "second"}

    async def test_while_the_holder_goes_on_its_news_are_enough(self) -> None:
        async with Store() as store:
            waiting, other = cache_on(store), cache_on(store)
            fence = await store.fence()

            async def look() -> dict[str, str] | None:
                return held(waiting) or None

            async def put() -> None:
                await anyio.sleep(1)
                keep(other, "alice", "second")
                await store.put(NAME, fence, write(other._contents()), 60)
                await store.fence()  # and the next process has the lease

            async with anyio.create_task_group() as group:
                group.start_soon(put)
                assert await waiting.in_turn(never, look) == {"alice": "second"}

    async def test_a_holder_that_was_killed_is_replaced_within_its_lease(self) -> None:
        async with Store() as store:
            await store.fence()
            began = anyio.current_time()
            await signed_in(cache_on(store), "alice")
            assert 4.5 < anyio.current_time() - began < 5.7

    @pytest.mark.promise("R80")
    @pytest.mark.parametrize("limit", [6.0, None])
    async def test_a_holder_that_never_ends_is_waited_for_so_long(self, limit: float | None) -> None:
        """Two thirds of the caller's time, or 20 seconds; then the work is done without the lease."""
        async with Store() as store, anyio.create_task_group() as group:

            async def hold() -> None:
                fence = await store.fence()
                while await store.prolong(NAME, fence, 5):  # noqa: ASYNC110 - as a holder does
                    await anyio.sleep(1)

            group.start_soon(hold)
            await anyio.sleep(0.1)
            began, cache = anyio.current_time(), cache_on(store)
            with anyio.fail_after(limit):
                await signed_in(cache, "alice")
            assert abs(anyio.current_time() - began - (20 if limit is None else limit * 2 / 3)) < 0.7
            assert held(cache) == {"alice": "first"}
            group.cancel_scope.cancel()

    async def test_one_process_takes_turns_with_itself_without_waiting(self) -> None:
        async with Store() as store:
            cache, began = cache_on(store), anyio.current_time()
            async with anyio.create_task_group() as group:
                for person in ("alice", "ben", "cleo"):
                    group.start_soon(signed_in, cache, person)
            assert anyio.current_time() == began
            assert await seen(cache_on(store)) == dict.fromkeys(("alice", "ben", "cleo"), "first")


async def never() -> Any:
    """Work that must not be done."""
    raise AssertionError("this work was not to be done")


async def seen_in(cache: SharedTokenCache) -> dict[str, str]:
    return held(cache)


@pytest.mark.promise("R79")
class TestNothingIsLost:
    async def test_what_a_failed_or_cancelled_work_has_got_is_put(self) -> None:
        """And its exception is the one that it raised; the lease is over."""
        async with Store() as store:
            cache = cache_on(store)
            mistake = ValueError("of the work")

            async def fail() -> None:
                keep(cache, "alice", "first")
                raise mistake

            async def hang() -> None:
                keep(cache, "ben", "first")
                await anyio.sleep_forever()

            with pytest.raises(ValueError, match="of the work") as caught:
                await cache.in_turn(fail, nothing)
            assert caught.value is mistake
            with anyio.move_on_after(3):
                await cache.in_turn(hang, nothing)
            began = anyio.current_time()
            assert await seen(cache_on(store)) == {"alice": "first", "ben": "first"}
            assert anyio.current_time() == began

    async def test_who_was_stopped_for_a_minute_adds_to_what_is_newer(self) -> None:
        """The next process has worked meanwhile: the changes of both are kept, in the store as well."""
        async with Store() as store:
            stopped, other = cache_on(store), cache_on(store)

            async def work() -> None:
                store.fault = "fails"  # no prolongation gets there
                await anyio.sleep(60)
                store.fault = None
                await signed_in(other, "ben")
                keep(stopped, "alice", "first")

            await stopped.in_turn(work, nothing)
            assert await seen(cache_on(store)) == {"alice": "first", "ben": "first"}
            assert held(stopped) == {"alice": "first", "ben": "first"}

    async def test_also_where_a_third_one_is_at_work_just_then(self) -> None:
        async with Store() as store:
            stopped, other = cache_on(store), cache_on(store)

            async def release(fence: int) -> None:
                await anyio.sleep(0.3)
                await store.release(NAME, fence)

            async with anyio.create_task_group() as group:

                async def work() -> None:
                    store.fault = "fails"
                    await anyio.sleep(60)
                    store.fault = None
                    await signed_in(other, "ben")
                    group.start_soon(release, await store.fence())
                    keep(stopped, "alice", "first")

                await stopped.in_turn(work, nothing)
            assert await seen(cache_on(store)) == {"alice": "first", "ben": "first"}

    async def test_a_third_one_that_never_ends_is_not_waited_for(self) -> None:
        """What was got is put the next time."""
        async with Store() as store:
            stopped, other = cache_on(store), cache_on(store)

            async def work() -> None:
                store.fault = "fails"
                await anyio.sleep(60)
                store.fault = None
                await signed_in(other, "ben")
                keep(stopped, "alice", "first")
                await store.fence()

            await stopped.in_turn(work, nothing)
            assert await seen(stopped) == {"alice": "first", "ben": "first"}
            assert await seen(cache_on(store)) == {"alice": "first", "ben": "first"}

    async def test_a_store_that_was_emptied_signs_nobody_out(self) -> None:
        async with Store() as store:
            cache = cache_on(store)
            await signed_in(cache, "alice")
            store._slots.clear()
            assert await seen(cache) == {"alice": "first"}
            assert await seen(cache_on(store)) == {"alice": "first"}

    async def test_a_store_that_has_gone_back_signs_nobody_out(self) -> None:
        """It has failed over to a copy that lags."""
        async with Store() as store:
            cache = cache_on(store)
            await signed_in(cache, "ben", at=1)
            before = dict(store._slots)
            await signed_in(cache, "alice")
            await signed_in(cache, "ben", "second", at=2)
            store._slots.clear()
            store._slots.update(before)
            assert await seen(cache) == {"alice": "first", "ben": "second"}
            assert await seen(cache_on(store)) == {"alice": "first", "ben": "second"}

    async def test_who_signs_out_is_signed_out_everywhere(self) -> None:
        async with Store() as store:
            first, second = cache_on(store), cache_on(store)
            await signed_in(first, "alice")
            await signed_in(second, "ben")

            async def sign_out() -> None:
                (entry,) = first.search(KIND.REFRESH_TOKEN, query={"home_account_id": "alice"})
                first.modify(KIND.REFRESH_TOKEN, entry)

            await first.in_turn(sign_out, nothing)
            assert await seen(second) == {"ben": "first"}

    async def test_no_secret_is_in_a_frame_that_an_error_passes(self) -> None:
        async with Store() as store:
            cache = cache_on(store)

            async def work() -> None:
                keep(cache, "alice", SECRET)
                raise OSError("down")

            with pytest.raises(OSError, match="down") as caught:
                await cache.in_turn(work, nothing)
            assert not shown(caught.value)
            fence = await store.fence()
            await store.put(NAME, fence, b"[" + SECRET.encode(), 60)
            with pytest.raises(ValueError, match="holds no token cache") as nonsense:
                await cache._take()
            assert not shown(nonsense.value)


def shown(error: BaseException) -> list[str]:
    """Where a frame of ours holds the secret."""
    stack = TracebackException.from_exception(error, capture_locals=True).stack
    ours = [frame for frame in stack if "anyio_acs_credential" in frame.filename]
    return [frame.name for frame in ours for value in (frame.locals or {}).values() if SECRET in value]


@pytest.mark.promise("R80")
class TestAStoreOutOfOrder:
    @pytest.mark.parametrize("fault", ["fails", "is full", "raises nonsense", "hangs"])
    async def test_it_costs_a_second_once_and_is_told_once(self, fault: str, caplog: pytest.LogCaptureFixture) -> None:
        """And what was got meanwhile is put when it works again."""
        caplog.set_level(logging.INFO)
        async with Store() as store:
            cache = cache_on(store)
            store.fault, began = fault, anyio.current_time()
            await signed_in(cache, "alice")
            assert anyio.current_time() - began == pytest.approx(1 if fault == "hangs" else 0)
            store.asked.clear()
            began = anyio.current_time()
            await signed_in(cache, "ben")
            assert (anyio.current_time(), store.asked) == (began, [])
            for _ in range(5):
                await anyio.sleep(70)
                await signed_in(cache, "cleo")
            store.fault = None
            await anyio.sleep(70)
            assert await seen(cache) == dict.fromkeys(("alice", "ben", "cleo"), "first")
            assert await seen(cache_on(store)) == dict.fromkeys(("alice", "ben", "cleo"), "first")
        levels = [record.levelname for record in caplog.records if record.name == "anyio_acs_credential"]
        assert levels == ["WARNING", "INFO"]

    @pytest.mark.parametrize("fault", ["fails", "hangs"])
    async def test_one_that_breaks_while_work_is_done(self, fault: str) -> None:
        """The work's result is there a second later at most."""
        async with Store() as store:
            cache = cache_on(store)

            async def work() -> str:
                store.fault = fault
                keep(cache, "alice", "first")
                return "done"

            began = anyio.current_time()
            assert await cache.in_turn(work, nothing) == "done"
            assert anyio.current_time() - began == pytest.approx(1 if fault == "hangs" else 0)

    async def test_one_that_keeps_nothing_has_nobody_wait_for_a_lease(self) -> None:
        """As on a disk that is almost full, where leases fit."""
        async with Store() as store:
            store.fault, began = "is full", anyio.current_time()
            for _ in range(5):
                await signed_in(cache_on(store), "alice")
            assert anyio.current_time() - began == pytest.approx(0)

    async def test_one_that_breaks_while_another_is_waited_for(self) -> None:
        async with Store() as store, anyio.create_task_group() as group:
            await store.fence()
            cache, began = cache_on(store), anyio.current_time()
            group.start_soon(signed_in, cache, "alice")
            await anyio.sleep(0.5)
            store.fault = "hangs"
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(2)
            assert held(cache) == {"alice": "first"}
            assert anyio.current_time() - began < 3

    @pytest.mark.parametrize("value", [b"", b"7", b"[]", b'{"a": 7}', b'{"a": {"b": 7}}', b"\xff", b"[" * 99999])
    async def test_what_holds_no_token_cache_is_left_alone(
        self, value: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is another program's, or that of a version to come."""
        async with Store() as store:
            await store.put(NAME, await store.fence(), value, 60)
            cache = cache_on(store)
            await signed_in(cache, "alice")
            assert held(cache) == {"alice": "first"}
            assert "holds no token cache" in caplog.text
            found = await store.look(NAME)
            assert found is not None
            assert found.value == value


OLD, NEW = {"last_modification_time": "1"}, {"last_modification_time": "2"}
CACHED = {"cached_at": "3"}
TIMELESS = {"last_modification_time": None, "cached_at": "soon"}


@pytest.mark.promise("R79")
class TestMerging:
    """One entry, as it was, in memory, in the store, and as it is then."""

    @pytest.mark.parametrize(
        ("before", "ours", "theirs", "merged"),
        [
            (None, OLD, None, OLD),
            (None, None, OLD, OLD),
            (OLD, OLD, OLD, OLD),
            (OLD, NEW, OLD, NEW),
            (NEW, OLD, NEW, OLD),  # whatever its time, one side alone has changed it
            (OLD, OLD, NEW, NEW),
            (OLD, OLD, None, None),
            (OLD, None, OLD, None),
            (OLD, None, None, None),
            (OLD, None, NEW, NEW),
            (OLD, NEW, None, NEW),
            (OLD, TIMELESS, None, TIMELESS),
            (None, NEW, OLD, NEW),
            (None, OLD, NEW, NEW),
            (None, CACHED, NEW, CACHED),
            (None, TIMELESS, OLD, OLD),
            (None, {"a": 1}, {"a": 2}, {"a": 2}),
        ],
    )
    def test_each_case(self, before: Any, ours: Any, theirs: Any, merged: Any) -> None:
        sides = [{} if entry is None else {"Kind": {"key": entry}} for entry in (before, ours, theirs)]
        assert merge(*sides).get("Kind", {}).get("key") == merged

    def test_kinds_and_keys_of_both_sides(self) -> None:
        ours, theirs = {"A": {"1": OLD}, "B": {"1": OLD}}, {"B": {"2": NEW}, "C": {"1": NEW}}
        assert merge({}, ours, theirs) == {
            "A": {"1": OLD},
            "B": {"1": OLD, "2": NEW},
            "C": {"1": NEW},
        }

    def test_what_is_written_is_read(self) -> None:
        contents = {"A": {"1": {"secret": "é", "target": None}}}
        assert read(Secret(write(contents))) == contents

    def test_what_msal_writes_has_the_times(self) -> None:
        """With real MSAL: of a refresh token and of an access token, in seconds, as text."""
        cache = msal.TokenCache()
        response = {"access_token": "a", "refresh_token": "r", "client_info": "eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ"}
        cache.add(
            {"response": response, "client_id": "c", "scope": ["s"], "token_endpoint": "https://x/t/token"}, now=7
        )
        (refresh,) = cache.search(KIND.REFRESH_TOKEN)
        (access,) = cache.search(KIND.ACCESS_TOKEN, now=7)
        assert (refresh["last_modification_time"], access["cached_at"]) == ("7", "7")


@pytest.mark.promise("R78")
class TestArguments:
    @pytest.mark.parametrize(
        ("store", "key", "error", "message"),
        [
            (object(), "alice", TypeError, "store is a token store"),
            (MemoryTokenStore, "alice", TypeError, "not the class MemoryTokenStore"),
            (MemoryTokenStore(), 7, TypeError, "key is a text"),
            (MemoryTokenStore(), "", ValueError, "key is empty"),
        ],
    )
    def test_what_cannot_work_is_refused(self, store: Any, key: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            shared_token_cache(store, key=key)

    @pytest.mark.usefixtures("anyio_backend")
    async def test_keys_that_hide_themselves_are_apart(self) -> None:
        async with MemoryTokenStore(clock=VirtualClock()) as store:
            for key in ("alice", "bob"):
                cache: Any = shared_token_cache(store, key=Redacted(key))
                keep(cache, key, SECRET)
                await cache.in_turn(checkpoint, checkpoint)
            assert sorted(store._slots) == ["cache:alice", "cache:bob"]

    def test_it_is_msals_and_shows_nothing(self) -> None:
        cache = shared_token_cache(MemoryTokenStore(), key="alice")
        assert isinstance(cache, msal.SerializableTokenCache)
        keep(cache, "alice", SECRET)
        assert SECRET not in repr(cache)
        assert SECRET in json.dumps(cache._contents())
