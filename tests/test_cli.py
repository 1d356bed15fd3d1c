"""The command line: the demonstration on real sockets, what it shows, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import anyio
import pytest
from command_line import ESCAPE, ON_POSIX, PseudoTerminal, a_terminal, restored, start
from entra_users import skip_pauses

from anyio_acs_credential import CommunicationIdentityClient, SignInRequiredError
from anyio_acs_credential.cli import main
from anyio_acs_credential.cli._demo._facts import Event, HeldToken, SignIn, Span, TokenRequest
from anyio_acs_credential.cli._demo._story import Story

pytest.importorskip("click", reason="the command line is an extra")
rich_console = pytest.importorskip("rich.console", reason="the live view is an extra")

from anyio_acs_credential.cli._demo import _run, _users  # noqa: E402 - they need what the extras bring
from anyio_acs_credential.cli._demo._live import LEAST_HEIGHT, LEAST_WIDTH, headline, picture, result  # noqa: E402
from anyio_acs_credential.cli._demo._report import Report  # noqa: E402
from anyio_acs_credential.cli._demo._scenario import Scenario, _http_client, run_demo  # noqa: E402
from anyio_acs_credential.emulator import _front, open_emulator  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

SECONDS = 10
DEMO = ["demo", "--seconds", str(SECONDS)]
LONGER_AND_LONGER = (SECONDS, 3 * SECONDS, 12 * SECONDS, 48 * SECONDS)
"""For how long to run, until the machine keeps up. All lives and limits grow with it: a token that lives for
seconds does not outlive a machine that has other work for as long, and an answer that comes late brings no token."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Two of the event loops: a run takes seconds by the clock on the wall."""
    pytest.importorskip(request.param)
    backend: str = request.param
    return backend


# The scenario


NEWS = {"token_fetched", "entra_token_fetched", "token_request_failed"}
OUTAGE = ["outage_began", "outage_changed", "outage_changed", "outage_ended"]
SIGN_IN = ["sign_in_asked", "code_entered"]


@pytest.mark.twice
@pytest.mark.timeout(1500)
async def test_no_request_fails_through_an_outage_and_a_revocation() -> None:
    """Tokens end, what issues them breaks in three ways, all are revoked, and each request of both users succeeds."""
    for seconds in LONGER_AND_LONGER:
        alone, entra = Story(seconds), Story(seconds, entra=True)
        async with anyio.create_task_group() as group:
            group.start_soon(run_demo, alone)
            group.start_soon(run_demo, entra)
        if kept_up(alone) and kept_up(entra):
            break
    for story in (alone, entra):
        check_the_story(story)
    assert kinds(alone) == ["started", *OUTAGE, "tokens_revoked", "token_rejected"]
    assert kinds(entra) == ["started", *SIGN_IN, *OUTAGE, "tokens_revoked", "token_rejected", "claims_challenged"]
    assert (len(alone.entra_tokens), alone.challenges) == (0, 0)
    assert len(entra.entra_tokens) >= 3
    assert entra.challenges == 1


def kept_up(story: Story) -> bool:
    """Whether the machine was quick enough: the outage met a request, and each token that was granted came in time."""
    granted = sum(request.granted for request in story.token_requests)
    return story.failed == 0 < story.refused and granted <= len(story.tokens)


def kinds(story: Story) -> list[str]:
    return [event.kind for event in story.events if event.kind not in NEWS]


def check_the_story(story: Story) -> None:
    fetched = sum(event.kind == "token_fetched" for event in story.events)
    assert story.over
    assert story.failed == 0
    assert story.sent > 50
    assert story.turned_down >= 1
    assert story.refused >= 1
    assert len(story.tokens) == len(story.token_requests) - story.refused - story.challenges == fetched >= 5
    assert story.seconds - 2 < story.answers[-1] < story.seconds + 20


