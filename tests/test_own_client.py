"""The HTTP client that we make ourselves: of which environment, how it ends, and what it costs."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import sys
import traceback
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import certifi
import httpcore
import httpx
import pytest
import trustme
from anyio import to_thread
from anyio.lowlevel import checkpoint
from entra_users import SCOPE, TEAMS, approving, skip_pauses
from servers import answer, serve, silence, unused_port

from anyio_acs_credential import (
    AccessKeyCredential,
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    ServiceError,
    TokenRefreshError,
)
from anyio_acs_credential._http import own_transport, trust
from anyio_acs_credential._http.own_client import client_factory
from anyio_acs_credential._http.own_transport import make_client
from anyio_acs_credential._http.request import Call
from anyio_acs_credential._http.retries import send
from anyio_acs_credential._http.trust import trusted
from anyio_acs_credential._loops.cancellation import is_fault
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from servers import Server

    from anyio_acs_credential.emulator import Emulator

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own environment names has no part in this."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL"):
            monkeypatch.delenv(name)


# One environment for all


async def exchange(emulator: Emulator) -> None:
    class Signed:
        async def get_token(self, *_scopes: str) -> AccessToken:
            return AccessToken.from_jwt(emulator.issue_entra_token(TEAMS))

    async with CommunicationTokenCredential(
        resource_endpoint=emulator.endpoint, token_credential=Signed(), scopes=(TEAMS,), proactive_refresh=False
    ) as credential:
        try:
            await credential.get_token()
        except TokenRefreshError as error:
            with pytest.raises(TokenRefreshError):  # it has latched: no second round
                await credential.get_token()
            cause = error.__cause__
        else:
            return
        assert credential.statistics().failures == 1
        assert cause is not None
        raise cause


async def ask_identity(emulator: Emulator) -> None:
    async with CommunicationIdentityClient(emulator.endpoint, AccessKeyCredential(emulator.access_key)) as identity:
        await identity.create_user()


async def sign_in(emulator: Emulator) -> None:
    person = DeviceCodeCredential(emulator.client_id, authority=emulator.authority, prompt_callback=approving(emulator))
    await person.sign_in(SCOPE)


USES = pytest.mark.parametrize("use", [exchange, ask_identity, sign_in])


@asynccontextmanager
async def emulated(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Emulator]:
    skip_pauses(monkeypatch)
    async with open_emulator() as emulator:
        monkeypatch.setenv("SSL_CERT_FILE", emulator.ca_file)
        yield emulator


@pytest.mark.promise("R39")
@USES
@pytest.mark.parametrize("entry", ["fe80::/10", "localhost,[::1]", "[", "host:port", "bücher.example"])
async def test_entries_that_httpx_does_not_take_break_nothing(
    use: Callable[[Emulator], Awaitable[None]], entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers encode/httpx#3221: such entries are common in containers. Those that it takes still count."""
    async with emulated(monkeypatch) as emulator:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused_port()}")
        monkeypatch.setenv("NO_PROXY", f"{entry},127.0.0.0/8")
        await use(emulator)


