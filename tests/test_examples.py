"""The programs in examples/, run against the emulator: as their users start them, and on every event loop."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import msal_extensions
import pytest
from anyio.streams.text import TextReceiveStream
from cryptography.fernet import Fernet
from entra_users import Clock, skip_pauses
from redis_server import redis_server
from scripted_browser import follow_sign_in
from servers import Server, answer, serve

from anyio_acs_credential import (
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential.cli._environment import environment_of
from anyio_acs_credential.emulator import Emulator, open_emulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import ModuleType

    from anyio.abc import ByteStream
    from anyio.streams.memory import MemoryObjectReceiveStream

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTED_BROWSER = Path(__file__).with_name("scripted_browser.py")
THREAD = r"19:acsV1_[0-9a-f]{32}@thread\.v2"
HIDDEN = r"AccessToken\(<hidden>, expires_on=\d+\)"
TOKEN = rf"8:acs:\S+ has {HIDDEN}\n"
CODE = r"To sign in, open .*enter the code \w+.*\n"
COMMANDS_AND_OUTPUT = {
    "static_token.py Lunch": rf"8:acs:\S+ opened {THREAD}\n",
    "long_session.py 0.1": r"the call goes on with AccessToken\(<hidden>, expires_on=\d+\)\n0 renewals\n",
    "injected_bot.py Lunch Friday": rf"Lunch: {THREAD}\nFriday: {THREAD}\n",
    "shared_by_tasks.py": r"(worker \d+ sees 0 threads\n){20}tokens fetched: 1\n",
    "teams_phone_bot.py 1": rf"{CODE}8:acs:\S+ goes on with {HIDDEN}\n",
    "desktop_chat.py Lunch Friday": (rf"Sign in with the browser that opens now.\nLunch: {THREAD}\nFriday: {THREAD}\n"),
    "from_azure_identity.py before": CODE + TOKEN,
    "from_azure_identity.py after": CODE + TOKEN,
    "threaded_program.py Lunch Friday": rf"Lunch: {THREAD}\nFriday: {THREAD}\n",
    "teams_user.py 1": rf"{CODE}8:orgid:\S+ goes on with {HIDDEN}\n",
    "remembered_sign_in.py": rf"You will have to .*\nTo change that, install .*\n{CODE}{TOKEN}",
}
WEB_APPS = {
    "fastapi_app.py",
    "litestar_app.py",
    "quart_app.py",
    "web_api.py",
    "web_sign_in.py",
    "websocket_updates.py",
}
SERVERS = {
    *WEB_APPS,
    "agents_bot.py",
    "flask_app.py",
    "redis_bot.py",
    "several_workers.py",
    "trio_service.py",
}  # each has tests of its own
EXAMPLES_RUN = {*SERVERS, *(command.partition(" ")[0] for command in COMMANDS_AND_OUTPUT)}
BOTH = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])  # for those that take seconds


@asynccontextmanager
async def running(**settings: Any) -> AsyncGenerator[tuple[Emulator, dict[str, str]]]:
    """An emulator, and the environment in which the programs find it."""
    async with (
        open_emulator(**settings) as emulator,
        httpx.AsyncClient(verify=emulator.ssl_context) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as identity,
    ):
        variables = await environment_of(emulator)

        async def issue(server: Server, stream: ByteStream) -> None:
            token = await identity.get_token(variables["ACS_USER_ID"], ["chat"])
            await answer(200, {"token": token.token})(server, stream)

        async with serve(issue) as token_server:
            yield emulator, {**variables, "TOKEN_SERVER": f"{token_server.url}/token"}


class Person:
    """Reads what a program prints, and enters the codes on another device at once.

    Attributes:
        lines: What was read.
        codes: How many codes were entered.
    """

    def __init__(self, emulator: Emulator, *, declining: bool = False) -> None:
        self._emulator = emulator
        self._declining = declining
        self.lines: list[str] = []
        self.codes = 0

    def read(self, *parts: object, **_options: object) -> None:
        """Take the place of `print`."""
        self.lines.append(" ".join(map(str, parts)))
        for code in re.findall(r"enter the code (\w+)(?!\w)", self.lines[-1]):
            self.codes += 1
            if self._declining and self.codes > 1:
                self._emulator.decline(code)
            else:
                self._emulator.approve(code, "alice")


async def run_program(command: str, environment: dict[str, str], person: Person) -> tuple[str, int | None]:
    """Run an example as a process of its own, with somebody who reads its output; what it printed, and how it ended."""
    name, *arguments = command.split()
    process = await anyio.open_process(
        [sys.executable, "-u", "-W", "error", str(EXAMPLES / name), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    output, line = "", ""
    async with process:
        assert process.stdout is not None
        async for text in TextReceiveStream(process.stdout):
            output += text
            *lines, line = (line + text).split("\n")
            for each in lines:
                person.read(each)
        await process.wait()
    return output, process.returncode


def set_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def written_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(Path(name).stem, EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = module_from_spec(spec)  # frameworks look up annotations there
    spec.loader.exec_module(module)
    return module


def issued(emulator: Emulator) -> int:
    """How many times a token was asked for."""
    return sum("issueAccessToken" in request.path for request in emulator.requests)


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == EXAMPLES_RUN


@pytest.mark.parametrize("name", sorted(EXAMPLES_RUN))
def test_an_example_is_short_and_says_how_to_run_it(name: str) -> None:
    """Under 60 lines of code, below a docstring that ends in the command."""
    text = (EXAMPLES / name).read_text("utf-8")
    docstring, *_ = module = ast.parse(text).body
    assert sum(map(bool, map(str.strip, text.splitlines()[docstring.end_lineno :]))) < 60
    assert f"\n    python {name}" in (ast.get_docstring(ast.Module(module, []), clean=False) or "")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("command", COMMANDS_AND_OUTPUT)
async def test_an_example_runs_with_what_its_docstring_exports(command: str, tmp_path: Path) -> None:
    """As a process of its own, which sees the variables that its docstring names, and warns of nothing."""
    name = command.partition(" ")[0]
    if name == "remembered_sign_in.py" and sys.platform != "linux":
        pytest.skip("it would write into this machine's keyring")
    exported = re.findall(r"^    export (\w+)=", load(name).__doc__ or "", re.MULTILINE)
    async with running(device_code_interval=1) as (emulator, environment):
        emulator.sign_in_as = "alice"
        inherited = {key: value for key, value in os.environ.items() if key not in environment}
        person = Person(emulator)
        output, status = await run_program(
            command,
            {
                **inherited,
                **{key: environment[key] for key in {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", *exported}},
                "BROWSER": f"{sys.executable} {SCRIPTED_BROWSER} %s",
                "DBUS_SESSION_BUS_ADDRESS": "disabled:",  # a session without a keyring
                "HOME": str(tmp_path),
            },
            person,
        )
    assert re.fullmatch(COMMANDS_AND_OUTPUT[command], output), output
    assert status == 0
    assert written_in(tmp_path) == []


THEIR_OWN = {"FLEET_KEY", "FLEET_STORE", "LISTENER_KEY", "REDIS_URL", "TOKEN_SERVER", "TOKEN_STORE_KEYS"}


async def test_a_program_beside_the_emulator_finds_what_the_examples_export() -> None:
    """`acs-credential emulator -- python example.py` sets all but what stands for a server or a store of one's own."""
    async with open_emulator(clock_offset=7200) as emulator:
        variables = await environment_of(emulator)
    exported = {name for path in EXAMPLES.glob("*.py") for name in re.findall(r"    export (\w+)=", path.read_text())}
    assert exported - variables.keys() == THEIR_OWN


