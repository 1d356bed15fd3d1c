"""The demonstration with several processes: what it shows, its workers, and that nothing of it is left behind."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from command_line import ON_POSIX, a_terminal, finish, start
from entra_users import skip_pauses

from anyio_acs_credential import CommunicationIdentityClient
from anyio_acs_credential.cli import main
from anyio_acs_credential.cli._demo._crew import FEWEST, MOST, Crew
from anyio_acs_credential.cli._demo._facts import SignIn, TokenRequest
from anyio_acs_credential.cli._demo._story import Story

click = pytest.importorskip("click", reason="the command line is an extra")
rich_console = pytest.importorskip("rich.console", reason="the live view is an extra")

from anyio_acs_credential.cli._demo import _fleet, _processes, _run, _users, _worker  # noqa: E402 - as the extras
from anyio_acs_credential.cli._demo._crew_report import CrewReport  # noqa: E402 - likewise
from anyio_acs_credential.cli._demo._live import LEAST_WIDTH, headline, least_height, picture, result  # noqa: E402
from anyio_acs_credential.cli._demo._report import Report  # noqa: E402
from anyio_acs_credential.cli._demo._scenario import _http_client  # noqa: E402
from anyio_acs_credential.emulator import Emulator, open_emulator  # noqa: E402

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

NOW = 1_800_000_000


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Two of the event loops: processes are started."""
    pytest.importorskip(request.param)
    backend: str = request.param
    return backend


# What is told


class Told:
    """A run of 20 seconds whose time is set by hand, and what its workers tell of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int = 3, *, entra: bool = False) -> None:
        self.crew = Crew.of(workers)
        self.story = Story(20, entra, self.crew, began=0.0)
        self.now = 0.0
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: NOW + self.now)
        for module in ("_story", "_report"):
            monkeypatch.setattr(f"anyio_acs_credential.cli._demo.{module}.time", clock)
        nothing = cast("Emulator", SimpleNamespace(requests=()))
        self.report = CrewReport(self.story, self.crew, Report(self.story, nothing))

    def token(self, number: int, expires_at: int, *, shared: bool) -> None:
        """A worker tells that it has a token, which is to be renewed at half of its life."""
        renew_on = NOW + (self.now + expires_at) / 2
        message = {"told": "token", "expires_on": NOW + expires_at, "renew_on": renew_on, "shared": shared}
        self.report.hear(self.crew.workers[number - 1], message)
        if not shared:
            self.story.token_requests.append(TokenRequest(self.now, 200))

    def life(self, at: float, fetcher: int) -> None:
        """All who are up get the next token, one of them from the service."""
        self.now = at
        up = [worker.number for worker in self.crew.workers if not worker.is_down]
        for number in sorted(up, key=lambda each: each != fetcher):
            self.token(number, int(at) + 7, shared=number != fetcher)

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.story.events]

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.story.events]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def tell_it_all(told: Told, *, back: bool = True) -> None:
    """Two lives; the second's fetcher is killed; a third life; it is back; a fourth."""
    told.life(1.0, fetcher=1)
    told.life(4.0, fetcher=2)
    told.now = 5.5
    told.report.kill(told.crew.workers[1])
    told.life(8.0, fetcher=3)
    if back:
        told.now = 9.0
        told.report.start_again(told.crew.workers[1])
        told.now = 9.5
        told.token(2, 15, shared=True)
        told.life(12.0, fetcher=3)


def test_where_each_token_came_from(told: Told) -> None:
    """Tokens are counted from 1, in the order in which they are heard of; who fetched and who took is told."""
    told.now = 1.0
    told.token(2, 8, shared=False)
    told.token(1, 8, shared=True)
    told.now = 4.5
    told.token(3, 11, shared=True)  # pipes are read in any order
    assert told.texts == [
        "worker 2 fetched token 1, good for 7.0 s",
        "worker 1 took token 1 from the store, good for 7.0 s",
        "worker 3 took token 2 from the store, good for 6.5 s",
    ]
    assert told.kinds == ["token_fetched", "token_shared", "token_shared"]
    assert told.story.events[0].details == {"worker": 2, "number": 1, "life": 7.0}
    assert [round(token.renew_at, 3) for token in told.story.tokens] == [4.5, 7.75]
    assert (told.crew.fetched, told.crew.shared) == (1, 2)
    assert told.crew.last_fetcher is told.crew.workers[1]


