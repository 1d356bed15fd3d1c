"""Blocking calls that may hang: nobody waits for them, also not the interpreter at its end."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import CapacityLimiter
from anyio.lowlevel import current_token

from anyio_acs_credential._loops import own_thread
from anyio_acs_credential._loops.own_thread import in_own_thread

if TYPE_CHECKING:
    from collections.abc import Callable

BACKENDS = pytest.mark.parametrize("backend", anyio.get_available_backends())


class Gate:
    """What a call waits for in its thread.

    Attributes:
        threads: Those that have come to it.
    """

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self._open = threading.Event()

    def wait(self) -> str:
        self.threads.append(threading.current_thread())
        assert self._open.wait(40)
        return "through"

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def until(reached: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not reached():  # noqa: ASYNC110 - a thread tells
            await anyio.sleep(0.001)


async def left_behind(gate: Gate, limiter: CapacityLimiter | None = None) -> threading.Thread:
    """The thread of a call that was cancelled as it waited at the gate."""
    before = len(gate.threads)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: in_own_thread(gate.wait, limiter=limiter))
        await until(lambda: len(gate.threads) > before)
        group.cancel_scope.cancel()
    return gate.threads[-1]


async def test_what_a_function_returns_or_raises() -> None:
    threads: list[int] = []

    def divide(dividend: int, divisor: int) -> float:
        threads.append(threading.get_ident())
        return dividend / divisor

    assert await in_own_thread(divide, 6, 3) == 2
    with pytest.raises(ZeroDivisionError):
        await in_own_thread(divide, 6, 0)
    with pytest.raises(SystemExit):
        await in_own_thread(sys.exit)
    assert threading.get_ident() not in threads


async def test_a_call_that_is_cancelled_goes_on_alone(gate: Gate) -> None:
    thread = await left_behind(gate)
    assert thread.is_alive()
    assert thread.daemon
    gate.open()
    await until(lambda: not thread.is_alive())


async def test_where_the_caller_is_cancelled_already_nothing_is_called(gate: Gate) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await in_own_thread(gate.wait)
    assert scope.cancelled_caught
    assert gate.threads == []


async def test_a_call_that_was_left_behind_keeps_its_place(gate: Gate) -> None:
    """Until it has ended. Whoever waits for a place may give up."""
    limiter = CapacityLimiter(1)
    await left_behind(gate, limiter)
    with anyio.move_on_after(0.01) as waiting:
        await in_own_thread(gate.wait, limiter=limiter)
    assert waiting.cancelled_caught
    assert (limiter.borrowed_tokens, len(gate.threads)) == (1, 1)
    gate.open()
    with anyio.fail_after(20):
        assert await in_own_thread(gate.wait, limiter=limiter) == "through"
    assert limiter.borrowed_tokens == 0


async def test_a_place_is_free_again_where_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    class Thread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    limiter = CapacityLimiter(1)
    with monkeypatch.context() as patch:
        patch.setattr(own_thread, "Thread", Thread)
        with pytest.raises(RuntimeError, match="start new thread"):
            await in_own_thread(int, limiter=limiter)
    assert limiter.borrowed_tokens == 0


async def test_a_function_sees_the_callers_context_and_changes_it_not() -> None:
    name: ContextVar[str] = ContextVar("name")
    name.set("caller")

    def rename() -> str:
        before = name.get()
        name.set("thread")
        return before

    assert await in_own_thread(rename) == "caller"
    assert name.get() == "caller"


@BACKENDS
async def test_a_function_may_run_an_event_loop_and_call_the_callers(backend: str) -> None:
    """As a plain credential may that wraps an async one."""
    caller, own = current_token(), threading.get_ident()

    async def thread() -> int:
        return threading.get_ident()

    def call() -> tuple[int, int]:
        return anyio.run(thread, backend=backend), anyio.from_thread.run(thread, token=caller)

    inner, outer = await in_own_thread(call)
    assert inner != outer == own


@BACKENDS
def test_a_call_may_outlast_its_event_loop(backend: str, gate: Gate) -> None:
    """Nothing is raised in the thread, which pytest would report."""
    thread = anyio.run(left_behind, gate, backend=backend)
    gate.open()
    thread.join(20)
    assert not thread.is_alive()


async def test_nothing_that_was_raised_is_kept() -> None:
    """Not even until the garbage collector comes by: its frames may hold much."""

    class Large:
        """What a frame holds."""

    kept: list[weakref.ref[Large]] = []

    def fail() -> None:
        large = Large()
        kept.append(weakref.ref(large))
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await in_own_thread(fail)
    await until(lambda: kept[0]() is None)


HANGING = """
import os, socket, ssl, sys, threading
import anyio, certifi
from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential, InteractiveBrowserCredential

reached = threading.Semaphore(0)

def hang(*_args, **_options):
    reached.release()
    threading.Event().wait()

def getaddrinfo(host, *args, **options):
    return hang() if host.startswith("nowhere") else find(host, *args, **options)

find, socket.getaddrinfo = socket.getaddrinfo, getaddrinfo
SCOPE = "https://auth.msft.communication.azure.com/.default"

class Plain:
    get_token = staticmethod(hang)

async def identity():
    key = "endpoint=https://nowhere.example;accesskey=" + "QUFB" * 16
    async with CommunicationIdentityClient.from_connection_string(key) as identity:
        await identity.create_user()

async def exchange():
    async with CommunicationTokenCredential(
        resource_endpoint="https://nowhere.example", token_credential=Plain(), scopes=(SCOPE,)
    ) as credential:
        await credential.get_token()

async def sign_in():
    await DeviceCodeCredential("app", authority="https://nowhere.example/tenant").sign_in(SCOPE)

async def browser():
    async with open_emulator() as emulator:
        await InteractiveBrowserCredential(
            emulator.client_id, authority=emulator.authority, verify=emulator.ssl_context, open_browser=hang
        ).sign_in(SCOPE)

async def authorities():
    os.environ["SSL_CERT_FILE"] = certifi.where()  # others than before, which are not read again
    ssl.create_default_context = hang
    await identity()

async def main():
    for use in (identity, exchange, sign_in, browser, authorities):
        async with anyio.create_task_group() as group:
            group.start_soon(use)
            with anyio.fail_after(40):
                while not reached.acquire(blocking=False):
                    await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        print(use.__name__, flush=True)

anyio.run(main, backend=sys.argv[1])
"""


@BACKENDS
@pytest.mark.promise("R57")
@pytest.mark.twice
def test_a_program_ends_whatever_hangs(backend: str) -> None:
    """The resolver, a plain credential, a browser in a terminal, a disk: what was cancelled keeps nobody."""
    command = [sys.executable, "-c", HANGING, backend]
    uses = ["identity", "exchange", "sign_in", "browser", "authorities"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)  # noqa: S603 - our own interpreter
    assert (done.stdout.split(), done.stderr) == (uses, "")