async def test_a_request_that_fails_is_counted() -> None:
    """What the demonstration says is measured: a chat endpoint that fails shows."""
    story = Story(SECONDS)
    async with open_emulator() as emulator, _http_client(emulator) as chat:
        scenario = Scenario(story, emulator)
        emulator.fail("/chat/", status=500, times=1)
        emulator.reset("/chat/", times=1)
        async with scenario.working(chat):
            while story.failed < 2:  # noqa: ASYNC110 - nobody announces it
                await anyio.sleep(0.01)
    failures = [event.text for event in story.events if event.kind == "request_failed"]
    assert "a request failed: its answer is 500" in failures
    assert any(re.fullmatch("a request failed: [A-Z][A-Za-z]+Error", failure) for failure in failures)
    assert len(failures) == story.failed == story.sent  # the others had no token


@asynccontextmanager
async def a_stage() -> AsyncGenerator[_users.Stage]:
    """Where a user signs in; nothing is called."""
    story = Story(SECONDS, entra=True)
    async with (
        open_emulator() as emulator,
        _http_client(emulator) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as identities,
    ):
        yield _users.Stage(story, Report(story, emulator), emulator, http, identities)


async def test_a_log_that_is_full_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may make more requests than the service's log holds."""
    monkeypatch.setattr(_front, "_LOG_SIZE", 2)
    async with a_stage() as stage:
        user = await stage.identities.create_user()
        for _ in range(4):
            await stage.identities.get_token(user, ["chat"])
            stage.report.catch_up()
            stage.report.catch_up()
        assert [request.status for request in stage.story.token_requests] == [200] * 4


def in_that_moment(monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> list[float]:
    """What happens between the code on the screen and its being entered; gives how long that is to take."""
    moments: list[float] = []

    async def sleep(seconds: float) -> None:
        moments.append(seconds)
        what()
        await anyio.lowlevel.checkpoint()

    skip_pauses(monkeypatch)
    monkeypatch.setattr(_users, "sleep", sleep)
    return moments


async def test_a_person_signs_in_with_the_code_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that a person is to see is shown and entered; the device code, a secret, is told to nobody."""
    moments = in_that_moment(monkeypatch, lambda: None)
    async with a_stage() as stage, _users.entra_user(stage) as make_credential, make_credential() as credential:
        token = await credential.get_token()
        assert credential.raw_id == f"8:{token.claims['skypeid']}"
    asked, entered, *_ = stage.story.events
    assert stage.story.sign_in
    code, page = stage.story.sign_in.code, stage.story.sign_in.page
    assert asked.text == f"sign in: enter {code} at {page}"
    assert asked.details == {"verification_uri": page, "user_code": code}
    assert entered.text == "alice enters the code (the demonstration plays her part)"
    assert list(stage.emulator._entra.users) == ["alice"]
    assert moments == [0.08 * SECONDS]
    (device_code,) = stage.emulator._entra.devices._devices
    assert device_code not in repr(stage.story)


async def test_somebody_who_watches_may_enter_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens the page that is shown and is faster than the demonstration has signed in."""

    def be_faster() -> None:
        assert stage.story.sign_in
        stage.emulator.approve(stage.story.sign_in.code, "bob")

    in_that_moment(monkeypatch, be_faster)
    async with a_stage() as stage, _users.entra_user(stage):
        assert list(stage.emulator._entra.users) == ["bob"]


async def test_somebody_who_watches_may_decline(monkeypatch: pytest.MonkeyPatch) -> None:
    """That ends the demonstration, with what can be told in a line."""

    def decline() -> None:
        assert stage.story.sign_in
        stage.emulator.decline(stage.story.sign_in.code)

    in_that_moment(monkeypatch, decline)
    async with a_stage() as stage:
        with pytest.RaisesGroup(SignInRequiredError):
            async with _users.entra_user(stage):
                pytest.fail("nobody has signed in")


# What it shows


def a_story(**changes: object) -> Story:
    """A run of 20 seconds, 10 of which are over."""
    story = Story(
        20,
        answers=[n / 50 for n in range(500)],
        turned_down=2,
        tokens=[HeldToken(0, 3.5, 7), HeldToken(3.5, 7, 10.5)],
        token_requests=[TokenRequest(0, 200), TokenRequest(3.5, 200), TokenRequest(7.1, None)],
        events=[Event(n / 2, "token_fetched", f"event {n}", {"number": n}) for n in range(20)],
    )
    for name, value in changes.items():
        setattr(story, name, value)
    return story


PAGE = "https://127.0.0.1:65535/device"


def an_entra_story(**changes: object) -> Story:
    """The same, with a sign-in that took three seconds; the service has a challenge for the last request."""
    story = a_story(entra=True, sign_in=SignIn(0.5, PAGE, "ABCDEFGHJ"), entra_tokens=[3.5, 8.0], **changes)
    story.token_requests.append(TokenRequest(9, 401))
    return story


def shown(what: object, width: int = 80) -> list[str]:
    console = rich_console.Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().splitlines()]