@pytest.mark.promise("R39", "R31", "R52")
@USES
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ALL_PROXY", f"socks5://user:{SECRET}@127.0.0.1:1", r"install httpx\[socks\]"),
        ("all_proxy", "socks5h://127.0.0.1:1", r"install httpx\[socks\]"),
        ("ALL_PROXY", f"socks://user:{SECRET}@127.0.0.1:1", "correct it, as in http"),
        ("HTTPS_PROXY", "http://127.0.0.1:port", "correct it, as in http"),
        ("HTTPS_PROXY", "http://127.0.0.1:99999", "correct it, as in http"),
        ("HTTPS_PROXY", f"http://user:{SECRET}#x@127.0.0.1:1", "correct it, as in http"),
        ("https_proxy", "http://", "correct it, as in http"),
        ("HTTPS_PROXY", "http://127.0.0.1:0", "correct it, as in http"),
        ("ALL_PROXY", f"http://user:{SECRET}@xn--:80", "correct it, as in http"),
        ("https_proxy", f"user:{SECRET}/@127.0.0.1:1", "correct it, as in http"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "/nowhere/ca.pem.*correct SSL_CERT_FILE, or unset it"),
        ("SSL_CERT_FILE", "/", "correct SSL_CERT_FILE, or unset it"),
        ("SSL_CERT_FILE", __file__, "correct SSL_CERT_FILE, or unset it"),
        ("SSL_CERT_DIR", "/nowhere", "/nowhere.*openssl rehash"),
        ("SSL_CERT_DIR", str(Path(__file__).parent), "openssl rehash"),
        ("SSLKEYLOGFILE", "/nowhere/keys", "/nowhere/keys.*correct SSLKEYLOGFILE, or unset it"),
    ],
)
async def test_what_the_environment_cannot_mean_is_one_error(
    use: Callable[[Emulator], Awaitable[None]], name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same at the first use of each; it names the variable and the fix, and is permanent: nothing is sent."""
    async with emulated(monkeypatch) as emulator:
        if name == "SSL_CERT_DIR":
            monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv(name, value)
        with pytest.raises(ServiceError, match=f"^{name} names .*{says}") as raised:
            await use(emulator)
        error = raised.value
        assert (error.permanent, error.status_code, emulator.requests) == (True, None, ())
    ours = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours.stack = traceback.StackSummary.from_list(
        frame for frame in ours.stack if "/anyio_acs_credential/" in frame.filename
    )
    assert SECRET not in "".join(ours.format())


@pytest.mark.promise("R39")
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:{}", "socks5h://user:password@127.0.0.1:{}"])
async def test_a_socks_proxy_is_used_where_its_package_is_there(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(own_transport, "find_spec", lambda _name: SimpleNamespace())
    monkeypatch.setattr(httpcore, "AsyncSOCKSProxy", lambda **options: made.append(options))
    monkeypatch.setenv("ALL_PROXY", proxy.format(1080))
    await to_thread.run_sync(make_client)
    assert {bytes(options["proxy_url"]).partition(b"//")[2] for options in made} == {b"127.0.0.1:1080/"}
    assert made[0]["proxy_auth"] == ((b"user", b"password") if "user" in proxy else None)


@pytest.mark.promise("R39")
@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy_of_the_environment_is_used(tls: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the name and password that it is named with; where it speaks TLS, trusting as the environment does."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with serve(answer(502), tls=context if tls else None) as proxy:
        monkeypatch.setenv("https_proxy", f"http{'s' if tls else ''}://user:pass%20word@localhost:{proxy.port}")
        async with client_factory(None)() as client:
            with pytest.raises(httpx.ProxyError):
                await client.send(client.build_request("GET", "https://service.example/"))
    (request,) = proxy.requests
    assert (request.method, request.target) == ("CONNECT", "service.example:443")
    assert httpx.BasicAuth("user", "pass word")._auth_header == request.headers["proxy-authorization"]


@pytest.mark.promise("R33")
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("is_far", [False, True])
async def test_plain_text_goes_to_no_proxy(is_far: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent to loopback alone, and so it stays there: a proxy on loopback may pass it on to the next one."""
    async with serve(answer(502)) as proxy, serve(answer(204)) as server:
        monkeypatch.setenv(name, "http://proxy.invalid:3128" if is_far else proxy.url)
        async with client_factory(None)() as client:
            response = await client.send(client.build_request("GET", server.url))
    assert (response.status_code, proxy.connections) == (204, 0)


@pytest.mark.promise("R33")
async def test_nor_does_it_to_a_socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_transport, "find_spec", lambda _name: SimpleNamespace())
    monkeypatch.setattr(httpcore, "AsyncSOCKSProxy", lambda **_: httpcore.AsyncHTTPProxy("http://proxy.invalid"))
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.invalid")
    async with serve(answer(204)) as server, client_factory(None)() as client:
        response = await client.send(client.build_request("GET", server.url))
    assert response.status_code == 204


async def test_no_proxy_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it does not matter what the others say."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("ALL_PROXY", "foo://nonsense")
    async with serve(answer(204)) as server, client_factory(None)() as client:
        response = await client.send(client.build_request("GET", server.url))
    assert response.status_code == 204


# How it ends


class BrokenError(Exception):
    """What a body fails with."""


async def stray_cancellation() -> BaseException:
    """The cancellation of a scope that has ended, as a driver with a bug lets it out."""
    found: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class() as stray:  # noqa: ASYNC103 - that it is wrong is the point
            found.append(stray)
    return found[0]


async def group_of_cancellations() -> BaseException:
    return BaseExceptionGroup("several", [await stray_cancellation()])


async def broken_connection() -> BaseException:
    return OSError("the connection is broken")


class Odd(BaseException):
    """Neither an error, nor a cancellation, nor what ends a program."""


async def test_what_counts_as_the_fault_of_what_is_called() -> None:
    """Errors do, and cancellations that nobody asked for; not what ends a program, and not our own cancellation."""
    stray = await stray_cancellation()
    for fault in (OSError(), stray, BaseExceptionGroup("several", [OSError(), stray])):
        assert is_fault(fault, 0)
    for other in (KeyboardInterrupt(), BaseExceptionGroup("several", [OSError(), KeyboardInterrupt()]), Odd()):
        assert not is_fault(other, 0)
    with anyio.CancelScope() as scope:  # noqa: ASYNC100 - only asked about
        scope.cancel()
        assert not is_fault(stray, 0)