def test_a_worker_is_killed_and_comes_back(told: Told) -> None:
    """It is back with its first token; until it starts again, what is left in its pipe is not listened to."""
    tell_it_all(told)
    story = [text for event, text in zip(told.story.events, told.texts, strict=True) if "worker_" in event.kind]
    assert story == [
        "worker 2, which fetched token 2, was killed (kill -9)",
        "worker 2 is started again",
        "worker 2 is back, 4.0 s after it was killed",
    ]
    assert told.crew.death
    assert (told.crew.death.began, told.crew.death.ended) == (5.5, 9.5)


def test_what_a_dead_worker_has_written_is_not_heard(told: Told) -> None:
    told.life(1.0, fetcher=1)
    told.report.kill(told.crew.workers[0])
    heard = len(told.story.events)
    told.token(1, 99, shared=False)
    told.report.hear(told.crew.workers[0], {"told": "answer", "problem": ""})
    assert (len(told.story.events), told.story.sent) == (heard, 0)
    assert told.crew.all_hold(1)  # of those who are up
    assert not told.crew.all_hold(2)


def test_answers_and_failures_name_their_worker(told: Told) -> None:
    worker = told.crew.workers[1]
    told.report.hear(worker, {"told": "answer", "problem": ""})
    told.report.hear(worker, {"told": "answer", "problem": "its answer is 500"})
    told.report.hear(worker, {"told": "failure", "error": "ServiceError: no"})
    told.report.hear(worker, {"told": "fault", "error": "it ends"})
    assert (told.story.sent, told.story.failed) == (2, 1)
    assert told.texts == [
        "worker 2: a request failed: its answer is 500",
        "worker 2 has no new token: ServiceError: no",
    ]


# What it shows


def shown(what: object, width: int = 80) -> list[str]:
    console = rich_console.Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_bar_for_each_worker(told: Told) -> None:
    """What is left of its token, which that is, and where it came from."""
    tell_it_all(told, back=False)
    lines = shown(picture(told.story, 11.5, 80, 24))
    one, two, three = (next(line for line in lines if f"worker {n} " in line) for n in (1, 2, 3))
    assert one.endswith("  token 3, from the store")
    assert two.endswith("░  killed")
    assert three.endswith("  token 3, its own fetch")
    assert {line.count("█") for line in (one, three)} == {17}
    assert {line.count("█") + line.count("░") for line in (one, two, three)} == {34}
    (mark,) = [line for line in lines if "▲ renewal" in line]
    assert mark.index("▲") == 2 + 16 + 17


def test_a_worker_that_starts(told: Told) -> None:
    lines = shown(picture(told.story, 0.5, 80, 24))
    assert sum(line.endswith("░  starting") for line in lines) == 3


def test_a_token_that_is_heard_of_too_late(told: Told) -> None:
    """Where the machine stood still for longer than it lives."""
    told.now = 9.0
    told.token(1, 8, shared=False)
    told.token(2, 9, shared=False)
    assert sum(line.endswith("░  starting") for line in shown(picture(told.story, 9.0, 80, 24))) == 1


@pytest.mark.parametrize("workers", [FEWEST, 4, MOST])
@pytest.mark.parametrize("entra", [False, True])
def test_the_picture_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, workers: int, entra: bool) -> None:
    """However many they are, in 24 rows too; the last thing that happened is always in it."""
    for back in (None, False, True):
        told = Told(monkeypatch, workers, entra=entra)
        told.story.sign_in = SignIn(0.5, "https://127.0.0.1:65535/device", "ABCDEFGHJ") if entra else None
        told.story.entra_tokens = [0.9] if entra else []
        if back is not None:
            tell_it_all(told, back=back)
        for width, height in ((LEAST_WIDTH, least_height(told.story)), (80, 24), (120, 40), (300, 90)):
            assert height <= 24 or width > 80
            lines = shown(picture(told.story, 13.0, width, height), width)
            assert len(lines) <= height
            assert max(map(len, lines)) <= width
            assert not any(line.endswith("…") for line in lines)
            assert not told.texts or told.texts[-1] in lines[-1]


