"""How soon a cancelled sign-in is over: its call, its port, its thread, and the program that has nothing else to do."""

from __future__ import annotations

import socket
import sys
import threading
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio import CancelScope, Event, create_task_group, sleep, sleep_forever

from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import (
    AuthorizationCodeCredential,
    DeviceCodeCredential,
    InteractiveBrowserCredential,
    OnBehalfOfCredential,
)

from ._measure import BACKENDS, Spread, Turns
from ._report import Row
from ._tenant import SCOPE, Tenant, assertion_of, tenant_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from anyio_acs_credential.emulator import Emulator

PROMISES = ("R57",)

LIMIT_MS = 100
PORT_S = 1.0
END_S = 2.0
OURS = ("/msal/", "/anyio_acs_credential/")


class Person:
    """Who is asked to sign in, and does nothing.

    Attributes:
        asked: Whether the person was asked.
        port: Where the browser would come back to.
    """

    def __init__(self) -> None:
        self.asked = False
        self.port = 0

    def read_code(self, *_code: object) -> None:
        self.asked = True

    def open(self, address: str) -> bool:
        self.port = urlsplit(parse_qs(urlsplit(address).query)["redirect_uri"][0]).port or 0
        self.asked = True
        return True


class SignIn(NamedTuple):
    """A sign-in that never ends by itself.

    Attributes:
        make: Makes what is to be called, given the tenant and the person.
        hangs: Which request is not answered; "" where the person is waited for.
    """

    make: Callable[[Emulator, Person], Callable[[str], Any]]
    hangs: str


def measure(quick: bool) -> Iterator[Row]:
    """Each sign-in on both backends."""
    for backend in BACKENDS:
        turns = anyio.run(_cancel_each, 2 if quick else 30, backend=backend)
        yield from (_row(f"{name}, {backend}", turns, name) for name in SIGN_INS)
        port = turns.seconds("port"), turns.longest("port")
        yield _later(f"the port of a sign-in with the browser is free again, {backend}", *port, PORT_S, "0")
        thread = turns.seconds("thread"), turns.longest("thread")
        yield _later(f"no thread runs the package or MSAL any more, {backend}", *thread, END_S, "0")
        with tenant_apart("hang", "/token$") as tenant:
            for _ in range(2 if quick else 10):
                turns.add("idle end", _until_the_end(backend, None))
                turns.add("end", _until_the_end(backend, tenant))
        end = turns.seconds("end"), turns.longest("end")
        bare = f"{turns.seconds('idle end'):.2f} s: a program that sleeps"
        yield _later(f"the program has ended, which had nothing else to do, {backend}", *end, END_S, bare)


def _row(what: str, turns: Turns, name: str) -> Row:
    longest = turns.longest(name) * 1e3
    return Row(
        figure=f"cancelling a sign-in until its call is left: {what}",
        target=f"≤ {LIMIT_MS} ms, the longest",
        measured=f"{turns.seconds(name).scaled(1e3):.2f} ms, the longest {longest:.2f} ms",
        reached=longest <= LIMIT_MS,
        floor=f"{turns.seconds('bare').scaled(1e3):.2f} ms: a task that sleeps",
        others="MSAL's cannot be cancelled",
    )


def _later(what: str, seconds: Spread, longest: float, limit: float, floor: str) -> Row:
    return Row(
        figure=f"from the cancellation until {what}",
        target=f"≤ {limit:g} s, the longest",
        measured=f"{seconds:.3f} s, the longest {longest:.3f} s",
        reached=longest <= limit,
        floor=floor,
        others="MSAL's cannot be cancelled",
    )


async def _cancel_each(count: int) -> Turns:
    turns = Turns()
    async with open_emulator(device_code_interval=1) as emulator:
        for name in turns.take(("bare", *SIGN_INS), count):
            await _cancel_one(turns, name, emulator)
    return turns