@pytest.fixture(params=[broken_connection, stray_cancellation, group_of_cancellations])
def closing_fails(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Connections fail as they are closed, or let out a cancellation that nobody asked for; how many pools were."""
    closed: list[str] = []

    async def aclose(pool: httpcore.AsyncConnectionPool) -> None:
        closed.append("pool")
        await original(pool)
        raise await request.param()

    original = httpcore.AsyncConnectionPool.aclose
    monkeypatch.setattr(httpcore.AsyncConnectionPool, "aclose", aclose)
    return closed


@pytest.mark.promise("R43", "R44")
@pytest.mark.parametrize("fails", [True, False])
async def test_a_client_that_fails_in_closing_hides_nothing(fails: bool, closing_fails: list[str]) -> None:
    """The body's exception comes out as the same object; without one, the program goes on after the block."""
    error = BrokenError()
    with pytest.raises(BrokenError) if fails else nullcontext() as raised:
        async with CommunicationIdentityClient("https://127.0.0.1:1", AccessKeyCredential("a2V5")):
            if fails:
                raise error
    assert closing_fails == ["pool"]
    if raised is not None:
        assert raised.value is error
        assert (error.__context__, error.__cause__) == (None, None)


@pytest.mark.promise("R44")
async def test_a_round_and_a_sign_in_do_not_fail_with_the_closing_of_their_client(
    closing_fails: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulated(monkeypatch) as emulator:
        await exchange(emulator)
        await sign_in(emulator)
    assert len(closing_fails) > 1


@pytest.mark.promise("R38", "R44")
async def test_a_cancellation_of_ours_that_comes_as_the_client_closes_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until the client is closed, and then ends the task."""
    closing = anyio.Event()

    async def aclose(pool: httpcore.AsyncConnectionPool) -> None:
        closing.set()
        await original(pool)
        await anyio.sleep_forever()  # until its second is up

    original = httpcore.AsyncConnectionPool.aclose
    monkeypatch.setattr(httpcore.AsyncConnectionPool, "aclose", aclose)
    after = False

    async def use() -> None:
        nonlocal after
        async with client_factory(None)():
            pass
        await checkpoint()
        after = True

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        await closing.wait()
        group.cancel_scope.cancel()
    assert not after


@pytest.mark.promise("R38", "R44")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_so_is_asyncios_own(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes anyio's shield, and is no fault of the client."""
    closing = anyio.Event()

    async def aclose(pool: httpcore.AsyncConnectionPool) -> None:
        await original(pool)
        closing.set()
        await anyio.sleep_forever()

    original = httpcore.AsyncConnectionPool.aclose
    monkeypatch.setattr(httpcore.AsyncConnectionPool, "aclose", aclose)

    async def use() -> None:
        async with client_factory(None)():
            pass

    task = asyncio.create_task(use())
    await closing.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.promise("R38", "R44")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_so_is_one_that_came_while_the_body_ran(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does under `asyncio.run`: asyncio raises it where the task waits next, which is in closing."""

    async def aclose(pool: httpcore.AsyncConnectionPool) -> None:
        await original(pool)
        await asyncio.sleep(0)

    original = httpcore.AsyncConnectionPool.aclose
    monkeypatch.setattr(httpcore.AsyncConnectionPool, "aclose", aclose)

    async def use() -> None:
        async with client_factory(None)():
            task.cancel()

    task = asyncio.create_task(use())
    await asyncio.wait([task])
    assert task.cancelled()


class Answer(httpx.AsyncByteStream):
    """The body of an answer, whose closing lets out a cancellation that nobody asked for."""

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        yield b"{}"

    async def aclose(self) -> None:
        raise await stray_cancellation()


@pytest.mark.promise("R44")
async def test_an_answer_counts_whose_closing_lets_out_a_cancellation() -> None:
    """It was read to its end; with the program's own client as well."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Answer()))

    async def authorize(_request: object) -> None:
        """Add nothing."""

    async with httpx.AsyncClient(transport=transport) as client:
        found = await send(client, Call("GET", "https://x.example/"), authorize)
    assert (found.status, found.body) == (200, b"{}")


@pytest.mark.promise("R38")
async def test_a_body_that_is_cancelled_closes_its_client() -> None:
    async with serve(silence()) as server:
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                async with client_factory(None)() as client:
                    await client.send(client.build_request("GET", server.url))

            group.start_soon(ask)
            with anyio.fail_after(5):
                while not server.requests:  # noqa: ASYNC110 - a server tells
                    await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        with anyio.fail_after(5):
            while server.open:  # noqa: ASYNC110 - likewise
                await anyio.sleep(0.001)


@pytest.mark.promise("R38")
@pytest.mark.parametrize("step", ["name", "connection", "handshake", "answer"])
async def test_a_request_that_is_cancelled_leaves_no_connection(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the client stays open; not even until the garbage collector comes by."""
    scope = anyio.CancelScope()
    behaviour = silence()
    async with (
        serve(behaviour, greet=behaviour if step == "handshake" else None) as server,
        client_factory(None)() as ours,
    ):

        async def send_in(scope: anyio.CancelScope) -> None:
            url = server.url.replace("127.0.0.1", "localhost")
            with scope:
                call = Call("GET", url.replace("http:", "https:") if step == "handshake" else url)
                await send(ours, call, authorize)

        async def authorize(_request: Any) -> None:
            """Nothing."""

        reached = watch_for(step, server, monkeypatch)
        gc.disable()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(send_in, scope)
                with anyio.fail_after(5):
                    while not reached():  # noqa: ASYNC110 - a server or a thread tells
                        await anyio.sleep(0.001)
                scope.cancel()
            with anyio.fail_after(5):
                while server.open:  # noqa: ASYNC110 - a server tells
                    await anyio.sleep(0.001)
        finally:
            gc.enable()


def watch_for(step: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether a request has come as far as that."""
    asked: list[object] = []

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        return original(*arguments, **options)

    original = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    reached: dict[str, Callable[[], object]] = {
        "name": lambda: asked,
        "connection": lambda: server.connections,
        "handshake": lambda: server.open,
        "answer": lambda: server.requests,
    }
    return lambda: bool(reached[step]())


# What it costs


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """How often authorities have been read, from now on."""
    made: list[object] = []

    def create(**options: Any) -> ssl.SSLContext:
        made.append(options)
        return original(**options)

    original = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", create)
    trust._read.cache_clear()
    return made


@pytest.mark.promise("R48")
async def test_authorities_are_read_once_for_all(reading: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """For identity clients, exchanges and sign-ins together, however many begin at once."""
    async with emulated(monkeypatch) as emulator:
        async with anyio.create_task_group() as group:
            for use in (exchange, ask_identity, sign_in) * 3:
                group.start_soon(use, emulator)
        assert reading.count({"cafile": emulator.ca_file, "capath": None}) == 1  # the emulator's own is another


def test_authorities_that_change_are_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None are named, a folder, a file, the file written anew: each has its context, and keeps it."""
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    (hashed / "0123abcd.0").write_bytes(bundle.read_bytes())
    contexts = [trusted()]
    monkeypatch.setenv("SSL_CERT_DIR", f"/nowhere{os.pathsep}{hashed}")
    contexts.append(trusted())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    contexts.append(trusted())
    trustme.CA().cert_pem.write_to_path(str(bundle), append=True)
    contexts.append(trusted())
    assert trusted() is contexts[-1]
    assert trusted(certifi.where()) is contexts[0]
    assert len(set(map(id, contexts))) == len(contexts) == 4
    assert contexts[-1].cert_store_stats()["x509_ca"] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the time of no such change")
@pytest.mark.parametrize("is_link", [False, True])
def test_so_are_those_in_a_folder_whose_file_is_written_anew(
    is_link: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In place, and also with the size and the time of writing that it had: the folder itself does not change."""
    folder, bundle = tmp_path / "hashed", tmp_path / "ca.pem"
    folder.mkdir()
    hashed = folder / "0123abcd.0"
    if is_link:  # as `openssl rehash` makes them
        hashed.symlink_to(bundle)
    hashed.write_bytes(b"1")
    first, before = hashed.stat(), folder.stat()
    monkeypatch.setenv("SSL_CERT_DIR", f"{folder}{os.pathsep}")
    contexts = [trusted(), trusted()]
    for content in (b"2", b"3 and more"):
        last = hashed.stat().st_ctime_ns
        hashed.write_bytes(content)
        os.utime(hashed, ns=(first.st_atime_ns, first.st_mtime_ns))
        while hashed.stat().st_ctime_ns == last:  # for the milliseconds of a tick
            os.utime(hashed, ns=(first.st_atime_ns, first.st_mtime_ns))
        contexts += [trusted(), trusted()]
    assert folder.stat().st_mtime_ns == before.st_mtime_ns
    assert len(set(map(id, contexts))) == 3
    assert all(first is second for first, second in zip(contexts[::2], contexts[1::2], strict=True))


def test_a_context_is_not_changed_while_others_use_it() -> None:
    """Its protocols are set at each connection, by httpcore; OpenSSL lets nobody change what another thread reads."""
    context = trusted()
    context.set_alpn_protocols(["nonsense, which OpenSSL would take"])
    client, server = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(client, server, server_hostname="service.example").do_handshake()
    assert b"http/1.1" in (hello := server.read())
    assert b"nonsense" not in hello
