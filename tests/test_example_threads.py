"""The examples whose tokens are asked for in threads, in notebooks and by services: run as their users start them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from anyio import from_thread, to_thread
from anyio.streams.text import TextReceiveStream
from entra_users import Clock, skip_pauses
from servers import Server, answer, serve
from test_access_key import KEY
from test_examples import (
    BOTH,
    CODE,
    EXAMPLES,
    HIDDEN,
    THREAD,
    Person,
    credentials_of,
    issued,
    load,
    running,
    set_environment,
)

from anyio_acs_credential import CommunicationTokenCredential, CredentialClosedError, CredentialUsageError
from anyio_acs_credential.testing import ScriptedSource, make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from pathlib import Path

    from anyio.abc import ByteStream, Process

    from anyio_acs_credential.emulator import Emulator

NOTEBOOK = EXAMPLES / "notebook.ipynb"
SDK = "CONNECTIONS__SERVICE_CONNECTION__SETTINGS"
ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal to end a program with")
ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # of the emulator: the programs have their own


class Program:
    """An example at work.

    Attributes:
        address: Where it listens.
        emulator: Where it gets its tokens.
        output: What it has printed when it has ended.
    """

    def __init__(self, process: Process, address: str, emulator: Emulator) -> None:
        self._process = process
        self._told = False
        self.address = address
        self.emulator = emulator
        self.output = ""

    def end(self, by: signal.Signals = signal.SIGINT) -> None:
        """Tell it to end, once."""
        if not self._told:
            self._told = True
            self._process.send_signal(by)


NOT_OURS = {  # warnings of the SDK, and of uvicorn's supervisor
    "agents_bot.py": "It is recommended to use web.",
    "several_workers.py": "unclosed <socket",
}


@asynccontextmanager
async def started(name: str, *, hang: bool = False, **changes: str) -> AsyncGenerator[Program]:
    """A server among the examples, for the length of the block; it ends well, and at once, when it is told to."""
    async with running() as (emulator, environment):
        if hang:
            emulator.hang("issueAccessToken")
        quiet = [f"-Wignore:{NOT_OURS[name]}"] if name in NOT_OURS else []
        process = await anyio.open_process(
            [sys.executable, "-u", "-W", "error", *quiet, str(EXAMPLES / name), "0"],
            env={**os.environ, **environment, f"{SDK}__ANONYMOUS_ALLOWED": "true", **changes},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        async with process:
            text, output = "", TextReceiveStream(process.stdout)
            try:
                while not (listening := re.search(r"(?<!https://)127\.0\.0\.1:\d+(?=\D)", text)):
                    text += await output.receive()
                program = Program(process, listening[0], emulator)
                yield program
                program.end()
                with anyio.fail_after(40):
                    async for more in output:
                        program.output += more
                    assert await process.wait() == 0, program.output
            finally:
                if process.returncode is None:
                    process.kill()
        assert "Traceback" not in program.output, program.output
        assert "Warning" not in program.output, program.output


async def post(address: str, path: str, content: Any = None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as client:
        return await client.post(path, json=content)


async def no_longer_listening(address: str) -> None:
    host, port = address.split(":")
    with suppress(OSError):
        while True:
            await (await anyio.connect_tcp(host, int(port))).aclose()


async def ask_flask(address: str) -> str:
    answer = await post(address, "/threads/Lunch")
    assert answer.status_code == 201
    assert answer.json()["topic"] == "Lunch"
    return str(answer.json()["id"])


async def ask_trio(address: str, topic: bytes = b"Lunch") -> str:
    host, port = address.split(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(topic)
        answer = b""
        with anyio.fail_after(40):
            try:
                while True:
                    answer += await stream.receive()
            except anyio.EndOfStream:
                return answer.decode()


async def ask_bot(address: str) -> str:
    """Be the channel that hands the bot a message, and wants the reply with the answer."""
    message = {
        "type": "message",
        "text": "Lunch",
        "channelId": "test",
        "serviceUrl": f"http://{address}",
        "deliveryMode": "expectReplies",
        "conversation": {"id": "a conversation"},
        "from": {"id": "a person"},
        "recipient": {"id": "the bot"},
    }
    (reply,) = (await post(address, "/api/messages", message)).raise_for_status().json()["activities"]
    assert reply["recipient"]["id"] == "a person"
    return str(reply["text"]).removeprefix("Let us talk: ")


def read_notebook(path: Path = NOTEBOOK) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def new_cell(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": None, "id": name, "metadata": {}, "outputs": [], "source": source}


WEB_APPS: dict[str, Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]] = {
    "fastapi_app.py": lambda client: client.post("/threads/Lunch"),
    "litestar_app.py": lambda client: client.post("/threads/Lunch"),
    "quart_app.py": lambda client: client.post("/threads/Lunch"),
    "web_api.py": lambda client: client.post("/token"),
    "web_sign_in.py": lambda client: client.get("/"),
    "websocket_updates.py": lambda client: client.get("/tokens"),
}
SERVERS: dict[str, Callable[[str], Awaitable[str]]] = {
    "agents_bot.py": ask_bot,
    "flask_app.py": ask_flask,
    "trio_service.py": ask_trio,
}


@pytest.fixture(autouse=True)
def hearing_ctrl_c() -> Iterator[None]:
    """A shell's background jobs are born deaf to it, and so would be the programs that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_notebook_is_short() -> None:
    """Under 60 lines."""
    assert sum(len(cell["source"]) for cell in read_notebook()["cells"]) < 60