async def test_static_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as (_, environment):
        set_environment(monkeypatch, environment)
        await load("static_token.py").main("Lunch")
    assert re.fullmatch(COMMANDS_AND_OUTPUT["static_token.py Lunch"], capsys.readouterr().out)


async def test_injected_bot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The bot opens its threads with one token of the token server."""
    async with running() as (emulator, environment):
        set_environment(monkeypatch, environment)
        await load("injected_bot.py").main("Lunch", "Friday")
        assert issued(emulator) == 1
    assert re.fullmatch(COMMANDS_AND_OUTPUT["injected_bot.py Lunch Friday"], capsys.readouterr().out)


async def test_injected_bot_that_is_not_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token server that refuses is asked once, and its reason reaches the program."""
    async with running() as (_, environment), serve(answer(403)) as refusing:
        set_environment(monkeypatch, environment | {"TOKEN_SERVER": refusing.url})
        with pytest.raises(TokenRefreshError) as caught:
            await load("injected_bot.py").main("Lunch")
        assert caught.value.permanent
        assert isinstance(caught.value.__cause__, TokenSourceError)
        assert len(refusing.requests) == 1


@BOTH
async def test_redis_bot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two pods, one fetches the token; a third one, whose Redis is gone, goes on by itself."""
    with redis_server() as redis:
        store = {"REDIS_URL": redis.url, "TOKEN_STORE_KEYS": Fernet.generate_key().decode()}
        async with running() as (emulator, environment):
            set_environment(monkeypatch, environment | store)
            for _ in range(2):
                await load("redis_bot.py").main("Lunch")
            assert issued(emulator) == 1
            redis.kill()
            await load("redis_bot.py").main("Lunch")
            assert issued(emulator) == 2
        redis.start()
    thread, own = f"Lunch: {THREAD}\n", "the token was fetched by this pod\n"
    assert re.fullmatch(f"{thread}{own}{thread}the token was another pod's\n{thread}{own}", capsys.readouterr().out)


async def test_long_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each renewal is reported, and its token is handed on.

    It answers microsoft/botbuilder-python#596 and microsoft/BotFramework-WebChat#2462.
    """
    lines = await _run_long_session_until("the call goes on", 3, monkeypatch)
    assert [line.partition(" ")[0] for line in lines] == ["the", "renewed:", "the", "renewed:", "the"]


