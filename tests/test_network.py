"""Connections of our own: whose threads they need, and what is left of them when they are cancelled."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import httpx
import pytest
from anyio import to_thread
from entra_users import SCOPE, TEAMS, approving, code_for, redirect_of, skip_pauses
from servers import answer, serve, unused_port

from anyio_acs_credential import (
    AccessKeyCredential,
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
)
from anyio_acs_credential._http import network
from anyio_acs_credential._http.network import Network
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential, InteractiveBrowserCredential

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio_acs_credential.emulator import Emulator

GETADDRINFO = socket.getaddrinfo


# Threads that wait for a token hold none that a round needs


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@asynccontextmanager
async def threads_taken() -> AsyncGenerator[None]:
    """Each place of anyio's and trio's default limiter, and of asyncio's default executor, has a thread that waits."""
    freed = threading.Event()

    def wait() -> None:
        freed.wait()

    limiter = to_thread.current_default_thread_limiter()
    loop = asyncio_loop()
    async with anyio.create_task_group() as group:
        try:
            for _ in range(int(limiter.total_tokens)):
                group.start_soon(to_thread.run_sync, wait)
            executor = [loop.run_in_executor(None, wait) for _ in range(40)] if loop else []
            with anyio.fail_after(20):
                while limiter.available_tokens:  # noqa: ASYNC110 - a limiter tells
                    await anyio.sleep(0.001)
            yield
        finally:
            freed.set()
    for future in executor:
        await future


def named(address: str) -> str:
    """The same, with a host that has to be looked up."""
    return address.replace("127.0.0.1", "localhost")


async def exchange(emulator: Emulator) -> None:
    class Signed:
        async def get_token(self, *_scopes: str) -> AccessToken:
            return AccessToken.from_jwt(emulator.issue_entra_token(TEAMS))

    async with CommunicationTokenCredential(
        resource_endpoint=named(emulator.endpoint), token_credential=Signed(), scopes=(TEAMS,)
    ) as credential:
        await credential.get_token()


async def ask_identity(emulator: Emulator) -> None:
    key = AccessKeyCredential(emulator.access_key)
    async with CommunicationIdentityClient(named(emulator.endpoint), key) as identity:
        await identity.create_user()


def signing_in_by_name(emulator: Emulator) -> dict[str, Any]:
    """Without OpenID's way, in which the issuer's name would have to be the authority's."""
    return {
        "authority": named(emulator.endpoint),
        "tenant_id": emulator.tenant_id,
        "disable_instance_discovery": True,
    }


async def enter_a_code(emulator: Emulator) -> None:
    person = DeviceCodeCredential(
        emulator.client_id, prompt_callback=approving(emulator), **signing_in_by_name(emulator)
    )
    await person.sign_in(SCOPE)
    await person.get_token(SCOPE)


async def come_back_by_browser(emulator: Emulator) -> None:
    def sign_in(uri: str) -> None:
        httpx.post(redirect_of(uri)[0], data=code_for(emulator, uri, "alice"))

    def open_browser(uri: str) -> bool:
        threading.Thread(target=sign_in, args=(uri,)).start()
        return True

    person = InteractiveBrowserCredential(emulator.client_id, open_browser=open_browser, **signing_in_by_name(emulator))
    await person.sign_in(SCOPE)