@pytest.mark.parametrize(
    ("now", "back", "said"),
    [
        (0.5, None, "… starting a Communication Services emulator"),
        (6.0, False, "✗ KILLED: worker 2. The others go on"),
        (10.0, True, "✓ Worker 2 is back, and no request has failed"),
        (19.0, True, "✓ One worker fetches each token"),
    ],
)
def test_the_headline_says_what_goes_on(told: Told, now: float, back: bool | None, said: str) -> None:
    if back is not None:
        tell_it_all(told, back=back)
    assert said in headline(told.story, now)[0]


def test_before_anybody_is_killed_the_headline_says_how_it_works(told: Told) -> None:
    told.life(1.0, fetcher=1)
    assert headline(told.story, 2.0)[0] == "✓ One worker fetches each token, and the others take it from the store."
    told.story.failed = 1
    assert headline(told.story, 2.0)[0] == "✗ 1 of 0 requests failed"


def test_the_chart_shows_the_death(told: Told) -> None:
    """A column is a third of a second at 80 columns."""
    tell_it_all(told, back=False)
    (dead,) = [line[18:] for line in shown(picture(told.story, 9.0, 80, 24)) if line.startswith("  trouble ")]
    assert dead == f"{' ' * 16}▼ 2 killed{'▒' * 2}"
    told.now = 10.9
    told.report.start_again(told.crew.workers[1])
    told.token(2, 15, shared=True)
    (back,) = [line[18:] for line in shown(picture(told.story, 12.0, 80, 24)) if line.startswith("  trouble ")]
    assert back == f"{' ' * 16}▼ 2 killed{'▒' * 6}▲ back"


@pytest.mark.parametrize("entra", [False, True])
def test_the_sums_say_what_sharing_was_good_for(monkeypatch: pytest.MonkeyPatch, entra: bool) -> None:
    """How many requests a token's life cost the service, and what they would be without."""
    told = Told(monkeypatch, entra=entra)
    tell_it_all(told)
    told.story.answers, told.story.entra_tokens = [1.0] * 500, [0.5, 3.5]
    lines = [line.strip() for line in shown(result(told.story, 20, 80))][:-1]
    of_entra = ["1 sign-in, and 2 Entra tokens from it; 0 claims challenges met."] if entra else []
    noun = "exchange" if entra else "token request"
    assert lines[-4 - entra :] == [
        "✓ No request failed: 500 were sent and answered.",
        *of_entra,
        "4 tokens fetched by 3 workers, and 8 taken from the store.",
        f"The service saw 1 {noun} a token life; without sharing, 3.",
        "Worker 2 was killed, and was back 4.0 s later.",
    ]
    sums = told.story.summary()
    assert (sums["workers"], sums["tokens_fetched"], sums["tokens_shared"], sums["token_lives"]) == (3, 4, 8, 4)
    assert (sums["token_requests_a_life"], sums["token_requests_a_life_without_sharing"]) == (1.0, 3)


def test_the_sums_are_measured(told: Told) -> None:
    """Workers that do not share are seen to cost what they cost; before there is a token, nothing is divided."""
    assert told.story.requests_a_life == 0.0
    for at in (1.0, 4.0):
        told.now = at
        for number in (1, 2, 3):
            told.token(number, int(at) + 7, shared=False)
    assert told.story.requests_a_life == 3.0
    told.token(1, 20, shared=False)
    assert told.story.requests_a_life == 2.3
    lines = [line.strip() for line in shown(result(told.story, 20, 80))][:-1]
    assert lines[-2:] == [
        "7 tokens fetched by 3 workers, and 0 taken from the store.",
        "The service saw 2.3 token requests a token life; without sharing, 3.",
    ]
    assert "workers" not in Story(20).summary()
    assert Story(20).requests_a_life == 0.0