@ON_POSIX
@ON_ASYNCIO
@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_whose_clients_all_ask_at_once(name: str) -> None:
    """Each gets an answer, and all of them one token."""
    async with started(name) as program:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await SERVERS[name](program.address))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
        assert len({answer for answer in answers if re.fullmatch(THREAD, answer)}) == 20, answers
        assert issued(program.emulator) == 1


@ON_POSIX
@ON_ASYNCIO
@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_that_ends_in_the_middle_of_a_refresh(name: str) -> None:
    """It ends at once, and says nothing of it."""
    async with started(name, hang=True) as program:
        if name == "flask_app.py":
            await post(program.address, "/nowhere")  # it says where it will be a moment before it is there
        while issued(program.emulator) < 1:  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(0.001)


@ON_POSIX
@ON_ASYNCIO
async def test_web_apps_run_with_what_their_docstrings_export() -> None:
    """Each as a process of its own, until Ctrl-C; what it does there is tested in test_example_web.py."""
    answered = {}

    async def run(name: str) -> None:
        async with (
            started(name, LISTENER_KEY="a key") as program,
            httpx.AsyncClient(base_url=f"http://{program.address}", timeout=40) as client,
        ):
            answered[name] = (await WEB_APPS[name](client)).status_code

    async with anyio.create_task_group() as group:
        for name in WEB_APPS:
            group.start_soon(run, name)
    assert list(dict(sorted(answered.items())).values()) == [201, 201, 201, 401, 302, 404]


@ON_POSIX
@ON_ASYNCIO
async def test_trio_service_ends_while_a_client_waits_for_the_token() -> None:
    """By SIGTERM, as a container's; the client is hung up on."""

    async def ask(address: str) -> None:
        with suppress(anyio.BrokenResourceError):  # where its topic was not read yet
            assert await ask_trio(address) == ""

    async with (
        anyio.create_task_group() as group,
        started("trio_service.py", hang=True) as program,
    ):
        group.start_soon(ask, program.address)  # noqa: ASYNC111 - it outlives the program, which hangs up on it
        while issued(program.emulator) < 1:  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(0.001)
        program.end(signal.SIGTERM)


@ON_POSIX
@ON_ASYNCIO
async def test_flask_app_ends_when_it_has_answered() -> None:
    """A request that has begun keeps its token and its connections until it is answered; no other is accepted."""
    user = {"identity": {"id": "8:acs:ada"}}
    token = {"token": make_jwt(), "expiresOn": f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}
    begun, ending = anyio.Event(), anyio.Event()

    async def open_thread(server: Server, stream: ByteStream) -> None:
        begun.set()
        await ending.wait()
        await answer(201, {"chatThread": {"id": "a thread"}})(server, stream)

    async def ask(address: str) -> None:
        assert (await post(address, "/threads/Lunch")).json() == {"id": "a thread"}

    async with serve(answer(201, user), answer(200, token), open_thread) as service, anyio.create_task_group() as group:
        connection_string = f"endpoint={service.url}/;accesskey={KEY}"
        async with started("flask_app.py", ACS_CONNECTION_STRING=connection_string) as program:
            group.start_soon(ask, program.address)  # noqa: ASYNC111 - it ends with the program
            await begun.wait()
            await post(program.address, "/nowhere")  # Ctrl-C closes the connection whose thread is just being started
            program.end()
            await no_longer_listening(program.address)
            ending.set()


