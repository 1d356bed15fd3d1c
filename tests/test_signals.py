"""Ctrl-C: programs with an open credential end as soon, and print as little, as they would without one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import anyio
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT that one process could send to another"),
    pytest.mark.promise("R45"),
]

PROGRAM = """
import asyncio, itertools, signal, sys
import anyio
from anyio.lowlevel import checkpoint
from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialPool, RefreshPolicy

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
CANARY = "-".join(["canary", "4f1b"])  # no line of this text holds the whole: from 3.13 on, a traceback shows the line

def ready():
    print("ready", flush=True)

def heartbeat():
    # asyncio sleeps through a signal that comes just before it begins to wait; trio does not.
    asyncio.get_running_loop().call_later(0.1, heartbeat)

def token():
    return AccessToken(CANARY, 4_000_000_000)

async def quick():
    await checkpoint()
    return token()

async def slow():
    await anyio.wait_all_tasks_blocked()
    ready()
    await anyio.sleep_forever()

def pool():
    return CredentialPool(lambda _: CommunicationTokenCredential(token_refresher=quick), max_size=2)

async def main():
    if sys.argv[1] == "asyncio":
        heartbeat()
    async with CommunicationTokenCredential(token_refresher=SOURCE) as credential:
        BODY
"""
RUN = "\nanyio.run(main, backend=sys.argv[1])\n"
RUN_AGAIN = """
for _ in range(int(sys.argv[2])):
    try:
        anyio.run(main, backend=sys.argv[1])
    except KeyboardInterrupt:
        print("KeyboardInterrupt", flush=True)
"""

MOMENTS = {
    "between rounds": ("quick", "await credential.get_token(); ready(); await anyio.sleep_forever()"),
    "in a call of the source": ("slow", "await anyio.sleep_forever()"),
    "with a caller waiting": ("slow", "await credential.get_token()"),
    "in a loop of reads": (
        "quick",
        """
        await credential.get_token()
        ready()
        while True:
            await credential.get_token()
        """,
    ),
    "in a loop of rounds": (
        "quick",
        """
        await credential.get_token()
        ready()
        while True:
            await credential.refresh()
        """,
    ),
    "while leaving": (
        """
        tidy

        async def tidy():
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    ready()
                    await anyio.to_thread.run_sync(sys.stdin.readline)
        """,
        "await anyio.wait_all_tasks_blocked()",
    ),
    "with the source in a thread": (
        """
        threaded

        def blocking():
            ready()
            sys.stdin.readline()

        async def threaded():
            await anyio.to_thread.run_sync(blocking, abandon_on_cancel=True)
        """,
        "await anyio.sleep_forever()",
    ),
    "with a pool": (
        "slow",
        """
        async with pool() as users, users.use("alice"), users.use("bob"):
            await anyio.sleep_forever()
        """,
    ),
    "in a loop of uses of a pool": (
        "quick",
        """
        async with pool() as users:
            ready()
            for number in itertools.count():
                async with users.use(number % 3) as credential:
                    await credential.get_token()
                await users.discard(number % 5)
        """,
    ),
}


def program(source: str, body: str, run: str) -> str:
    """The text of the program: the first line of `source` names it, what follows defines it."""
    name, _, definition = textwrap.dedent(source).strip().partition("\n")
    body = textwrap.indent(textwrap.dedent(body).strip(), " " * 8).strip()
    head, main = PROGRAM.split("async def main")
    return f"{head}{definition}\n\nasync def main{main.replace('SOURCE', name).replace('BODY', body)}{run}"


@pytest.fixture(params=anyio.get_available_backends())
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Child:
    """A program in a process of its own, that is interrupted when it says that it is ready."""

    def __init__(self, text: str, *arguments: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-W", "default", "-c", text, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def interrupt(self, after: float = 0) -> None:
        assert self.line() == "ready"
        time.sleep(after)
        self.process.send_signal(signal.SIGINT)
        self.let_go()

    def let_go(self) -> None:
        """End what waits for a line until the signal was sent."""
        if stdin := self.process.stdin:
            self.process.stdin = None
            stdin.close()

    def end(self, *expected: str) -> str:
        """What it has written to its standard error by its end: no noise but what is expected."""
        errors = self.process.communicate(timeout=50)[1]
        assert "canary-4f1b" not in errors
        noises = {"was destroyed", "never retrieved", "never awaited", "Warning", "ExceptionGroup", "Exception ignored"}
        for noise in noises.difference(expected):
            assert noise not in errors
        return errors


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.process.kill()
        child.process.communicate()


def noises_at_random(backend: str) -> tuple[str, ...]:
    """Trio raises KeyboardInterrupt between any two instructions, also between making a coroutine and awaiting it."""
    return ("never awaited", "Warning") if backend == "trio" else ()


@pytest.mark.parametrize("moment", MOMENTS)
def test_interrupted(moment: str, backend: str, children: list[Child]) -> None:
    """The program ends with KeyboardInterrupt alone: in no group of ours, without noise, without the token."""
    children.append(child := Child(program(*MOMENTS[moment], RUN), backend))
    child.interrupt()
    noises = noises_at_random(backend) if moment.startswith("in a loop") else ()
    errors = child.end(*noises).splitlines()
    # What is expected may come behind the traceback: a coroutine that the interpreter finds at its own end.
    told = [line for line in errors if not any(noise in line for noise in noises)]
    assert told[-1] == "KeyboardInterrupt"
    assert child.process.returncode == -signal.SIGINT


@pytest.mark.parametrize("moment", ["in a loop of reads", "in a loop of rounds", "in a loop of uses of a pool"])
def test_interrupted_at_random_moments(moment: str, backend: str, children: list[Child]) -> None:
    """Wherever a signal finds the program, it leaves the block with KeyboardInterrupt, and the next run works."""
    rounds, dice = 25, random.Random(moment)  # noqa: S311 - dice, not keys
    children.append(child := Child(program(*MOMENTS[moment], RUN_AGAIN), backend, str(rounds)))
    for _ in range(rounds):
        child.interrupt(dice.uniform(0, 0.01))
        assert child.line() == "KeyboardInterrupt"
    child.end(*noises_at_random(backend))
    assert child.process.returncode == 0


STRUCK = """
import asyncio, inspect, secrets, signal, sys

