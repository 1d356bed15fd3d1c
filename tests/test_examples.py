"""The programs in examples/, run against the emulator: as their users start them, and on every event loop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from servers import Server, answer, serve

from anyio_acs_credential import CommunicationIdentityClient, TokenRefreshError, TokenSourceError
from anyio_acs_credential.emulator import Emulator, open_emulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import ModuleType

    from anyio.abc import ByteStream

EXAMPLES = Path(__file__).parent.parent / "examples"
THREAD = r"19:acsV1_[0-9a-f]{32}@thread\.v2"
ARGUMENTS_AND_OUTPUT = {
    "static_token.py": (["Lunch"], rf"8:acs:\S+ opened {THREAD}\n"),
    "long_session.py": (["0.1"], r"the call goes on with AccessToken\(<hidden>, expires_on=\d+\)\n0 renewals\n"),
    "injected_bot.py": (["Lunch", "Friday"], rf"Lunch: {THREAD}\nFriday: {THREAD}\n"),
    "shared_by_tasks.py": ([], r"(worker \d+ sees 0 threads\n){20}tokens fetched: 1\n"),
}


@asynccontextmanager
async def running(**settings: Any) -> AsyncGenerator[tuple[Emulator, dict[str, str]]]:
    """An emulator, and the environment in which the programs find it."""
    async with (
        open_emulator(**settings) as emulator,
        httpx.AsyncClient(verify=emulator.ssl_context) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as identity,
    ):
        user, token = await identity.create_user_and_token(["chat"])

        async def issue(server: Server, stream: ByteStream) -> None:
            another = await identity.get_token(user, ["chat"])
            await answer(200, {"token": another.token})(server, stream)

        async with serve(issue) as token_server:
            yield (
                emulator,
                {
                    "ACS_CONNECTION_STRING": emulator.connection_string,
                    "ACS_ENDPOINT": emulator.endpoint,
                    "ACS_TOKEN": token.token,
                    "TOKEN_SERVER": f"{token_server.url}/token",
                    "SSL_CERT_FILE": emulator.ca_file,
                },
            )


def set_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(Path(name).stem, EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def issued(emulator: Emulator) -> int:
    """How many times a token was asked for."""
    return sum("issueAccessToken" in request.path for request in emulator.requests)


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(ARGUMENTS_AND_OUTPUT)


@pytest.mark.parametrize("name", sorted(ARGUMENTS_AND_OUTPUT))
def test_an_example_is_short_and_says_how_to_run_it(name: str) -> None:
    """Under 60 lines, with a docstring that ends in the command."""
    text = (EXAMPLES / name).read_text("utf-8")
    assert text.count("\n") < 60
    assert f"\n    python {name}" in (load(name).__doc__ or "")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", sorted(ARGUMENTS_AND_OUTPUT))
async def test_an_example_runs_with_what_its_docstring_exports(name: str) -> None:
    """As a process of its own, which sees the variables that its docstring names, and warns of nothing."""
    arguments, output = ARGUMENTS_AND_OUTPUT[name]
    wanted = {"SSL_CERT_FILE", *re.findall(r"^    export (\w+)=", load(name).__doc__ or "", re.MULTILINE)}
    async with running() as (_, environment):
        inherited = {key: value for key, value in os.environ.items() if key not in environment}
        done = await anyio.run_process(
            [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
            env=inherited | {key: environment[key] for key in wanted},
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert re.fullmatch(output, done.stdout.decode()), done.stdout.decode()
    assert done.returncode == 0


async def test_static_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as (_, environment):
        set_environment(monkeypatch, environment)
        await load("static_token.py").main("Lunch")
    assert re.fullmatch(ARGUMENTS_AND_OUTPUT["static_token.py"][1], capsys.readouterr().out)


async def test_injected_bot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The bot opens its threads with one token of the token server."""
    async with running() as (emulator, environment):
        set_environment(monkeypatch, environment)
        await load("injected_bot.py").main("Lunch", "Friday")
        assert issued(emulator) == 1
    assert re.fullmatch(ARGUMENTS_AND_OUTPUT["injected_bot.py"][1], capsys.readouterr().out)


async def test_injected_bot_that_is_not_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token server that refuses is asked once, and its reason reaches the program."""
    async with running() as (_, environment), serve(answer(403)) as refusing:
        set_environment(monkeypatch, environment | {"TOKEN_SERVER": refusing.url})
        with pytest.raises(TokenRefreshError) as caught:
            await load("injected_bot.py").main("Lunch")
        assert caught.value.permanent
        assert isinstance(caught.value.__cause__, TokenSourceError)
        assert len(refusing.requests) == 1


async def test_long_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each renewal is reported, and its token is handed on."""
    lines = await _run_long_session_until("the call goes on", 3, monkeypatch)
    assert [line.partition(" ")[0] for line in lines] == ["the", "renewed:", "the", "renewed:", "the"]


async def test_long_session_of_a_source_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is reported with the time of the next attempt, and the session goes on."""
    lines = await _run_long_session_until("failed", 1, monkeypatch, status=403)
    assert re.fullmatch(r"failed \(TokenExchangeError\): again at \d\d:\d\d:\d\d", lines[-1])


async def _run_long_session_until(
    beginning: str, count: int, monkeypatch: pytest.MonkeyPatch, status: int | None = None
) -> list[str]:
    """Run it with tokens that live 2 seconds until it has printed so many lines of that beginning; return all."""
    program = load("long_session.py")
    printed, lines = anyio.create_memory_object_stream[str](inf)
    monkeypatch.setattr(program, "print", lambda text, **_: printed.send_nowait(text), raising=False)
    seen: list[str] = []
    with printed, lines:
        async with running(token_lifetime=2) as (emulator, environment), anyio.create_task_group() as group:
            set_environment(monkeypatch, environment)
            if status is not None:
                emulator.fail("issueAccessToken", status=status)
            group.start_soon(program.main, inf)
            while sum(line.startswith(beginning) for line in seen) < count:
                seen.append(await lines.receive())
            group.cancel_scope.cancel()
    assert seen[0].startswith("the call goes on with AccessToken(<hidden>")
    return seen


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_shared_by_tasks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty workers that ask at once make one request for a token."""
    async with running() as (emulator, environment):
        set_environment(monkeypatch, environment)
        await load("shared_by_tasks.py").main()
        assert issued(emulator) == 1
    assert re.fullmatch(ARGUMENTS_AND_OUTPUT["shared_by_tasks.py"][1], capsys.readouterr().out)
