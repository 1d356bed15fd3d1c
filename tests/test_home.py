"""Where a credential, a pool or an identity client was entered: other loops, other processes, loops that have gone."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import from_thread
from test_access_key import KEY

from anyio_acs_credential import (
    AccessKeyCredential,
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    CredentialPool,
    CredentialUsageError,
    HealthStatus,
)
from anyio_acs_credential._http import trust
from anyio_acs_credential._loops import home
from anyio_acs_credential._loops.home import Home
from anyio_acs_credential._loops.per_loop import PerLoop
from anyio_acs_credential.testing import ScriptedSource, make_jwt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

BACKENDS = anyio.get_available_backends()
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
NEEDS_TRIO = pytest.mark.skipif("trio" not in BACKENDS, reason="a guest is trio's")


def in_child(check: Callable[[], object]) -> None:
    """Run a check in a forked process, which ends in ten seconds whatever it waits for."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - what runs in a forked child is not measured
        signal.alarm(10)
        try:
            check()
            os.write(writing, b"done")
        except BaseException as error:  # noqa: BLE001, ASYNC103 - told to the parent, which fails
            os.write(writing, repr(error).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    said = b""
    while block := os.read(reading, 4096):
        said += block
    os.close(reading)
    os.waitpid(child, 0)
    assert said == b"done", said.decode() or "the child waited until its alarm"


def refused(call: Callable[[], object]) -> None:
    """It raises the error that names the fix."""
    with pytest.raises(CredentialUsageError, match="forked") as caught:
        call()
    assert "enter one in each process" in str(caught.value)


def awaited(function: Callable[..., Awaitable[Any]], *args: Any) -> Callable[[], object]:
    """A call of an async function, for a process that has no event loop."""

    async def call() -> object:
        return await function(*args)

    return lambda: asyncio.run(call())


@FORKS
@pytest.mark.promise("R13")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("life", [3600, None], ids=["fresh", "none"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of 3.12: forking beside threads is the point
def test_a_forked_child_is_refused_at_once(backend: str, life: int | None) -> None:
    """Every method that waits says so, whatever is held; `get_token_nowait()` goes on giving a valid token.

    It answers django/asgiref#194.
    """
    token = None if life is None else make_jwt(life)
    credential = CommunicationTokenCredential(token, token_refresher=ScriptedSource(anyio.sleep_forever))

    async def iterate() -> object:
        return await anext(aiter(credential.updates()))

    def check() -> None:
        refused(lambda: credential.get_token_from_thread(timeout=1))
        refused(credential.get_token_from_thread)
        refused(awaited(credential.get_token))
        refused(awaited(credential.refresh))
        refused(awaited(iterate))
        refused(awaited(credential.close))
        assert credential.health().status is HealthStatus.UNAVAILABLE
        assert "forked" in credential.health().reason
        if token is not None:
            assert credential.get_token_nowait().token == token

    with from_thread.start_blocking_portal(backend) as portal, portal.wrap_async_context_manager(credential):
        in_child(check)
        if token is not None:
            assert credential.get_token_from_thread(timeout=60).token == token


@FORKS
@pytest.mark.promise("R13")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_forked_inside_the_block() -> None:
    """Also where the child has the very thread that entered, with an event loop that looks as if it ran."""
    fresh = make_jwt(3600)
    async with CommunicationTokenCredential(fresh, token_refresher=ScriptedSource(3600)) as credential:
        assert (await credential.get_token()).token == fresh

        def ask() -> None:
            with pytest.raises(CredentialUsageError, match="forked"):
                credential.get_token().send(None)
            with pytest.raises(CredentialUsageError, match="forked"):
                credential.get_token_from_thread()

        in_child(ask)


@FORKS
@pytest.mark.promise("R13")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning", "ignore:.*fork.*:DeprecationWarning")
def test_forked_while_another_thread_reads_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has no such thread, and reads them itself."""
    reading, forked = threading.Event(), threading.Event()
    read = trust._read

    def read_slowly(authorities: Any) -> Any:
        reading.set()
        forked.wait()
        return read(authorities)

    monkeypatch.setattr(trust, "_read", read_slowly)
    thread = threading.Thread(target=trust.trusted)
    thread.start()
    reading.wait()
    monkeypatch.setattr(trust, "_read", read)
    try:
        in_child(trust.trusted)
    finally:
        forked.set()
        thread.join()
    lock = trust._reading
    trust._forked()  # once more here, since what runs in a forked child is not measured
    assert trust._reading is not lock


@FORKS
@pytest.mark.promise("R13")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_a_pool_and_an_identity_client_in_a_forked_child() -> None:
    """They belong to one process as well."""
    pool = CredentialPool[str](lambda _: CommunicationTokenCredential(token_refresher=ScriptedSource(3600)))
    identity = CommunicationIdentityClient("https://x.communication.azure.com", AccessKeyCredential(KEY))

    async def use() -> None:
        async with pool.use("alice"):
            raise AssertionError

    def check() -> None:
        for what, coroutine in (
            ("the pool", use()),
            ("the pool", pool.discard("alice")),
            ("the identity client", identity.create_user()),
        ):
            with pytest.raises(CredentialUsageError, match=f"^{what} was entered before this process was forked"):
                coroutine.send(None)

    async with pool, identity:
        in_child(check)


@FORKS
@pytest.mark.promise("R13")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_loop_of_the_childs_own_in_the_thread_that_entered() -> None:
    """It has the thread, and asyncio's older loop looks as if it ran. What the child enters works, and is its own."""
    fresh = make_jwt(3600)
    outer, inner = (CommunicationTokenCredential(fresh, token_refresher=ScriptedSource(3600)) for _ in range(2))

    async def ask(credential: CommunicationTokenCredential) -> None:
        for _ in range(2):
            with pytest.raises(CredentialUsageError, match="forked"):
                await credential.get_token()
        assert credential.get_token_nowait().token == fresh

    async def child() -> None:
        await ask(outer)
        async with inner:
            for _ in range(65):
                assert (await inner.get_token()).token == fresh
            in_child(lambda: asyncio.run(ask(inner)))

    async def parent() -> None:
        async with outer:
            in_child(lambda: asyncio.run(child()))
            assert (await outer.get_token()).token == fresh

    asyncio.run(parent())


def test_what_a_fork_does_to_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is no longer the one that runs; homes that are entered afterwards are in another."""
    homes: list[Home] = []

    async def main() -> None:
        homes.append(Home("house", "elsewhere"))

    monkeypatch.setattr(home, "_this", home.Process())  # to be put back
    anyio.run(main)
    homes[0].check_process()
    home._forked()
    assert homes[0].is_lost
    with pytest.raises(CredentialUsageError, match="the house was entered before this process was forked"):
        homes[0].check_process()
    anyio.run(main)
    homes[1].check_process()
    with pytest.raises(TypeError, match="weak reference"):  # whose end would be a finalizer, where Ctrl-C is lost
        weakref.ref(homes[0])


@FORKS
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_plain_token_credential_that_was_at_work_at_the_fork() -> None:
    """A call that goes on in the parent alone keeps nobody in the child from calling."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def get_token(self, *_scopes: str) -> AccessToken:
            begun.set()
            go_on.wait(60)
            return AccessToken(make_jwt(3600), 2_000_000_000)

    from anyio_acs_credential._exchange.entra_tokens import EntraTokenSource

    source = EntraTokenSource(Slow())
    thread = threading.Thread(target=lambda: anyio.run(source.get, ("scope",)))
    thread.start()
    begun.wait(60)

    def check() -> None:
        go_on.set()
        assert asyncio.run(source.get(("scope",))).expires_on == 2_000_000_000

    in_child(check)
    go_on.set()
    thread.join()


# Another event loop of the same thread


def foreign(call: Coroutine[Any, Any, object]) -> BaseException | None:
    """What a call raises in another event loop."""

    async def run() -> BaseException | None:
        try:
            await call
        except CredentialUsageError as error:
            return error
        return None

    second = asyncio.new_event_loop()
    try:
        return second.run_until_complete(run())
    finally:
        second.close()


@pytest.mark.promise("R13")
@pytest.mark.parametrize("reads", [0, 1, 62, 63, 64])
def test_a_fresh_token_in_a_second_asyncio_loop_of_the_thread(reads: int) -> None:
    """It is refused there like everything that waits, however many reads came before."""
    first = asyncio.new_event_loop()
    credential = CommunicationTokenCredential(make_jwt(3600), token_refresher=ScriptedSource(3600))
    first.run_until_complete(credential.__aenter__())

    async def read() -> None:
        for _ in range(reads):
            await credential.get_token()

    first.run_until_complete(read())
    error = foreign(credential.get_token())
    assert error is not None
    assert "another event loop" in str(error)
    first.run_until_complete(credential.close())
    first.run_until_complete(asyncio.sleep(0))
    first.close()


def guest(main: Callable[[], Awaitable[object]]) -> asyncio.Future[Any]:
    """Run trio in the callbacks of the asyncio loop that runs, and give what will be its outcome."""
    import trio

    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=done.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    return done


@NEEDS_TRIO
@pytest.mark.promise("R13")
@pytest.mark.parametrize("reads", [0, 1, 62, 63, 64])
def test_a_fresh_token_of_asyncio_in_a_guest_of_its_loop(reads: int) -> None:
    """A guest has the host's thread, and its running loop; and yet no task that asyncio could cancel."""
    credential = CommunicationTokenCredential(make_jwt(3600), token_refresher=ScriptedSource(3600))
    told: list[str] = []

    async def ask() -> None:
        with pytest.raises(CredentialUsageError, match="another event loop") as caught:
            await credential.get_token()
        told.append(str(caught.value))

    async def main() -> None:
        async with credential:
            for _ in range(reads):
                await credential.get_token()
            (await guest(ask)).unwrap()
            assert (await credential.get_token()).token

    asyncio.run(main())
    assert len(told) == 1


@NEEDS_TRIO
@pytest.mark.promise("R13")
@pytest.mark.parametrize("reads", [0, 1, 62, 63, 64])
def test_a_fresh_token_of_a_guest_in_its_host(reads: int) -> None:
    """The other way round, trio's own function is what refuses: with the error that names the fix."""
    import trio

    credential = CommunicationTokenCredential(make_jwt(3600), token_refresher=ScriptedSource(3600))

    async def main() -> None:
        entered, asked = asyncio.Event(), trio.Event()

        async def hold() -> str:
            async with credential:
                for _ in range(reads):
                    await credential.get_token()
                entered.set()
                await asked.wait()
                return (await credential.get_token()).token

        outcome = guest(hold)
        await entered.wait()
        home = credential._home
        assert isinstance(home, Home)
        with pytest.raises(CredentialUsageError, match="another event loop"):
            await credential.get_token()
        home.post(asked.set)
        assert (await outcome).unwrap()

    asyncio.run(main())


async def test_without_any_event_loop() -> None:
    """What waits is refused where nothing runs at all."""
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(anyio.sleep_forever)) as credential:
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                credential.get_token().send(None)
            except CredentialUsageError as error:
                caught.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert len(caught) == 1


# Loops that have gone


async def test_a_home_knows_whether_its_loop_is_there() -> None:
    """It is lost when the loop has ended, and not before."""
    assert not Home("x", "y").is_lost
    homes: list[Home] = []

    async def live() -> None:
        homes.append(Home("x", "y"))
        assert not homes[-1].is_lost

    for backend in BACKENDS:
        thread = threading.Thread(target=anyio.run, args=(live,), kwargs={"backend": backend})
        thread.start()
        thread.join()
    assert [home.is_lost for home in homes] == [True] * len(BACKENDS)


def test_a_loop_has_one_thing_of_its_own_however_many_loops_there_are() -> None:
    """A second event loop in between takes nothing from the first, and what it had ends with it."""
    made = PerLoop(object)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def get() -> object:
        return made.get()

    one = first.run_until_complete(get())
    other = second.run_until_complete(get())
    assert first.run_until_complete(get()) is one
    assert second.run_until_complete(get()) is other
    assert one is not other
    first.close()
    second.close()
