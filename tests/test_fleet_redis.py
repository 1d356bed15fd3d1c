"""RedisTokenStore on a real redis-server: the rules of a store, and what servers and networks do to it."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from traceback import TracebackException
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import quote

import anyio
import anyio.from_thread
import anyio.to_thread
import coredis
import pytest
import trustme
from anyio.abc import SocketAttribute
from coredis.client import RedisCluster
from coredis.connection import TCPLocation
from redacted import Redacted
from redis_server import proxy, redis_server
from servers import unused_port

from anyio_acs_credential import CredentialClosedError, CredentialNotEnteredError, CredentialUsageError
from anyio_acs_credential._common.redaction import Secret
from anyio_acs_credential.fleet import (
    Entry,
    RedisTokenStore,
    StoreError,
    TokenStore,
    UnreadableError,
    _redis_client,
    new_encryption_key,
)
from anyio_acs_credential.fleet._redis_client import read_address
from anyio_acs_credential.fleet._redis_scripts import LOOK, PUT
from anyio_acs_credential.testing import check_token_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from anyio.abc import SocketStream
    from redis_server import Proxy, RedisServer

KEY = new_encryption_key()
OTHER = new_encryption_key()
PASSWORD = "canary/pass:word@0123456789%é"
LONG = 60.0  # seconds that nothing here takes
CLUSTER = ("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")
WAYS = ("tcp", "socket", "client", "decoding client", "cluster")


def forgive_anyio() -> None:
    """A unix socket of anyio's on asyncio that is ready as its reader is cancelled, which the event loop reports.

    `SocketStream` of a path has the loop set the result of a future, and does not look whether that was cancelled.
    """
    if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
        loop = asyncio.get_running_loop()
        report = loop.get_exception_handler() or type(loop).default_exception_handler

        def unless_known(loop: Any, context: dict[str, Any]) -> None:
            if not isinstance(context.get("exception"), asyncio.InvalidStateError):
                report(loop, context)

        loop.set_exception_handler(unless_known)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisServer]:
    """One node that has all the slots, and so refuses keys of several."""
    with redis_server(*CLUSTER) as started:
        started.say(b"CLUSTER", b"ADDSLOTS", *(str(slot).encode() for slot in range(16384)))
        while b"cluster_state:ok" not in started.say(b"CLUSTER", b"INFO"):
            pass
        yield started


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of the test's own, for the server keeps what others have put."""
    return f"token:{request.node.name}:canary-of-a-name"


@asynccontextmanager
async def opened(way: str, server: RedisServer | Proxy, **options: Any) -> AsyncGenerator[RedisTokenStore]:
    """A store, over whichever way there is to Redis."""
    options = {"encryption_keys": [KEY], **options}
    async with given_for(way, server) as given, RedisTokenStore(given, **options) as store:
        yield store


@asynccontextmanager
async def given_for(way: str, server: RedisServer | Proxy) -> AsyncGenerator[Any]:
    """What a store is given for it."""
    if way == "tcp":
        yield server.url
    elif way == "socket":
        forgive_anyio()
        yield f"unix://{getattr(server, 'path', None)}"
    else:
        async with client_of(way, server) as client:
            yield client


def client_of(way: str, server: RedisServer | Proxy) -> Any:
    """A client of the user's."""
    if way == "cluster":
        return RedisCluster(startup_nodes=[TCPLocation("127.0.0.1", server.port)])
    return coredis.Redis("127.0.0.1", server.port, decode_responses=way == "decoding client")