OUTAGES = [None, Span(7.0), Span(7.0, 9.0)]


@pytest.mark.parametrize("size", [(LEAST_WIDTH, LEAST_HEIGHT), (80, 24), (120, 40), (300, 90)])
@pytest.mark.parametrize("now", [0.0, 3.51, 10.0, 19.99, 21.0])
@pytest.mark.parametrize("outage", OUTAGES)
def test_the_picture_fits_the_terminal(size: tuple[int, int], now: float, outage: Span | None) -> None:
    width, height = size
    for story in (
        Story(20),
        a_story(outage=outage, trouble="cuts its connections", revoked_at=9.5, failed=1234),
        a_story(outage=outage, revoked_at=19.9, answers=[]),
        Story(117, entra=True),
        Story(117, entra=True, sign_in=SignIn(0.5, PAGE, "ABCDEFGHJ")),
        an_entra_story(outage=outage, revoked_at=19.9, trouble="cuts its connections"),
    ):
        lines = shown(picture(story, now, width, height), width)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width
        assert not any(line.endswith("…") for line in lines)


@pytest.mark.parametrize(
    ("changes", "now", "said"),
    [
        ({"tokens": []}, 0, "starting"),
        ({}, 5, "renewed long before it ends"),
        ({"trouble": "answers 503"}, 8, "OUTAGE: the token endpoint answers 503"),
        ({"outage": Span(7, 9)}, 10, "endpoint is back"),
        ({"outage": Span(7, 9)}, 15, "renewed long before it ends"),
        ({"revoked_at": 9}, 10, "REVOKED"),
        ({"revoked_at": 9}, 15, "renewed long before it ends"),
        ({"failed": 3, "trouble": "answers 503"}, 8, "3 of 500 requests failed"),
    ],
)
def test_the_headline_says_what_goes_on(changes: dict[str, object], now: float, said: str) -> None:
    assert said in headline(a_story(**changes), now)[0]


@pytest.mark.parametrize(
    ("changes", "now", "said"),
    [
        ({"tokens": [], "sign_in": None}, 0, "starting"),
        ({"tokens": []}, 2, f"To sign in, open {PAGE} and enter ABCDEFGHJ"),
        ({}, 5, "renewed long before it ends"),
        ({"trouble": "answers 503"}, 8, "OUTAGE: the exchange answers 503"),
        ({"outage": Span(7, 9)}, 10, "The exchange is back"),
    ],
)
def test_the_headline_of_a_person_who_signs_in(changes: dict[str, object], now: float, said: str) -> None:
    story = an_entra_story()
    for name, value in changes.items():
        setattr(story, name, value)
    assert said in headline(story, now)[0]


def test_the_bar_shrinks_with_the_life_of_the_token() -> None:
    bars = [shown(picture(a_story(), now, 80, 24))[7] for now in (3.5, 7, 8.75, 10.5, 12)]
    assert [bar.count("█") for bar in bars] == [76, 38, 19, 0, 0]
    assert {len(bar) for bar in bars} == {78}


def test_the_chart_shows_what_happened_when() -> None:
    """Five rows over one axis: a column is a third of a second at 80 columns."""
    lines = shown(picture(a_story(outage=Span(7, 9), revoked_at=9.9), 10.0, 80, 24))
    rows = {line[2:18].strip(): line[18:] for line in lines[12:17]}
    assert rows["requests"] == "▇" * 30
    assert rows["tokens"] == f"1{'━' * 9}2{'━' * 20}"
    assert rows["token requests"] == f"✓{' ' * 9}✓{' ' * 10}✗"
    assert rows["trouble"].split() == ["outage▒", "▼", "revoked"]