lines, first = inspect.getsourcelines(asyncio.Event.set)
about_to_wake = first + next(number for number, line in enumerate(lines) if "set_result" in line)

def strike(frame, what, _argument):
    is_ours = asyncio.current_task().get_name() == "access token refresh"
    if is_ours and what == "line" and frame.f_lineno == about_to_wake:
        sys.settrace(None)
        ready()
        signal.raise_signal(signal.SIGINT)
    return strike

def trace():
    sys.settrace(lambda frame, what, argument: strike if frame.f_code is asyncio.Event.set.__code__ else None)
"""


ANEW = """
anew

async def anew():
    await checkpoint()
    return AccessToken(CANARY + secrets.token_hex(4), 4_000_000_000)
"""
STRUCK_MOMENTS = {
    "by the end of a round": """
        await credential.get_token()
        trace()
        await credential.refresh()
        """,
    "by a new token": """
        async def refresh():
            await anyio.wait_all_tasks_blocked()
            trace()
            await credential.refresh()

        async with anyio.create_task_group() as group:
            group.start_soon(refresh)
            async for _token in credential.updates():
                pass
        """,
}


@pytest.mark.parametrize("moment", STRUCK_MOMENTS)
def test_interrupted_while_the_main_task_is_woken(moment: str, children: list[Child]) -> None:
    """On asyncio a signal can cancel the main task just before the line that wakes it: an interrupt like others."""
    text = program(ANEW, STRUCK_MOMENTS[moment], RUN)
    children.append(child := Child(STRUCK + text, "asyncio"))
    assert child.line() == "ready"
    errors = child.end()
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert child.process.returncode == -signal.SIGINT


FINALIZED = """
import gc, json, sys, weakref
import anyio, httpx
from anyio_acs_credential import (
    AccessKeyCredential, AccessToken, CommunicationIdentityClient, CommunicationTokenCredential, CredentialPool,
)

USER = "8:acs:11111111-2222-3333-4444-555555555555_00000000-0000-0000-0000-000000000000"

def answer(request):
    return httpx.Response(201, json={"identity": {"id": USER}})

async def source():
    await anyio.lowlevel.checkpoint()
    return AccessToken("token", 4_000_000_000)

def credential(_key=None):
    return CommunicationTokenCredential(token_refresher=source)

async def use():
    async with credential() as entered:
        await entered.refresh()
    async with CredentialPool(credential, max_size=1) as pool:
        for key in range(3):
            async with pool.use(key) as lent:
                await lent.get_token()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        endpoint, key = "https://contoso.communication.azure.com", AccessKeyCredential("a2V5")
        async with CommunicationIdentityClient(endpoint, key, http_client=client) as identity:
            await identity.create_user()

finalized = []

def watch(frame, what, _argument):
    if what == "call" and frame.f_code.co_filename == weakref.__file__ and frame.f_code.co_name == "remove":
        finalized.append(repr(frame.f_locals["selfref"]()))

async def main():
    await use()
    gc.collect()
    sys.setprofile(watch)
    await use()
    gc.collect()
    found = list(finalized)
    holder = weakref.WeakValueDictionary(key=set())  # which nobody else holds: that is seen
    sys.setprofile(None)
    print(found, len(finalized))

anyio.run(main, backend="trio")
"""


@pytest.mark.skipif("trio" not in anyio.get_available_backends(), reason="a Ctrl-C that trio raises is meant")
def test_no_weak_dictionary_holds_what_comes_and_goes() -> None:
    """It takes out what has gone in a finalizer in Python, where a Ctrl-C is lost that comes as garbage is collected.

    The interpreter calls the handler of a signal between two instructions in Python, and these are the next ones.
    """
    run = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", FINALIZED], capture_output=True, text=True, timeout=50, check=True
    )
    assert run.stdout == "[] 1\n"