@pytest.fixture(params=WAYS)
async def store(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncGenerator[RedisTokenStore]:
    server = request.getfixturevalue("cluster" if request.param == "cluster" else "server")
    async with opened(request.param, server) as entered:
        yield entered


async def taken(store: TokenStore, name: str, seconds: float = LONG) -> int:
    """The fence of a lease that is waited for."""
    while True:
        if (answer := await store.take(name, seconds)).fence is not None:
            return answer.fence
        await anyio.sleep(0.001)


@pytest.mark.promise("R75")
@pytest.mark.parametrize("way", WAYS)
async def test_the_rules_of_a_store(way: str, request: pytest.FixtureRequest) -> None:
    """Whichever way there is to Redis; a cluster refuses a step with keys of several nodes."""
    server = request.getfixturevalue("cluster" if way == "cluster" else "server")
    async with given_for(way, server) as given:
        await check_token_store(partial(RedisTokenStore, given, encryption_keys=[KEY]))


@pytest.mark.promise("R75", "R76")
async def test_the_rules_of_a_store_while_a_key_is_replaced(server: RedisServer) -> None:
    await check_token_store(partial(RedisTokenStore, server.url, encryption_keys=[OTHER, KEY]))


@pytest.mark.promise("R75")
async def test_what_is_kept_for_no_time_is_not_kept_for_ever(server: RedisServer, name: str) -> None:
    async with opened("tcp", server) as store:
        assert await store.put(name, 1, b"value", 0)
        while await store.look(name) is not None:  # noqa: ASYNC110 - the server tells nobody
            await anyio.sleep(0.001)


@pytest.mark.promise("R75")
async def test_fences_grow_whatever_the_server_has_lost(name: str) -> None:
    with redis_server() as server:
        async with opened("tcp", server) as store:
            before = await taken(store, name)
            server.kill()
            server.start()
            assert await taken(store, name) > before


@pytest.mark.promise("R75")
async def test_fences_grow_also_where_the_clock_was_set_back(server: RedisServer, name: str) -> None:
    """By the last one that was given out, and by that of the entry."""
    ahead = 2**52
    async with opened("tcp", server) as store, client_of("client", server) as client:
        assert await store.put(name, ahead, b"value", LONG)
        assert await taken(store, name) == ahead + 1
        await store.release(name, ahead + 1)
        await client.delete([key for key in await client.keys("*") if key.endswith(b":entry")])
        assert await taken(store, name) == ahead + 2


@pytest.mark.promise("R76")
async def test_nothing_lies_in_clear(name: str) -> None:
    with redis_server() as server:
        async with opened("tcp", server, prefix="mine") as store, client_of("client", server) as client:
            await store.put(name, await taken(store, name), b"canary of a value", LONG)
            await taken(store, name)
            keys = await client.keys("*")
            dumped = b"".join([key + (await client.dump(key) or b"") for key in keys])
            assert len(keys) == 4
            for key in keys:
                assert key.startswith(b"mine:{")
                assert await client.pttl(key) > 0
            assert b"canary" not in dumped
            assert b"token:" not in dumped


@pytest.mark.promise("R76")
class TestKeys:
    @pytest.mark.parametrize("way", ["tcp", "decoding client"])
    async def test_a_wrong_key_is_told(self, way: str, server: RedisServer, name: str) -> None:
        """Each time, until it is mended; and whoever has the right one is not disturbed."""
        options = {"prefix": name, "encryption_keys": [OTHER]}
        async with opened(way, server, prefix=name) as store, opened(way, server, **options) as stranger:
            await works(store, name)
            for ask in (stranger.look(name), stranger.take(name, LONG)):
                with pytest.raises(StoreError, match="have another encryption key: give all processes") as caught:
                    await ask
                assert caught.value.permanent
            await works(store, name)

    async def test_many_who_put_their_marks_at_once(self, server: RedisServer, name: str) -> None:
        """Whoever comes late finds them there."""
        async with opened("tcp", server, prefix=name) as store:
            run, asked = store._run, []

            async def too_late(script: Any, *arguments: Any, **options: Any) -> Any:
                asked.append(script)
                return False if script is PUT else await run(script, *arguments, **options)

            with patch.object(store, "_run", too_late):
                assert await store.look(name) is None
            assert asked == [LOOK, PUT, LOOK, PUT, LOOK, PUT, LOOK]

    async def test_what_another_key_has_encrypted_is_told(self, server: RedisServer, name: str) -> None:
        async with opened("tcp", server) as store, client_of("client", server) as client:
            key = await self.put(store, client, name)
            await client.hset(key, {"value": b"gAAAAA"})
            with pytest.raises(UnreadableError, match="give all processes the same encryption_keys"):
                await store.look(name)
            fence = await taken(store, name)  # it is there to be replaced
            assert await store.put(name, fence, b"newer", LONG)
            assert await store.look(name) == Entry(fence, b"newer")

    async def test_what_cannot_be_read_under_an_older_key_is_nothing_to_whoever_takes(
        self, server: RedisServer, name: str
    ) -> None:
        async with (
            opened("tcp", server) as old,
            opened("tcp", server, encryption_keys=[OTHER, KEY]) as new,
            client_of("client", server) as client,
        ):
            await client.hset(await self.put(old, client, name), {"value": b"gAAAAA"})
            assert (await new.take(name, LONG)).entry is None

    async def test_an_entry_in_another_place_is_told(self, server: RedisServer, name: str) -> None:
        async with opened("tcp", server) as store, client_of("client", server) as client:
            await client.copy(
                await self.put(store, client, name), await self.put(store, client, f"{name} another"), replace=True
            )
            with pytest.raises(StoreError, match="written as another entry"):
                await store.look(f"{name} another")

    async def test_what_an_older_key_has_put_is_found(self, server: RedisServer, name: str) -> None:
        """While a key is replaced, until something is put under the new one."""
        async with opened("tcp", server) as old, opened("tcp", server, encryption_keys=[OTHER, KEY]) as new:
            assert (await new.take(f"{name} nothing", LONG)).entry is None
            await old.put(name, await taken(old, name), b"value", LONG)
            found = await new.look(name)
            assert found is not None
            assert found.value == b"value"
            answer = await new.take(name, LONG)
            assert answer.entry == found
            assert answer.fence is not None
            assert await new.put(name, answer.fence, b"newer", LONG)
            found = await new.look(name)
            assert found is not None
            assert found.value == b"newer"

    @staticmethod
    async def put(store: RedisTokenStore, client: coredis.Redis[bytes], name: str) -> bytes:
        """Keep something, and give the key of Redis under which it is."""
        await store.look(name)  # its mark is there
        before = set(await client.keys("*"))
        await store.put(name, await taken(store, name), b"value", LONG)
        (key,) = {key for key in set(await client.keys("*")) - before if key.endswith(b":entry")}
        return key


async def works(store: RedisTokenStore, name: str) -> None:
    """Fail unless the store does its work."""
    fence = await taken(store, name)
    assert await store.put(name, fence, b"value", LONG)
    assert await store.look(name) is not None


@pytest.mark.promise("R77")
class TestBadDays:
    async def test_scripts_that_the_server_has_forgotten(self, store: RedisTokenStore, name: str) -> None:
        await works(store, name)
        client: Any = store._given or coredis.Redis.from_url(store._address._url.value)  # type: ignore[union-attr]
        async with AsyncExitStack() as stack:
            if store._given is None:
                await stack.enter_async_context(client)
            await client.script_flush()
        await works(store, name)

    @pytest.mark.parametrize("way", ["tcp", "client"])
    async def test_a_server_that_is_down_at_first_and_later_again(self, way: str, name: str) -> None:
        with redis_server() as server:
            server.kill()
            async with opened(way, server) as store:
                for _ in range(2):
                    with pytest.raises(StoreError, match=rf"^Redis at 127.0.0.1:{server.port} has failed .*Connection"):
                        await store.look(name)
                    server.start()
                    await works(store, name)
                    server.kill()
            server.start()

    async def test_an_answer_that_never_comes_does_not_outlive_its_caller(self, server: RedisServer, name: str) -> None:
        """Nor does it stand in the way of the next."""
        async with proxy(server) as between, opened("tcp", between) as store:
            await works(store, name)
            between.swallows = True
            for _ in range(3):
                with anyio.move_on_after(0.05) as limit:
                    await store.look(name)
                assert limit.cancelled_caught
            between.swallows = False
            await works(store, name)

    async def test_any_number_of_vain_attempts_to_connect(self, server: RedisServer, name: str) -> None:
        """Coredis's pool has 64 places, and loses one each time."""
        async with proxy(server) as between, opened("tcp", between) as store:
            between.swallows = True
            for _ in range(70):
                with anyio.move_on_after(0.005):
                    await store.look(name)
            between.swallows = False
            await works(store, name)

    async def test_several_that_hang_at_once(self, server: RedisServer, name: str) -> None:
        async with proxy(server) as between, opened("tcp", between) as store:
            between.swallows = True
            with anyio.move_on_after(0.05):
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(store.look, name)
            between.swallows = False
            await works(store, name)

    async def test_an_answer_that_is_cut_is_asked_for_again_once(self, server: RedisServer, name: str) -> None:
        async with proxy(server) as between, opened("tcp", between) as store:
            await works(store, name)
            between.cuts = 1
            assert await store.look(name) is not None
            between.cuts = 100
            with pytest.raises(StoreError, match="has failed"):
                await store.look(name)
            between.cuts = 0
            await works(store, name)

    async def test_a_slow_server_is_waited_for(self, server: RedisServer, name: str) -> None:
        async with proxy(server) as between, opened("tcp", between) as store:
            between.delay = 0.05
            await works(store, name)

    @pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff" * 99, b"-ERR no\r\n", b""])
    async def test_something_else_that_listens_there(self, said: bytes, name: str) -> None:
        async def answer(stream: SocketStream) -> None:
            async with stream:
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    await stream.receive()
                    await stream.send(said)

        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
            async with anyio.create_task_group() as group:
                group.start_soon(listener.serve, answer)
                async with RedisTokenStore(f"redis://127.0.0.1:{port}", encryption_keys=[KEY]) as store:
                    with pytest.raises(StoreError, match=f"^Redis at 127.0.0.1:{port} has failed"):
                        await store.look(name)
                group.cancel_scope.cancel()

    @pytest.mark.parametrize("answer", [None, 7, [], [b"1"], [b"x", b"y"], [b"1", 7], [1, 2, 3, 4, 5], b"text"])
    async def test_an_answer_that_is_nonsense(self, answer: object, name: str) -> None:
        async with RedisTokenStore(Scripted(answer), encryption_keys=[KEY]) as store:  # type: ignore[arg-type]
            for ask in (store.look(name), store.take(name, 1), store.prolong(name, 1, 1), store.put(name, 1, b"", 1)):
                with pytest.raises(StoreError, match=r"^Redis at the client's address has failed|another key"):
                    await ask

    async def test_a_client_that_fails_by_itself_is_made_anew(self, server: RedisServer, name: str) -> None:
        async def fail() -> None:
            raise ValueError("a mistake of coredis")

        async with opened("tcp", server) as store:
            await works(store, name)
            own = store._own
            assert own is not None
            with patch("anyio_acs_credential.fleet._redis_client._PAUSE", 0):
                before = own._client
                before.connection_pool.task_group.start_soon(fail)
                while own._client is before:  # noqa: ASYNC110 - nobody tells
                    await anyio.sleep(0.001)
                await works(store, name)

    async def test_an_open_question_ends_with_the_block(
        self, server: RedisServer, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_redis_client, "_LONGEST_ANSWER", 0.5)  # coredis waits for as long before it closes
        told: list[type[Exception]] = []

        async def ask(store: RedisTokenStore) -> None:
            try:
                await store.look(name)
            except (StoreError, CredentialUsageError) as error:
                told.append(type(error))

        async with proxy(server) as between, anyio.create_task_group() as group:
            between.swallows = True
            async with opened("tcp", between) as store:
                group.start_soon(ask, store)  # noqa: ASYNC111 - that the block ends before is the point
                await anyio.wait_all_tasks_blocked()
            await anyio.wait_all_tasks_blocked()
            assert told == [StoreError]
        async with opened("tcp", server) as store:
            await works(store, name)
            asking = store._own
            assert asking is not None
            asking._ready = anyio.Event()  # as while a new client is made
            group_of_one = anyio.create_task_group()
            async with group_of_one:
                group_of_one.start_soon(ask, store)
                await anyio.wait_all_tasks_blocked()
                asking.close()
        assert told == [StoreError, CredentialClosedError]


class Scripted:
    """A client whose answers are nonsense."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def create_request(self) -> None: ...

    async def evalsha(self, *_: object, **__: object) -> object:
        return self._answer


@pytest.mark.promise("R76")
class TestPasswordsAndTls:
    async def test_a_password_opens_and_is_never_shown(self, name: str) -> None:
        with redis_server() as server:
            server.say(b"CONFIG", b"SET", b"requirepass", PASSWORD.encode())
            async with opened("tcp", server) as store:
                with pytest.raises(StoreError, match=r"NOAUTH|Authentication"):
                    await store.look(name)
            for password, right in ((PASSWORD, True), (f"{PASSWORD}wrong", False)):
                url = f"redis://:{quote(password, safe='')}@127.0.0.1:{server.port}/0"
                async with RedisTokenStore(url, encryption_keys=[KEY]) as store:
                    if right:
                        await works(store, name)
                        await anyio.to_thread.run_sync(server.kill)
                    with pytest.raises(StoreError) as caught:
                        await store.look(name)
                shows_no_secret(caught.value)
                if right:
                    server.start()
                    server.say(b"CONFIG", b"SET", b"requirepass", PASSWORD.encode())

    @pytest.mark.parametrize("url", ["redis://:canary@x", "redis://bot:can%61ry@x", "redis://x?password=canary"])
    def test_wherever_a_password_stands_it_is_known_as_one(self, url: str) -> None:
        address = read_address(Secret(url))
        assert "canary" in address.passwords.value
        assert "can" not in repr(address)

    async def test_a_user_with_the_rights_that_the_guide_names_and_no_others(self, name: str) -> None:
        page = (Path(__file__).parent.parent / "docs" / "how-to" / "several-workers.md").read_text("utf-8")
        needs = page[page.index("needs the commands") : page.index("on keys that begin with")]
        rights = [b"+" + command.lower().encode() for command in re.findall(r"`([A-Z]+)`", needs)]
        with redis_server() as server:
            server.say(b"ACL", b"SETUSER", b"bot", b"on", b">secret", b"~acs:*", *rights)
            async with RedisTokenStore(server.url.replace("//", "//bot:secret@"), encryption_keys=[KEY]) as store:
                await works(store, name)
                fence = await taken(store, name)
                assert await store.prolong(name, fence, LONG)
                await store.release(name, fence)

    async def test_a_value_is_in_no_frame(self, name: str) -> None:
        async with RedisTokenStore(f"redis://127.0.0.1:{unused_port()}", encryption_keys=[KEY]) as store:
            with pytest.raises(StoreError) as caught:
                await store.put(name, 1, make_value(), LONG)
        shows_no_secret(caught.value)

    async def test_over_tls(self, tmp_path: Path, name: str) -> None:
        """Its certificate is checked, the name in it included."""
        authority = trustme.CA()
        pem = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(pem)
        certificate = authority.issue_cert("127.0.0.1")
        files = {"key": tmp_path / "key.pem", "cert": tmp_path / "cert.pem"}
        certificate.private_key_pem.write_to_path(files["key"])
        certificate.cert_chain_pems[0].write_to_path(files["cert"])
        port = unused_port()
        options = ("--tls-port", str(port), "--tls-ca-cert-file", str(pem))
        with redis_server(*options, "--tls-key-file", str(files["key"]), "--tls-cert-file", str(files["cert"])):
            plain, own = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={pem}", f"&ssl_certfile={files['cert']}"
            async with RedisTokenStore(f"{plain}{own}&ssl_keyfile={files['key']}", encryption_keys=[KEY]) as store:
                await works(store, name)
            for url in (plain, f"rediss://127.0.0.1:{port}/0", plain.replace("127.0.0.1", "localhost")):
                async with RedisTokenStore(url, encryption_keys=[KEY]) as store:
                    with pytest.raises(StoreError, match=r"SSL|certificate|Connection"):
                        await store.look(name)


def make_value() -> bytes:
    return b"canary of a value"


def shows_no_secret(error: BaseException) -> None:
    """Neither its text, nor what it came from, nor a frame of it."""
    assert "canary" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    ours = [
        value
        for frame in TracebackException.from_exception(error, capture_locals=True).stack
        if "anyio_acs_credential" in frame.filename
        for value in (frame.locals or {}).values()
    ]
    assert not any("canary of a value" in value or PASSWORD in value or quote(PASSWORD) in value for value in ours)


@pytest.mark.promise("R77")
class TestBadArguments:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "canary",
            "http://canary:canary@127.0.0.1",
            "redis://",
            "redis:///0",
            "redis://:canary@/0",
            "redis://canary:port",
            "redis://canary:66666",
            "redis://[canary",
            "unix://",
            "redis://127.0.0.1/canary",
            "redis://127.0.0.1/1/2",
            "rediss://127.0.0.1?ssl_cert_reqs=none",
            "rediss://127.0.0.1?ssl_check_hostname=false",
        ],
    )
    def test_a_url_that_is_none(self, url: str) -> None:
        with pytest.raises(
            ValueError, match=r"the URL of Redis is none: give redis://|always checked: leave"
        ) as caught:
            RedisTokenStore(url, encryption_keys=[KEY])
        assert "canary" not in str(caught.value)
        frames = TracebackException.from_exception(caught.value, capture_locals=True).stack
        ours = [frame for frame in frames if "anyio_acs_credential" in frame.filename]
        assert not [value for frame in ours for value in (frame.locals or {}).values() if "canary" in value]

    @pytest.mark.parametrize(
        "parameters", ["rediss://127.0.0.1?ssl_ca_certs=/nowhere", "redis://127.0.0.1?connect_timeout=soon"]
    )
    @pytest.mark.usefixtures("anyio_backend")
    async def test_parameters_that_cannot_be_used(self, parameters: str) -> None:
        with pytest.raises(ValueError, match="the parameters in the URL of Redis cannot be used"):
            await RedisTokenStore(parameters, encryption_keys=[KEY]).__aenter__()

    @pytest.mark.parametrize("client", [None, 7, object(), coredis.Redis])
    def test_a_client_that_is_none(self, client: Any) -> None:
        with pytest.raises(TypeError, match="url_or_client is the URL of a Redis, or a client of coredis"):
            RedisTokenStore(client, encryption_keys=[KEY])

    def test_a_prefix_that_is_none(self) -> None:
        with pytest.raises(TypeError, match="prefix is text"):
            RedisTokenStore("redis://x", encryption_keys=[KEY], prefix=b"x")  # type: ignore[arg-type]
        for prefix in ("{", "a}"):
            with pytest.raises(ValueError, match="prefix has a brace in it"):
                RedisTokenStore("redis://x", encryption_keys=[KEY], prefix=prefix)

    async def test_a_url_and_a_prefix_that_hide_themselves(
        self, server: RedisServer, name: str, anyio_backend_name: str
    ) -> None:
        prefix = f"mine-on-{anyio_backend_name}"
        async with RedisTokenStore(
            Redacted(server.url), encryption_keys=[Redacted(KEY)], prefix=Redacted(prefix)
        ) as store:
            await taken(store, name)
        assert prefix.encode() in server.say(b"KEYS", f"{prefix}:*".encode())
        with pytest.raises(ValueError, match="prefix has a brace in it"):
            RedisTokenStore("redis://x", encryption_keys=[KEY], prefix=Redacted("{"))

    def test_a_key_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="is not a key of new_encryption_key") as caught:
            RedisTokenStore("redis://x", encryption_keys=[make_value().decode()])
        shows_no_secret(caught.value)

    def test_without_coredis(self) -> None:
        with (
            patch.dict(sys.modules, {"coredis": None}),
            pytest.raises(ImportError, match=r"RedisTokenStore needs coredis, .*\[redis\]") as caught,
        ):
            RedisTokenStore("redis://x", encryption_keys=[KEY])
        assert caught.value.name == "coredis"


@pytest.mark.promise("R77")
class TestItsBlock:
    async def test_it_works_inside_alone_and_again(self, server: RedisServer, name: str) -> None:
        store = RedisTokenStore(server.url, encryption_keys=[KEY])
        for number in range(2):
            kind = CredentialClosedError if number else CredentialNotEnteredError
            with pytest.raises(kind, match=r"the token store (is closed|works only inside its block)"):
                await store.look(name)
            async with store:
                await works(store, f"{name} {number}")
                with pytest.raises(CredentialUsageError, match="the token store is open already"):
                    await store.__aenter__()
        with pytest.raises(CredentialClosedError):
            await store.__aexit__(None, None, None)

    async def test_the_users_client_stays_open(self, server: RedisServer) -> None:
        async with client_of("client", server) as client:
            async with RedisTokenStore(client, encryption_keys=[KEY]):
                pass
            assert await client.ping()

    async def test_a_client_that_is_not_open_is_told(self, server: RedisServer, name: str) -> None:
        async with RedisTokenStore(client_of("client", server), encryption_keys=[KEY]) as store:
            with pytest.raises(StoreError, match="pool"):
                await store.look(name)

    async def test_what_the_body_raises_leaves_it(self, server: RedisServer) -> None:
        mistake = ValueError("of the body")
        with pytest.raises(ValueError, match="of the body") as caught:
            async with RedisTokenStore(server.url, encryption_keys=[KEY]):
                raise mistake
        assert caught.value is mistake

    async def test_in_another_event_loop(self, server: RedisServer, name: str) -> None:
        async with opened("tcp", server) as store:

            def ask() -> None:
                with pytest.raises(CredentialUsageError, match="another event loop"):
                    anyio.run(store.look, name)

            await anyio.to_thread.run_sync(ask)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    async def test_in_a_forked_child(self, server: RedisServer, name: str) -> None:
        async with opened("tcp", server) as store:
            child = os.fork()
            if child == 0:  # pragma: no cover - what runs in a forked child is not measured
                try:
                    store.look(name).send(None)
                except CredentialUsageError as error:
                    os._exit(0 if "forked" in str(error) else 2)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222 - it ends at once
            await works(store, name)

    def test_whose_event_loop_has_ended_can_be_entered_anew(self) -> None:
        """Nobody is left who could leave that block."""
        store = RedisTokenStore(Scripted(None), encryption_keys=[KEY])  # type: ignore[arg-type]
        for _ in range(2):
            anyio.run(store.__aenter__)
        with pytest.raises(CredentialUsageError, match="in which the token store was entered has ended"):
            anyio.run(store.__aexit__, None, None, None)

    @pytest.mark.parametrize("anyio_backend", ["trio"])
    async def test_on_trio_who_has_not_entered_cannot_leave(self, server: RedisServer, name: str) -> None:
        async with opened("tcp", server) as store:
            async with anyio.create_task_group() as group:  # noqa: ASYNC112 - another task is the point
                group.start_soon(refused_to_leave, store)
            await works(store, name)

    def test_it_is_not_pickled(self) -> None:
        with pytest.raises(TypeError, match="make one in each process"):
            pickle.dumps(RedisTokenStore("redis://x", encryption_keys=[KEY]))
        assert KEY not in repr(vars(RedisTokenStore(f"redis://:{KEY}@x", encryption_keys=[KEY])))


async def refused_to_leave(store: RedisTokenStore) -> None:
    with pytest.raises(CredentialUsageError, match="left where it cannot be"):
        await store.__aexit__(None, None, None)