async def test_long_session_of_a_source_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is reported with the time of the next attempt, and the session goes on."""
    lines = await _run_long_session_until("failed", 1, monkeypatch, status=403)
    assert re.fullmatch(r"failed \(ServiceError\): again at \d\d:\d\d:\d\d", lines[-1])


def credentials_of(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[CommunicationTokenCredential]:
    """What the program will open: a test renews its token when it likes, and waits for no end of one."""
    made: list[CommunicationTokenCredential] = []

    def make(*arguments: Any, **options: Any) -> CommunicationTokenCredential:
        made.append(CommunicationTokenCredential(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(program, "CommunicationTokenCredential", make)
    return made


async def _run_long_session_until(
    beginning: str, count: int, monkeypatch: pytest.MonkeyPatch, status: int | None = None
) -> list[str]:
    """Renew its token until it has printed so many lines of that beginning; return all."""
    program = load("long_session.py")
    made = credentials_of(program, monkeypatch)
    printed, lines = anyio.create_memory_object_stream[str](inf)
    monkeypatch.setattr(program, "print", lambda text, **_: printed.send_nowait(text), raising=False)
    seen: list[str] = []
    with printed, lines:
        async with running() as (emulator, environment), anyio.create_task_group() as group:
            set_environment(monkeypatch, environment)
            if status is not None:
                emulator.fail("issueAccessToken", status=status)
            group.start_soon(program.main, inf)
            while True:
                seen.append(await lines.receive())
                if sum(line.startswith(beginning) for line in seen) == count:
                    break
                if seen[-1].startswith("the call goes on"):
                    with suppress(TokenRefreshError):
                        await made[0].refresh()
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
    assert re.fullmatch(COMMANDS_AND_OUTPUT["shared_by_tasks.py"], capsys.readouterr().out)


@BOTH
async def test_teams_phone_bot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through several lives of both its tokens, and a sign-in that ends and is made again."""
    async with bot(monkeypatch) as (emulator, person, lines, renew):
        shown = [await lines.receive()]
        for _ in range(2):
            await renew()
            shown.append(await lines.receive())
        assert person.codes == 1
        emulator.revoke_refresh_tokens("alice")
        with pytest.raises(TokenRefreshError):
            await renew()
        shown.append(await lines.receive())
    assert person.codes == 2
    assert len(set(shown)) == 4
    assert all(re.fullmatch(rf"8:acs:\S+ goes on with {HIDDEN}", line) for line in shown)


@BOTH
async def test_teams_phone_bot_whose_person_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and lives on."""
    async with bot(monkeypatch, declining=True) as (emulator, person, lines, renew):
        assert " goes on with " in await lines.receive()
        emulator.revoke_refresh_tokens("alice")
        with pytest.raises(TokenRefreshError):
            await renew()
        assert (await lines.receive()).startswith("not signed in yet: ")
    assert person.codes == 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_teams_phone_bot_from_nothing(tmp_path: Path) -> None:
    """Without its first step the program says what to run; that allows the person, and the same program goes on."""
    async with running(require_teams_phone_assignment=True, device_code_interval=1) as (emulator, environment):
        inherited = {**os.environ, **environment, "HOME": str(tmp_path)}
        output, status = await run_program("teams_phone_bot.py 1", inherited, Person(emulator))
        assert status == 1
        (command,) = set(re.findall(r"`acs-credential (teams-phone allow \S+ \S+)`", output))
        assert "Traceback" not in output
        allowed = [sys.executable, "-m", "anyio_acs_credential", *command.split()]
        await anyio.run_process(allowed, env=inherited)
        output, status = await run_program("teams_phone_bot.py 1", inherited, Person(emulator))
        assert status == 0
        assert re.fullmatch(COMMANDS_AND_OUTPUT["teams_phone_bot.py 1"], output), output


@asynccontextmanager
async def bot(
    monkeypatch: pytest.MonkeyPatch, *, declining: bool = False
) -> AsyncGenerator[tuple[Emulator, Person, MemoryObjectReceiveStream[str], Callable[[], Awaitable[object]]]]:
    """The bot at work, the person at its terminal, what it prints itself, and what renews after its tokens ended."""
    skip_pauses(monkeypatch)
    clock = Clock(monkeypatch)
    program = load("teams_phone_bot.py")
    made = credentials_of(program, monkeypatch)

    async def renew() -> None:
        clock.ahead += 3 * 3600
        await made[0].refresh()

    printed, lines = anyio.create_memory_object_stream[str](inf)
    monkeypatch.setattr(program, "print", lambda text, **_: printed.send_nowait(text), raising=False)
    with printed, lines:
        async with (
            running(token_lifetime=3600) as (emulator, environment),
            anyio.create_task_group() as group,
        ):
            person = Person(emulator, declining=declining)
            monkeypatch.setattr("builtins.print", person.read)
            set_environment(monkeypatch, environment)
            group.start_soon(program.main, inf)
            yield emulator, person, lines, renew
            group.cancel_scope.cancel()


@BOTH
async def test_desktop_chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The browser follows the sign-in page to the program's own port, and the threads are opened."""
    async with running() as (emulator, environment):
        emulator.sign_in_as = "alice"
        set_environment(monkeypatch, environment)
        await load("desktop_chat.py").main("Lunch", "Friday", open_browser=follow_sign_in)
    assert re.fullmatch(COMMANDS_AND_OUTPUT["desktop_chat.py Lunch Friday"], capsys.readouterr().out)