@ON_POSIX
@ON_ASYNCIO
async def test_trio_service_keeps_what_goes_wrong_to_one_client() -> None:
    """A client that sends nonsense gets no answer, the log says why, and the next client is served."""
    async with started("trio_service.py") as program:
        assert await ask_trio(program.address, b"\xff") == ""
        assert re.fullmatch(THREAD, await ask_trio(program.address))
    assert re.fullmatch(r"\s*a client got no answer: UnicodeDecodeError\(.*\)\n", program.output)


@BOTH
async def test_threaded_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its threads share one token, on whatever event loop that is kept."""
    async with running() as (emulator, environment):
        set_environment(monkeypatch, environment)
        await load("threaded_program.py").main(*"abcdefgh")
        assert issued(emulator) == 1
    assert re.fullmatch("".join(rf"{topic}: {THREAD}\n" for topic in "abcdefgh"), capsys.readouterr().out)


@BOTH
async def test_teams_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person's Entra tokens are exchanged one after the other, and nobody is asked again."""
    skip_pauses(monkeypatch)
    clock = Clock(monkeypatch)
    program = load("teams_user.py")
    made = credentials_of(program, monkeypatch)
    seen: list[str] = []
    printed, lines = anyio.create_memory_object_stream[str](inf)
    async with (
        printed,
        lines,
        running(token_lifetime=3600) as (emulator, environment),
        anyio.create_task_group() as group,
    ):
        person = Person(emulator)
        monkeypatch.setattr("builtins.print", person.read)
        set_environment(monkeypatch, environment)
        monkeypatch.setattr(program, "print", lambda text, **_: printed.send_nowait(text), raising=False)
        group.start_soon(program.main, inf)
        for _ in range(3):
            seen.append(await lines.receive())
            clock.ahead += 3 * 3600  # both its tokens end
            await made[0].refresh()
        group.cancel_scope.cancel()
    user = emulator.add_user("alice")
    assert all(re.fullmatch(rf"8:orgid:{user} goes on with {HIDDEN}", line) for line in seen), seen
    assert len(set(seen)) == 3
    assert person.codes == 1
    assert all(re.fullmatch(CODE, f"{line}\n") for line in person.lines)


@BOTH
async def test_teams_user_whose_person_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_pauses(monkeypatch)
    async with running() as (emulator, environment):
        person = Person(emulator, declining=True)
        person.codes = 1
        monkeypatch.setattr("builtins.print", person.read)
        set_environment(monkeypatch, environment)
        with pytest.raises(SystemExit, match=r"^Signing in did not work: "):
            await load("teams_user.py").main(60)


WRONG_PLACES = """
from anyio_acs_credential import CredentialUsageError

try:
    await credential.get_token()
except CredentialUsageError as error:
    print(error)
try:
    portal.call(credential.get_token_from_thread)
except CredentialUsageError as error:
    print(error)
"""
AFTERWARDS = """
from anyio_acs_credential import CredentialClosedError

try:
    credential.get_token_from_thread()
except CredentialClosedError as error:
    print(error)
"""