def test_the_headline_before_there_is_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Service and workers start; then a person signs in."""
    story = Told(monkeypatch, entra=True).story
    story.began = None
    assert "starting the workers, and a" in headline(story, 0.0)[0]
    story.began, story.sign_in = 0.0, SignIn(0.5, "https://127.0.0.1:65535/device", "ABCDEFGHJ")
    assert "enter ABCDEFGHJ" in headline(story, 1.0)[0]


# How it is run


def test_so_many_workers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They share a file in a folder of their own, which only this user can enter, and which is gone at the end."""
    seen: list[Any] = []

    async def scenario(story: Story, crew: Crew, path: str, backend: str) -> None:
        await anyio.lowlevel.checkpoint()
        folder = Path(path).parent
        seen.extend(
            [story.entra, len(crew.workers), story.crew is crew, folder.stat().st_mode & 0o777, folder, backend]
        )
        story.over = True

    monkeypatch.setattr(_run, "run_fleet", scenario)
    assert main(["demo", "--workers", "3", "--entra", "--backend", "asyncio", "--json"]) == 0
    *facts, folder, backend = seen
    assert (facts, backend) == ([True, 3, True, 0o700], "asyncio")
    assert not folder.exists()
    assert json.loads(capsys.readouterr().out)["workers"] == 3