@BOTH
async def test_desktop_chat_whose_person_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (_, environment):
        set_environment(monkeypatch, environment)
        with pytest.raises(SystemExit, match=r"^Signing in did not work: "):
            await load("desktop_chat.py").main("Lunch", open_browser=partial(follow_sign_in, decision="cancel"))


@BOTH
async def test_desktop_chat_without_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (_, environment):
        set_environment(monkeypatch, environment)
        with pytest.raises(SystemExit, match="no browser could be opened"):
            await load("desktop_chat.py").main("Lunch", open_browser=lambda _: False)


@BOTH
@pytest.mark.parametrize("form", ["before", "after"])
async def test_from_azure_identity(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One code and one exchange, whoever signs in."""
    async with running(device_code_interval=1) as (emulator, environment):
        person = Person(emulator)
        monkeypatch.setattr("builtins.print", person.read)
        set_environment(monkeypatch, environment)
        await load("from_azure_identity.py").main(form)
        assert sum("exchangeAccessToken" in request.path for request in emulator.requests) == 1
    assert re.fullmatch(CODE + TOKEN, "".join(f"{line}\n" for line in person.lines))


def test_from_azure_identity_changes_five_lines() -> None:
    """Five lines of the one become five lines of the other."""
    program = load("from_azure_identity.py")
    for form in (program.before, program.after):
        assert inspect.getsource(form).partition('"""\n')[2].replace("\n\n", "\n").count("\n") == 5


class Keyring(msal_extensions.FilePersistence):  # type: ignore[misc]  # has neither annotations nor stubs
    """What a keyring is to the program: a place that encrypts."""

    is_encrypted = True
    key = Fernet(Fernet.generate_key())

    def save(self, content: str) -> None:
        super().save(self.key.encrypt(content.encode()).decode())

    def load(self) -> str:
        return self.key.decrypt(super().load()).decode()


@BOTH
async def test_remembered_sign_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a keyring, the second run needs nobody, and no token can be read on the disk."""
    skip_pauses(monkeypatch)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(msal_extensions, "build_encrypted_persistence", Keyring)
    async with running() as (emulator, environment):
        person = Person(emulator)
        monkeypatch.setattr("builtins.print", person.read)
        set_environment(monkeypatch, environment)
        for _ in range(2):
            await load("remembered_sign_in.py").main()
        assert re.fullmatch(CODE + 2 * TOKEN, "".join(f"{line}\n" for line in person.lines))
    kept = (tmp_path / ".acs-example" / "tokens").read_text("utf-8")
    assert "RefreshToken" in Keyring.key.decrypt(kept).decode()
    assert "RefreshToken" not in kept


@BOTH
@pytest.mark.skipif(sys.platform != "linux", reason="Windows and macOS always have a keyring")
async def test_remembered_sign_in_without_a_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says so, with the fix, writes nothing, and signs the person in each time."""
    skip_pauses(monkeypatch)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "gi", None)  # as where PyGObject is not installed
    async with running() as (emulator, environment):
        person = Person(emulator)
        monkeypatch.setattr("builtins.print", person.read)
        set_environment(monkeypatch, environment)
        for _ in range(2):
            await load("remembered_sign_in.py").main()
    output = "".join(f"{line}\n" for line in person.lines)
    assert re.fullmatch(2 * COMMANDS_AND_OUTPUT["remembered_sign_in.py"], output), output
    assert written_in(tmp_path) == []