@pytest.mark.promise("R58")
@pytest.mark.parametrize("use", [exchange, ask_identity, enter_a_code, come_back_by_browser])
async def test_no_place_in_anybody_elses_threads_is_needed(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synchronous endpoints hold all of them while they wait for a token: its round makes its way without one."""
    skip_pauses(monkeypatch)
    asked: list[tuple[str, int]] = []

    def getaddrinfo(host: Any, *others: Any, **options: Any) -> Any:
        asked.append((host, threading.get_ident()))
        return GETADDRINFO(host, *others, **options)

    async with open_emulator() as emulator:
        monkeypatch.setenv("SSL_CERT_FILE", emulator.ca_file)
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        async with threads_taken():
            with anyio.fail_after(20):
                await use(emulator)
    names = [thread for host, thread in asked if host == "localhost"]
    assert names
    assert threading.get_ident() not in names


async def test_an_emulator_opens_and_closes_where_all_threads_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with threads_taken():
        with anyio.fail_after(20):
            async with open_emulator() as emulator:
                monkeypatch.setenv("SSL_CERT_FILE", emulator.ca_file)
                await ask_identity(emulator)


# Names


class Resolver:
    """Answers for the system's with a script of addresses, and for each name that begins with "slow" when it is told.

    Attributes:
        waiting: How many threads are in it.
        most: How many have been, at most.
    """

    def __init__(self, addresses: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses = addresses
        self.go_on = threading.Event()
        self.waiting = self.most = 0
        self.lock = threading.Lock()
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *others: Any, **options: Any) -> Any:
        if host not in self.addresses:
            return GETADDRINFO(host, port, *others, **options)
        with self.lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        if host.startswith("slow"):
            self.go_on.wait()
        with self.lock:
            self.waiting -= 1
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in each], socket.SOCK_STREAM, 6, "", (each, port)) for each in self.addresses[host]]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were tried, in order."""
    tried: list[str] = []

    async def connect(self: Any, host: str, **options: Any) -> Any:
        tried.append(host)
        return await original(self, host, **options)

    original = httpcore.AnyIOBackend.connect_tcp
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    return tried


async def test_an_address_that_takes_no_connection_is_passed_over(
    connected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The families take turns, so that one that leads nowhere costs one attempt."""
    Resolver({"service.example": ["::1", "::2", "127.0.0.1", "127.0.0.2"]}, monkeypatch)
    async with serve(answer(200)) as server:
        await (await Network().connect_tcp("service.example", server.port, 5)).aclose()
    assert connected == ["::1", "127.0.0.1"]


async def test_an_address_that_is_silent_is_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for to the end of its time, and leaves nothing behind."""
    Resolver({"service.example": ["::1", "127.0.0.1"]}, monkeypatch)
    monkeypatch.setattr(network, "_HEAD_START", 0.01)
    ended: list[str] = []

    async def connect(self: Any, host: str, **options: Any) -> Any:
        if host == "127.0.0.1":
            return await original(self, host, **options)
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(host)

    original = httpcore.AnyIOBackend.connect_tcp
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    async with serve(answer(200)) as server:
        with anyio.fail_after(5):
            await (await Network().connect_tcp("service.example", server.port)).aclose()
    assert ended == ["::1"]


async def test_of_two_connections_at_once_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver({"service.example": ["::1", "127.0.0.1"]}, monkeypatch)
    monkeypatch.setattr(network, "_HEAD_START", 0)
    both = anyio.Event()
    waiting: list[str] = []

    async def connect(self: Any, host: str, **options: Any) -> Any:
        with anyio.CancelScope(shield=True):
            stream = await original(self, "127.0.0.1", **options)
            waiting.append(host)
            if len(waiting) == 2:
                both.set()
            await both.wait()
            return stream

    original = httpcore.AnyIOBackend.connect_tcp
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    async with serve(answer(200)) as server:
        stream = await Network().connect_tcp("service.example", server.port)
        with anyio.fail_after(5):
            while server.open != 1 or server.connections != 2:  # noqa: ASYNC110 - a server tells
                await anyio.sleep(0.001)
        await stream.aclose()


@pytest.mark.promise("R38")
async def test_a_connection_that_comes_as_its_caller_is_cancelled_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = anyio.CancelScope()

    async def connect(self: Any, host: str, **options: Any) -> Any:
        stream = await original(self, host, **options)
        scope.cancel()
        return stream

    original = httpcore.AnyIOBackend.connect_tcp
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    async with serve(answer(200)) as server:
        with scope:
            await Network().connect_tcp("127.0.0.1", server.port)
        assert scope.cancelled_caught
        with anyio.fail_after(5):
            while server.open or not server.connections:  # noqa: ASYNC110 - a server tells
                await anyio.sleep(0.001)


@pytest.mark.promise("R28")
@pytest.mark.parametrize("host", ["name.invalid", f"{'a' * 70}.example", "127.0.0.1", "localhost"])
async def test_what_takes_no_connection_is_an_error_of_httpcore(host: str) -> None:
    """One error, in no group: no such name, no name at all, nobody there."""
    with pytest.raises(httpcore.ConnectError) as raised:
        await Network().connect_tcp(host, unused_port(), 30)
    assert str(raised.value)


@pytest.mark.promise("R28")
async def test_a_resolver_that_hangs_costs_the_time_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver({"slow.example": []}, monkeypatch)
    try:
        with anyio.fail_after(5), pytest.raises(httpcore.ConnectTimeout, match=r"within 0\.01 seconds"):
            await Network().connect_tcp("slow.example", 443, 0.01)
    finally:
        resolver.go_on.set()


@pytest.mark.promise("R28")
async def test_a_host_that_is_silent_costs_the_time_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: Any, **_options: Any) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with anyio.fail_after(5), pytest.raises(httpcore.ConnectTimeout):
        await Network().connect_tcp("127.0.0.1", 443, 0.01)


@pytest.mark.promise("R58")
async def test_a_resolver_that_hangs_holds_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many have given up on it; once it answers, the next one who asks is served."""
    resolver = Resolver({"slow.example": ["127.0.0.1"], "quick.example": ["127.0.0.1"]}, monkeypatch)
    async with serve(answer(200)) as server:
        try:
            for _ in range(30):
                with pytest.raises(httpcore.ConnectTimeout):
                    await Network().connect_tcp("slow.example", server.port, 0.01)
            assert 0 < resolver.waiting <= 8
            with pytest.raises(httpcore.ConnectTimeout):
                await Network().connect_tcp("quick.example", server.port, 0.1)
        finally:
            resolver.go_on.set()
        with anyio.fail_after(5):
            await (await Network().connect_tcp("quick.example", server.port)).aclose()
    assert resolver.most <= 8