@pytest.mark.parametrize(("lines", "is_picture"), [("24", True), ("20", False)])
def test_a_terminal_that_is_too_low_for_them_gets_lines(
    lines: str, is_picture: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(story: Story, *_: object) -> None:
        await anyio.lowlevel.checkpoint()
        story.over = True

    monkeypatch.setattr(_run, "run_fleet", scenario)
    terminal = a_terminal(monkeypatch, LINES=lines)
    assert main(["demo", "--workers", str(MOST)]) == 0
    assert ("worker 8" in terminal.getvalue()) is is_picture
    assert ("no request failed" in terminal.getvalue()) is not is_picture


@pytest.mark.parametrize("number", ["1", "9", "four"])
def test_too_few_or_too_many(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--workers", number]) == 2
    assert f"give whole numbers from 2 to 8, not '{number}'" in capsys.readouterr().err


def test_help_teaches_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--help"]) == 0
    assert "acs-credential demo --workers 4  " in capsys.readouterr().out


# A worker, in this process


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@asynccontextmanager
async def an_assignment(path: Path, *, entra: bool = False) -> AsyncGenerator[_worker.Assignment]:
    """At an emulator whose tokens last."""
    async with (
        open_emulator() as emulator,
        _http_client(emulator) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as identities,
    ):
        story = Story(600, entra, Crew.of(2))
        stage = _users.Stage(story, Report(story, emulator), emulator, http, identities)
        yield await _fleet._assignment(stage, cast("Crew", story.crew), str(path / "tokens.db"), "asyncio")


@pytest.mark.parametrize("entra", [False, True])
async def test_workers_share_what_one_of_them_fetches(
    directory: Path, monkeypatch: pytest.MonkeyPatch, entra: bool
) -> None:
    """Two, one after the other: the first fetches and the second takes it; a person has signed in once for both."""
    skip_pauses(monkeypatch)
    monkeypatch.setattr(_users, "sleep", anyio.sleep if not entra else skip)
    told: list[dict[str, Any]] = []
    async with an_assignment(directory, entra=entra) as assignment:
        for _ in range(2):
            answered = anyio.Event()

            def tell(message: dict[str, Any], answered: anyio.Event = answered) -> None:
                told.append(message)
                if message["told"] == "answer":
                    answered.set()

            with anyio.fail_after(50):
                await _worker.work(replace(assignment, pause=0.01), answered.wait, tell)
    tokens = [message for message in told if message["told"] == "token"]
    assert [token["shared"] for token in tokens] == [False, True]
    assert len({token["expires_on"] for token in tokens}) == 1
    assert {message["problem"] for message in told if message["told"] == "answer"} == {""}
    assert {message["told"] for message in told} == {"token", "answer"}
    assert assignment.encryption_key not in repr(assignment)
    assert assignment.connection_string not in repr(assignment)


async def skip(_seconds: float) -> None:
    await anyio.lowlevel.checkpoint()


async def test_a_worker_that_gets_no_token_tells_why(directory: Path) -> None:
    """As the service does; a request that finds no token has failed."""
    async with an_assignment(directory) as assignment:
        told: list[dict[str, Any]] = []
        answered = anyio.Event()

        def tell(message: dict[str, Any]) -> None:
            told.append(message)
            if message["told"] == "answer":
                answered.set()

        wrong = replace(assignment, user="8:acs:nobody_here")
        with anyio.fail_after(50):
            await _worker.work(wrong, answered.wait, tell)
    failure, answer = (next(each for each in told if each["told"] == kind) for kind in ("failure", "answer"))
    assert failure["error"].startswith("ServiceError: ")
    assert answer["problem"] == "TokenRefreshError"
    assert assignment.connection_string.partition("accesskey=")[2] not in repr(told)


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets what standard input holds until it ends; afterwards, Ctrl-C is handled as before."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    signal.signal(signal.SIGINT, before)


def an_assignment_without_a_service(**changes: Any) -> _worker.Assignment:
    plain = _worker.Assignment("asyncio", "", "https://127.0.0.1:9", "nowhere.pem", "t", "k", "u", 7, 0.08)
    return replace(plain, **changes)


def test_a_worker_whose_demonstration_has_ended_does_nothing(
    standard_input: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does a Ctrl-C at the terminal end it: the demonstration does."""
    standard_input("")
    _worker.main()
    assert capsys.readouterr().out == '{"told": "ready"}\n'
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_worker_does_as_it_is_told_to_the_end_of_its_input(
    backend: str, standard_input: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(backend)
    seen: list[object] = []

    async def work(assignment: _worker.Assignment, end: Callable[[], Awaitable[str]], _tell: object) -> None:
        seen.extend([assignment, await end()])

    monkeypatch.setattr(_worker, "work", work)
    told = an_assignment_without_a_service(backend=backend)
    standard_input(told.to_line().decode() + "the rest")
    _worker.main()
    assert seen == [told, "the rest"]


def test_a_worker_that_cannot_go_on_says_why(
    standard_input: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """In its last line, and without a secret; also where nobody reads it any more."""
    standard_input(an_assignment_without_a_service(ca_file="/nowhere.pem").to_line().decode())
    _worker.main()
    ready, fault = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready == {"told": "ready"}
    assert fault == {
        "told": "fault",
        "error": "FileNotFoundError: [Errno 2] No such file or directory",
    }


def test_what_one_of_several_errors_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a task group, the first; a key in it is not told."""
    secret = "Y2FuYXJ5" * 8
    error = ExceptionGroup("", [ExceptionGroup("", [ValueError(f"accesskey={secret}")])])
    assert _worker._described(error) == "ValueError: accesskey=[redacted]"


# Its process


class Heard:
    """What a process writes."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.event = anyio.Event()

    def listen(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        event, self.event = self.event, anyio.Event()
        event.set()

    async def until(self, number: int) -> None:
        while len(self.lines) < number:
            await self.event.wait()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what a worker's Python runs."""

    def set_it(text: str) -> None:
        monkeypatch.setattr(_processes, "PROGRAM", text)

    return set_it


READY = """
import json, os, sys
print(json.dumps({"told": "ready", "pid": os.getpid()}), flush=True)
"""
ECHOES = """
print(json.dumps({"told": "echo", "line": sys.stdin.readline()}), flush=True)
sys.stdin.read()
print("{", end="")
"""


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def give() -> _worker.Assignment:
    await anyio.lowlevel.checkpoint()
    return an_assignment_without_a_service()


async def test_a_process_ends_when_it_is_told(program: Callable[[str], None]) -> None:
    """It has its assignment; half a line counts for nothing; before it is there, and after, nothing is asked of it."""
    program(READY + ECHOES)
    heard = Heard()
    process = _processes.WorkerProcess(give, heard.listen)
    process.kill()
    await process.end()
    statuses: list[int] = []

    async def run() -> None:
        statuses.append(await process.run())

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        with anyio.fail_after(50):
            await heard.until(2)
        await process.end()
    assert statuses == [0]
    assert heard.lines[1] == {"told": "echo", "line": (await give()).to_line().decode()}
    assert len(heard.lines) == 2
    process.kill()


BROKEN = """
import anyio
from anyio_acs_credential.cli._demo import _worker

async def work(assignment, end, tell):
    async with anyio.create_task_group() as group:
        group.start_soon(end)
        await anyio.wait_all_tasks_blocked()
        raise ValueError("broken")

_worker.work = work
_worker.main()
"""


async def test_a_process_ends_when_it_cannot_go_on(program: Callable[[str], None], anyio_backend: str) -> None:
    """It waits no longer to be told, or nobody would learn why."""
    program(BROKEN)
    heard = Heard()

    async def assign() -> _worker.Assignment:
        await anyio.lowlevel.checkpoint()
        return an_assignment_without_a_service(backend=anyio_backend)

    with anyio.fail_after(50):
        assert await _processes.WorkerProcess(assign, heard.listen).run() == 0
    assert heard.lines[1] == {"told": "fault", "error": "ValueError: broken"}


@ON_POSIX
@pytest.mark.parametrize("how", ["killed", "cancelled"])
async def test_a_process_that_is_killed_is_gone(program: Callable[[str], None], how: str) -> None:
    program(f"{READY}sys.stdin.read()")
    heard = Heard()
    process = _processes.WorkerProcess(give, heard.listen)
    statuses: list[int] = []

    async def run() -> None:
        statuses.append(await process.run())

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        with anyio.fail_after(50):
            await heard.until(1)
        if how == "killed":
            process.kill()
        else:
            group.cancel_scope.cancel()
    assert statuses == ([-signal.SIGKILL] if how == "killed" else [])
    assert not lives(heard.lines[0]["pid"])


async def test_a_process_that_dies_as_it_is_told_what_to_do(program: Callable[[str], None]) -> None:
    """However much there is to tell it."""
    program(f"{READY}raise SystemExit(3)")

    async def much() -> _worker.Assignment:
        return replace(await give(), store="x" * 1_000_000)

    with anyio.fail_after(50):
        assert await _processes.WorkerProcess(much, Heard().listen).run() == 3


# The scenario

ACTOR = """
import json, select, sys, time
print('{"told": "ready"}', flush=True)
sys.stdin.readline()
print(json.dumps({"told": "answer", "problem": ""}), flush=True)
for number in range(1000):
    line = {"told": "token", "expires_on": EPOCH + number, "renew_on": EPOCH + number, "shared": number > 0}
    print(json.dumps(line), flush=True)
    if select.select([sys.stdin], [], [], 0.1)[0]:
        break
"""
"""A worker in a hurry, without a token: ten lives a second."""


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator whose tokens last: a run of a second would want shorter ones than there are."""

    @asynccontextmanager
    async def emulated(_story: Story) -> AsyncGenerator[tuple[Emulator, Any, CommunicationIdentityClient]]:
        async with (
            open_emulator() as emulator,
            _http_client(emulator) as http,
            CommunicationIdentityClient.from_connection_string(
                emulator.connection_string, http_client=http
            ) as identities,
        ):
            yield emulator, http, identities

    monkeypatch.setattr(_fleet, "emulated", emulated)


@ON_POSIX
@pytest.mark.usefixtures("lasting")
async def test_the_one_that_fetched_is_killed_and_comes_back(
    program: Callable[[str], None], anyio_backend: str
) -> None:
    """After the others have the next token; then all end."""
    program(ACTOR.replace("EPOCH", str(2 * NOW)))
    crew = Crew.of(3)
    story = Story(0.5, False, crew)
    with anyio.fail_after(50):
        await _fleet.run_fleet(story, crew, "unused", anyio_backend)
    assert story.over
    kinds = [event.kind for event in story.events]
    assert kinds[0] == "started"
    death = [kind for kind in kinds if kind.startswith("worker_")]
    assert death == ["worker_killed", "worker_started", "worker_returned"]
    between = kinds[kinds.index("worker_killed") : kinds.index("worker_started")]
    assert {"token_fetched", "token_shared"} & set(between)
    assert story.sent >= 4  # one of each process
    assert crew.lives >= 3


@ON_POSIX
@pytest.mark.usefixtures("lasting")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('print(\'{"told": "fault", "error": "MemoryError: no"}\')', "MemoryError: no"),
        ("raise SystemExit(3)", "exit status 3"),
    ],
)
async def test_a_worker_that_cannot_go_on_ends_the_demonstration(
    program: Callable[[str], None], text: str, reason: str
) -> None:
    """With a line that says which and why; the others are not left behind."""
    program(text)
    crew = Crew.of(2)
    with pytest.raises(ExceptionGroup) as caught, anyio.fail_after(50):
        await _fleet.run_fleet(Story(0.5, False, crew), crew, "unused", "asyncio")
    said = [str(error) for error in caught.value.exceptions]  # of one, or of both
    assert all(isinstance(error, click.ClickException) for error in caught.value.exceptions)
    assert said[0].startswith(("worker 1 could not go on", "worker 2 could not go on"))
    assert f"({reason}): run it again, with fewer workers" in said[0]


# As a process

WORKERS = ["demo", "--workers", "2", "--json"]
NEWS = ("token_fetched", "token_shared")


@contextmanager
def in_a_session(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, which is empty afterwards."""
    process = start(*arguments, env={**os.environ, "TMPDIR": str(folder)}, start_new_session=True)
    try:
        yield process
        deadline = time.monotonic() + 50
        while lives(-process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def members(group: int) -> int:
    """How many processes are in a group."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            found += int(stat.read_text().rpartition(")")[2].split()[2]) == group
    return found


def read(process: subprocess.Popen[str], until: str) -> list[dict[str, Any]]:
    """The events up to one of a kind."""
    assert process.stdout is not None
    events: list[dict[str, Any]] = []
    while not events or events[-1]["event"] != until:
        events.append(json.loads(process.stdout.readline()))
    return events


@ON_POSIX
@pytest.mark.promise("R65")
@pytest.mark.timeout(300)
@pytest.mark.once
def test_two_workers_share_each_token_and_one_is_killed(tmp_path: Path) -> None:
    """Real ones: each token is fetched once, and the dead one is back with one of them; Ctrl-C then ends them all."""
    wanted = ["started", "worker_killed", "worker_started", "worker_returned"]
    for seconds in (10, 30, 120):
        with in_a_session(tmp_path, *WORKERS, "--seconds", str(seconds)) as process:
            events = read(process, "worker_returned")
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
            assert finish(process)[::2] == (130, "")
        assert not list(tmp_path.iterdir())
        told = [event["event"] for event in events if event["event"] not in NEWS]
        if told == wanted:  # on a machine that has other work for as long, a token ends before anybody can renew it
            break
    assert told == wanted
    fetched, taken = ([event for event in events if event["event"] == kind] for kind in NEWS)
    numbers = [event["number"] for event in fetched]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 3
    assert {event["number"] for event in taken} <= set(numbers)
    (killed,) = (event["worker"] for event in events if event["event"] == "worker_killed")
    assert killed in {event["worker"] for event in fetched}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nothing else says which processes there are")
@pytest.mark.once
def test_ctrl_c_while_the_workers_start(tmp_path: Path) -> None:
    """It meets them while they load modules; nothing is said, and nothing is left."""
    pytest.importorskip("trio")
    with in_a_session(tmp_path, *WORKERS, "--backend", "trio") as process:
        while members(process.pid) < 3:
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert finish(process)[::2] == (130, "")
    assert not list(tmp_path.iterdir())


@ON_POSIX
@pytest.mark.once
def test_workers_do_not_outlive_a_demonstration_that_is_killed(tmp_path: Path) -> None:
    """Not even with kill -9, which lets it tell them nothing: their pipes end."""
    with in_a_session(tmp_path, *WORKERS) as process:
        read(process, "token_fetched")
        process.kill()
        process.communicate()