def test_the_chart_shows_whose_tokens_were_exchanged() -> None:
    """A row more: the sign-in, and the Entra tokens that came of it."""
    lines = shown(picture(an_entra_story(answers=[5.0]), 10.0, 80, 24))
    rows = {line[2:18].strip(): line[18:] for line in lines[12:18]}
    assert list(rows) == ["requests", "tokens", "exchanges", "Entra tokens", "trouble", ""]
    assert rows["requests"].split() == ["▇"]
    assert rows["exchanges"] == f"✓{' ' * 9}✓{' ' * 10}✗{' ' * 5}✗"
    assert rows["Entra tokens"] == f" {'·' * 9}1{'━' * 13}2{'━' * 6}"


def test_the_sums_of_a_person_who_signs_in() -> None:
    """A challenge is no failure."""
    lines = shown(result(an_entra_story(), 20, 80))
    assert "    1 sign-in, and 2 Entra tokens from it; 1 claims challenge met." in lines
    assert "    4 exchanges made; 1 failed while the held token went on." in lines
    sums = an_entra_story().summary()
    assert (sums["entra_tokens"], sums["claims_challenges"], sums["token_requests_failed"]) == (2, 1, 1)
    assert "entra_tokens" not in a_story().summary()


def test_a_failure_is_in_the_sums() -> None:
    lines = shown(result(a_story(failed=1), 20, 80))
    assert "  ✗ 1 of 500 requests failed." in lines
    assert "    3 token requests made; 1 failed while the held token went on." in lines


# How it is run


@pytest.fixture
def a_scenario(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Story], None]], None]:
    """Plays what a test needs at once, instead of the whole."""

    def play(what: Callable[[Story], None]) -> None:
        async def scenario(story: Story) -> None:
            await anyio.lowlevel.checkpoint()
            what(story)
            if not story.over:
                await anyio.sleep_forever()

        monkeypatch.setattr(_run, "run_demo", scenario)

    return play


def begin(story: Story) -> None:
    story.events.append(Event(0.5, "started", "it began", {}))


def finish(failed: int) -> Callable[[Story], None]:
    def end(story: Story) -> None:
        story.tokens, story.answers, story.failed, story.over = [HeldToken(0, 1, 2)], [1.0] * 3, failed, True
        story.events.append(Event(0.5, "started", "it began", {"number": 1}))

    return end


@pytest.mark.parametrize("failed", [0, 1])
def test_lines(a_scenario: Callable[..., None], capsys: pytest.CaptureFixture[str], failed: int) -> None:
    """A line for each event, then the sums; the status says whether a request failed."""
    a_scenario(finish(failed))
    assert main(["demo"]) == failed
    first, verdict, *rest = capsys.readouterr().out.splitlines()
    assert first == "   0.50 s  it began"
    assert ("no request failed: 3 were sent" in verdict) is not failed
    assert ("1 of 3 requests failed" in verdict) is bool(failed)
    assert rest[0] == "           1 access token used, one after the other"


def test_json(a_scenario: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    a_scenario(finish(0))
    assert main(["demo", "--json"]) == 0
    first, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"event": "started", "at": 0.5, "text": "it began", "number": 1}
    assert (summary["event"], summary["requests_sent"], summary["requests_failed"]) == ("summary", 3, 0)