@ON_ASYNCIO
async def test_notebook(tmp_path: Path) -> None:
    """Its cells share one token; what a cell may not do is an error that says so; the last cell closes it."""
    notebook, copy = read_notebook(), tmp_path / "notebook.ipynb"
    notebook["cells"].insert(-1, new_cell("wrong-places", WRONG_PLACES))
    notebook["cells"].append(new_cell("afterwards", AFTERWARDS))
    copy.write_text(json.dumps(notebook), "utf-8")
    async with running() as (emulator, environment):
        done = await anyio.run_process(
            [sys.executable, "-m", "jupyter", "execute", "--inplace", str(copy)],
            env={**os.environ, **environment, "IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(EXAMPLES.parent)},
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()
        assert issued(emulator) == 1
    outputs = [cell["outputs"] for cell in read_notebook(copy)["cells"] if cell.get("outputs")]
    printed = ["".join(line for output in each for line in output["text"]) for each in outputs]
    assert re.fullmatch(rf"({THREAD}\n){{3}}", printed[0])
    assert re.fullmatch(rf"{HIDDEN}\n", printed[1])
    told = ["".join(line + "\n" for line in text.splitlines()) for text in printed[2:]]
    assert told == [f"{OTHER_LOOP}\n{OWN_THREAD}\n", f"{CLOSED}\n"]


def test_the_notebook_is_kept_without_what_it_printed() -> None:
    for cell in read_notebook()["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


# The recipe of Flask's app and the notebook: what is tried in a wrong place says so.

OTHER_LOOP = (
    "the credential was entered in another event loop; from other threads use get_token_from_thread(), "
    "and in a second event loop enter a credential of its own"
)
OWN_THREAD = "the event loop's own thread would wait for itself here: await get_token()"
CLOSED = "the credential is closed; use it inside its `async with` block, or enter it again"


@pytest.fixture(params=["asyncio", "trio"])
def portal(request: pytest.FixtureRequest) -> Iterator[from_thread.BlockingPortal]:
    with from_thread.start_blocking_portal(request.param) as portal:
        yield portal


@pytest.mark.promise("R13")
@pytest.mark.parametrize("fresh", [True, False])
def test_a_portals_credential_in_another_event_loop(portal: from_thread.BlockingPortal, fresh: bool) -> None:
    """It is refused at once, and nothing is left waiting; in a thread of that event loop it is well."""
    source = ScriptedSource(3600 if fresh else anyio.sleep_forever)
    credential = CommunicationTokenCredential(token_refresher=source)

    async def ask_in_a_thread() -> None:
        assert await to_thread.run_sync(credential.get_token_from_thread) == portal.call(credential.get_token)

    with portal.wrap_async_context_manager(credential):
        if fresh:
            portal.call(credential.get_token)
            anyio.run(ask_in_a_thread)
        with pytest.raises(CredentialUsageError, match=re.escape(OTHER_LOOP)):
            anyio.run(credential.get_token)
        assert credential.statistics().waiting == 0


@pytest.mark.promise("R13")
def test_a_portals_own_thread(portal: from_thread.BlockingPortal) -> None:
    """What the portal runs would wait for itself."""
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))
    with (
        portal.wrap_async_context_manager(credential),
        pytest.raises(CredentialUsageError, match=re.escape(OWN_THREAD)),
    ):
        portal.call(credential.get_token_from_thread)


@pytest.mark.promise("R13")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_portal_that_has_stopped(backend: str) -> None:
    """Its credential is closed, for everybody who still has it."""
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))
    with from_thread.start_blocking_portal(backend) as portal, portal.wrap_async_context_manager(credential):
        credential.get_token_from_thread()
    for ask in (credential.get_token_from_thread, credential.get_token_nowait):
        with pytest.raises(CredentialClosedError, match=re.escape(CLOSED)):
            ask()


@pytest.mark.promise("R13")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_portal_that_stops_while_a_thread_waits(backend: str) -> None:
    """The thread is told at once, however long it would have waited."""
    asked = threading.Event()
    told: list[BaseException] = []

    async def never() -> None:
        asked.set()
        await anyio.sleep_forever()

    credential = CommunicationTokenCredential(token_refresher=never, proactive_refresh=False)  # type: ignore[arg-type]  # it never returns

    def ask() -> None:
        try:
            credential.get_token_from_thread()
        except CredentialClosedError as error:
            told.append(error)

    with from_thread.start_blocking_portal(backend) as portal, portal.wrap_async_context_manager(credential):
        thread = threading.Thread(target=ask)
        thread.start()
        asked.wait()
    thread.join()
    assert [str(error) for error in told] == [CLOSED]