async def _cancel_one(turns: Turns, name: str, emulator: Emulator) -> None:
    person, scope, left = Person(), CancelScope(), Event()
    sign_in = SIGN_INS.get(name, SignIn(lambda *_: lambda _scope: sleep_forever(), ""))
    call = sign_in.make(emulator, person)
    emulator.heal()
    if sign_in.hangs:
        emulator.hang(sign_in.hangs)
    seen = len(emulator.requests)

    def is_waiting() -> bool:
        hanging = any(request.status is None for request in emulator.requests[seen:])
        return name == "bare" or (hanging if sign_in.hangs else person.asked)

    async def run() -> None:
        with scope:
            await call(SCOPE)
        left.set()

    async with create_task_group() as group:
        group.start_soon(run)
        while not is_waiting():  # noqa: ASYNC110 - the emulator tells nobody
            await sleep(0.001)
        await sleep(0.01)
        with turns.clock(name):
            began = time.perf_counter()
            scope.cancel()
            await left.wait()
    if person.port:
        turns.add("port", await _until(lambda: _is_free(person.port)) - began)
    turns.add("thread", await _until(lambda: not _is_at_work()) - began)


async def _until(reached: Callable[[], bool]) -> float:
    while not reached():  # noqa: ASYNC110 - neither ports nor threads tell anybody
        await sleep(0.001)
    return time.perf_counter()


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _is_at_work() -> bool:
    """Whether a thread beside the event loop's has the package, or MSAL, on its stack."""
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    for frame in frames.values():
        at: Any = frame
        while at is not None:
            if any(folder in at.f_code.co_filename for folder in OURS):
                return True
            at = at.f_back
    return False


def _until_the_end(backend: str, tenant: Tenant | None) -> float:
    """Seconds from the cancellation to the end of the process in which it happened."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=cancel_and_end, args=(backend, tenant, theirs))
    process.start()
    cancelled: float = ours.recv()
    process.join(60)
    ended = time.time()
    if process.exitcode != 0:
        process.kill()
        raise RuntimeError(f"the process whose sign-in was cancelled ended with {process.exitcode}")
    return ended - cancelled


def cancel_and_end(backend: str, tenant: Tenant | None, connection: Connection) -> None:
    """Cancel a sign-in whose request is not answered, or without a tenant a task that sleeps, and say when."""

    async def main() -> None:
        async with create_task_group() as group:
            if tenant is None:
                group.start_soon(sleep_forever)
            else:
                group.start_soon(_acting_for_user(tenant).get_token, SCOPE)
            await sleep(2)
            if _is_at_work() == (tenant is None):
                raise RuntimeError("the sign-in is not under way after 2 s")
            connection.send(time.time())
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)


def _acting_for_user(tenant: Tenant) -> OnBehalfOfCredential:
    return OnBehalfOfCredential(
        tenant.client_id,
        user_assertion=tenant.assertion,
        client_secret=tenant.client_secret,
        authority=tenant.authority,
        verify=tenant.ca_file,
    )


def _device_code(emulator: Emulator, person: Person) -> Callable[[str], Any]:
    return DeviceCodeCredential(
        emulator.client_id,
        prompt_callback=person.read_code,
        authority=emulator.authority,
        verify=emulator.ssl_context,
    ).sign_in


def _browser(emulator: Emulator, person: Person) -> Callable[[str], Any]:
    return InteractiveBrowserCredential(
        emulator.client_id, open_browser=person.open, authority=emulator.authority, verify=emulator.ssl_context
    ).sign_in


def _authorization_code(emulator: Emulator, _person: Person) -> Callable[[str], Any]:
    return AuthorizationCodeCredential(
        emulator.client_id,
        authorization_code="a-code",
        redirect_uri="https://app.example/back",
        client_secret=emulator.client_secret,
        authority=emulator.authority,
        verify=emulator.ssl_context,
    ).sign_in


def _on_behalf_of(emulator: Emulator, _person: Person) -> Callable[[str], Any]:
    return OnBehalfOfCredential(
        emulator.client_id,
        user_assertion=assertion_of(emulator, "alice"),
        client_secret=emulator.client_secret,
        authority=emulator.authority,
        verify=emulator.ssl_context,
    ).get_token


SIGN_INS = {
    "device code, between two polls": SignIn(_device_code, ""),
    "device code, while a poll hangs": SignIn(_device_code, "/token$"),
    "browser, while the person does nothing": SignIn(_browser, ""),
    "browser, while discovery hangs": SignIn(_browser, "openid-configuration$"),
    "authorization code, while its request hangs": SignIn(_authorization_code, "/token$"),
    "on behalf of a user, while its request hangs": SignIn(_on_behalf_of, "/token$"),
}