def test_a_sign_in_that_is_declined(a_scenario: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def decline(story: Story) -> None:
        raise SignInRequiredError("whatever")

    a_scenario(decline)
    assert main(["demo", "--entra"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch("acs-credential: the sign-in was declined .*: start again, .*\n", err)


@pytest.mark.parametrize(("arguments", "entra"), [([], False), (["--entra"], True)])
def test_whose_tokens_they_are(a_scenario: Callable[..., None], arguments: list[str], entra: bool) -> None:
    seen = []

    def look(story: Story) -> None:
        seen.append(story.entra)
        story.over = True

    a_scenario(look)
    assert main(["demo", *arguments]) == 0
    assert seen == [entra]


@pytest.mark.parametrize("before", [None, "example.com"])
def test_no_proxy_is_asked_for_the_loopback(
    a_scenario: Callable[..., None], monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    """What the environment says of proxies is as it was when the demonstration is over."""

    def look(story: Story) -> None:
        seen.append(os.environ["no_proxy"])
        story.over = True

    seen: list[str] = []
    if before is None:
        monkeypatch.delenv("no_proxy", raising=False)
    else:
        monkeypatch.setenv("no_proxy", before)
    a_scenario(look)
    assert main(["demo"]) == 0
    assert seen == ["127.0.0.1"]
    assert os.environ.get("no_proxy") == before


def test_a_terminal_gets_a_picture_and_keeps_the_result(
    a_scenario: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_scenario(finish(0))
    terminal = a_terminal(monkeypatch)
    assert main(["demo"]) == 0
    before, _, after = terminal.getvalue().partition(f"{ESCAPE}[?1049l")
    assert f"{ESCAPE}[?1049h" in before
    assert "Access token" in before
    assert "No request failed" not in before
    assert "No request failed: 3 were sent and answered." in after


@pytest.mark.parametrize(
    ("environment", "encoding"),
    [({"TERM": "dumb"}, "utf-8"), ({"COLUMNS": "77"}, "utf-8"), ({"LINES": "19"}, "utf-8"), ({}, "ascii")],
)
def test_a_terminal_that_is_no_match_gets_lines(
    a_scenario: Callable[..., None], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], encoding: str
) -> None:
    """No picture where it could not be drawn, or would not fit."""
    a_scenario(finish(0))
    terminal = a_terminal(monkeypatch, **environment)
    terminal.encoding = encoding
    assert main(["demo"]) == 0
    assert "no request failed" in terminal.getvalue()
    assert terminal.getvalue().isascii()
    assert ESCAPE not in terminal.getvalue()


def test_a_pipe_gets_no_escape_codes_though_colour_is_forced(
    a_scenario: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    a_scenario(finish(0))
    assert main(["demo"]) == 0
    assert ESCAPE not in capsys.readouterr().out


@ON_POSIX
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(
    a_scenario: Callable[..., None], backend: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status is that of a program which the signal ended, the first screen is back, and nothing is summed up."""
    pytest.importorskip(backend)
    a_scenario(lambda _: os.kill(os.getpid(), number))
    terminal = a_terminal(monkeypatch)
    assert main(["demo", "--backend", backend]) == 128 + number
    assert restored(terminal.getvalue())
    assert "sent and answered" not in terminal.getvalue()


@ON_POSIX
def test_a_signal_ends_the_lines(a_scenario: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """What happened until then is told, and nothing is summed up."""

    def what(story: Story) -> None:
        begin(story)
        os.kill(os.getpid(), signal.SIGINT)

    a_scenario(what)
    assert main(["demo"]) == 130
    assert capsys.readouterr().out == "   0.50 s  it began\n"


def test_ctrl_c_where_no_signal_can_be_received(
    a_scenario: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows' event loop it is a KeyboardInterrupt."""

    def refuse(*signals: int) -> None:
        raise NotImplementedError

    def interrupt(story: Story) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "open_signal_receiver", refuse)
    a_scenario(interrupt)
    assert main(["demo"]) == 130


@ON_POSIX
@pytest.mark.parametrize("what", [begin, finish(0)], ids=["in the middle", "at the end"])
def test_a_pipe_that_nobody_reads_ends_it(
    a_scenario: Callable[..., None], monkeypatch: pytest.MonkeyPatch, what: Callable[[Story], None]
) -> None:
    """Also the interpreter's own flush at the end has nothing to complain about."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        a_scenario(what)
        assert main(["demo"]) == 141
        pipe.write("more")


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["demo", "--seconds", "soon"], "give whole seconds from 10 to 120, not 'soon'"),
        (["demo", "--seconds", "nan"], "give whole seconds from 10 to 120"),
        (["demo", "--seconds", "9"], "give whole seconds from 10 to 120, not '9'"),
        (["demo", "--seconds", "121"], "give whole seconds from 10 to 120"),
        (["demo", "--seconds"], "requires an argument"),
        (["demo", "--second", "20"], "--seconds"),
        (["demo", "--backend", "curio"], "'asyncio', 'trio'"),
        (["demo", "extra"], "unexpected extra argument"),
        (["dmeo"], "acs-credential --help"),
        (["--nonsense"], "acs-credential --help"),
        (["inspect", "a", "endpoint=https://x;accesskey=c2VjcmV0"], "accesskey=[redacted]"),
        (["inspect", "a", "eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2VjcmV0"], "([redacted])"),
        (["inspect", "a", "c2VjcmV0" * 8], "([redacted])"),
    ],
)
def test_nonsense_is_answered_with_the_fix(arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("acs-credential: ")
    assert fix in err
    assert "c2VjcmV0" not in err


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        ([], "acs-credential demo --entra"),
        (["demo", "--help"], "--json | tail"),
        (["demo", "--help"], "signs in with a device code"),
    ],
)
def test_help_teaches_by_example(arguments: list[str], taught: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert taught in capsys.readouterr().out


def test_a_backend_that_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)
    assert main(["demo", "--backend", "trio"]) == 2
    assert 'trio is not installed: pip install "anyio-acs-credential[trio]"' in capsys.readouterr().err


def test_click_that_is_missing_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "anyio_acs_credential.cli._commands", raising=False)
    monkeypatch.setitem(sys.modules, "click", None)
    assert main([]) == 2
    assert capsys.readouterr().err == (
        'acs-credential: click is not installed: pip install "anyio-acs-credential[cli,emulator]", '
        'or in a clone pip install ".[cli,emulator]"\n'
    )


@pytest.mark.parametrize("name", ["rich", "anycorn", "starlette", "trustme"])
def test_an_extra_that_is_missing_is_named(name: str) -> None:
    script = f"import sys; sys.modules[{name!r}] = None; from anyio_acs_credential.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "demo"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)  # noqa: S603 - our own interpreter
    assert done.returncode == 2
    assert done.stderr == (
        f'acs-credential: {name} is not installed: pip install "anyio-acs-credential[cli,emulator]", '
        'or in a clone pip install ".[cli,emulator]"\n'
    )


def test_a_fault_of_our_own_is_no_missing_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "anyio_acs_credential.cli._commands", None)
    assert main([]) == 1
    assert "ModuleNotFoundError: import of anyio_acs_credential.cli._commands halted" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["click", "anyio_acs_credential.cli._demo._run"])
def test_ctrl_c_while_modules_are_loaded(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    class Interrupting:
        def find_spec(self, name: str, *_: object) -> None:
            if name == module:
                raise KeyboardInterrupt

    for name in (module, "anyio_acs_credential.cli._commands"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert main(["demo"]) == 130


@pytest.mark.parametrize("name", ["anyio_acs_credential.cli", "anyio_acs_credential.cli._interrupt"])
def test_ctrl_c_before_the_command_line_is_loaded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also where an import raises it, which nothing keeps from that yet."""
    entry = runpy.run_module("anyio_acs_credential.__main__", run_name="imported")["main"]

    class Interrupting:
        def find_spec(self, wanted: str, *_: object) -> None:
            if wanted == name:
                raise KeyboardInterrupt

    for loaded in [each for each in sys.modules if each.startswith("anyio_acs_credential.cli")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert entry() == 130


def test_help_loads_nothing_that_only_commands_need() -> None:
    """It is there at once."""
    command = [sys.executable, "-X", "importtime", "-m", "anyio_acs_credential", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)  # noqa: S603 - our own interpreter
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in loaded
    assert not loaded & {"rich", "httpx", "jwt", "starlette", "anycorn", "trio", "asyncio", "cryptography"}


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m anyio_acs_credential` is the command; importing that module runs nothing."""
    monkeypatch.setattr(sys, "argv", ["whatever", "--version"])
    runpy.run_module("anyio_acs_credential.__main__", run_name="imported")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("anyio_acs_credential", run_name="__main__")
    assert ended.value.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


# The whole, as a process


def start_demo(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9"}  # where nobody listens: it is not to be used
    return start(*DEMO, *arguments, env=environment)


@pytest.fixture
def pseudo_terminal(request: pytest.FixtureRequest) -> Iterator[PseudoTerminal]:
    terminal = PseudoTerminal(*DEMO, *getattr(request, "param", ()))
    yield terminal
    terminal.close()


@ON_POSIX
@pytest.mark.timeout(300)
@pytest.mark.once
def test_the_whole() -> None:
    """As a picture, as lines and as JSON: it ends by itself, no request has failed, and no token is shown."""
    pytest.importorskip("trio")
    for seconds in LONGER_AND_LONGER[:-1]:  # the command takes 120 at most
        longer = "--seconds", str(seconds)
        with closing(PseudoTerminal(*DEMO, *longer)) as terminal:
            plain, entra = start_demo(*longer), start_demo("--entra", *longer)
            processes = (plain, start_demo("--json", "--backend", "trio", *longer), entra)
            terminal.read()
            outputs, errors = zip(*(process.communicate(timeout=200) for process in processes), strict=True)
            statuses = [terminal.process.wait(50), *(process.returncode for process in processes)]
        objects = [json.loads(line) for line in outputs[1].splitlines()]
        if statuses == [0] * 4 and objects[-1]["token_requests_failed"]:
            break
    picture = terminal.seen
    assert statuses == [0] * 4
    assert errors == ("",) * 3
    assert not any("eyJ" in output for output in (picture, *outputs))
    check_the_picture(picture)
    for lines in (outputs[0], outputs[2]):
        assert "no request failed: " in lines
        assert lines.isascii()
        assert ESCAPE not in lines
    check_the_objects(objects)


def check_the_picture(seen: str) -> None:
    """The bar, the outage and the revocation were seen, without colours as NO_COLOR asks, and the sums stay."""
    for text in ("███", "Access token 3", "OUTAGE", "REVOKED", "▲ renewal is due here"):
        assert text in seen
    assert restored(seen)
    assert "No request failed: " in seen[seen.rindex(f"{ESCAPE}[?1049l") :]
    assert not re.search(rf"{ESCAPE}\[[\d;]*\b[34]\d[\d;]*m", seen)


def check_the_objects(objects: list[dict[str, object]]) -> None:
    first, *_, last = objects
    assert first["event"] == "started"
    assert last["event"] == "summary"
    assert last["requests_failed"] == 0
    assert last["token_requests_failed"] != 0


@ON_POSIX
@pytest.mark.parametrize(
    ("pseudo_terminal", "moment"),
    [((), "starting"), ((), "a second"), ((), "OUTAGE"), (("--entra",), "To sign in, open")],
    indirect=["pseudo_terminal"],
)
@pytest.mark.once
def test_ctrl_c_in_a_terminal(pseudo_terminal: PseudoTerminal, moment: str) -> None:
    """It ends long before its time, and leaves the terminal as it was."""
    pseudo_terminal.read(moment)
    pseudo_terminal.type("\x03")
    assert pseudo_terminal.end() == 130
    assert restored(pseudo_terminal.seen)
    assert "Traceback" not in pseudo_terminal.seen


@ON_POSIX
@pytest.mark.parametrize(
    ("moment", "number", "arguments"),
    [
        ("emulated service", signal.SIGINT, ["--backend=asyncio"]),
        ("token 2", signal.SIGTERM, ["--backend=asyncio"]),
        ("token 1", signal.SIGINT, ["--backend=trio"]),
        ("does not answer", signal.SIGTERM, ["--backend=trio"]),
        ("emulated service", signal.SIGINT, ["--backend=asyncio", "--entra"]),
        ("sign in: enter", signal.SIGINT, ["--backend=asyncio", "--entra"]),
        ("sign in: enter", signal.SIGINT, ["--backend=trio", "--entra"]),
    ],
)
@pytest.mark.once
def test_a_signal_in_a_pipe(moment: str, number: int, arguments: list[str]) -> None:
    """It ends long before its time, without a word, while somebody is to sign in as well."""
    if "--backend=trio" in arguments:
        pytest.importorskip("trio")
    with start_demo(*arguments) as process:
        assert process.stdout
        assert any(moment in line for line in process.stdout)
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
    assert (process.returncode, errors) == (128 + number, "")


@ON_POSIX
@pytest.mark.once
def test_a_reader_that_leaves() -> None:
    """As `| head -n 1` does."""
    with start_demo() as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(50) == 141
    assert errors == ""
