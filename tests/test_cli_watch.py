"""`acs-credential watch`: what a real credential does, as lines, as JSON and as a picture, and never its token."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from command_line import (
    ESCAPE,
    ON_POSIX,
    PseudoTerminal,
    Terminal,
    a_terminal,
    emulator_in_a_thread,
    environment_of,
    finish,
    is_a_line,
    restored,
    start,
)

from anyio_acs_credential import (
    CommunicationTokenCredential,
    CredentialClosed,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    TokenExpired,
    TokenState,
)
from anyio_acs_credential._decisions import schedule
from anyio_acs_credential._decisions.events import CredentialStatistics
from anyio_acs_credential.fleet import MemoryTokenStore, shared
from anyio_acs_credential.testing import ScriptedSource, make_jwt

pytest.importorskip("click", reason="the command line is an extra")
rich_console = pytest.importorskip("rich.console", reason="the live view is an extra")

from anyio_acs_credential.cli import main  # noqa: E402 - it needs what the extras bring
from anyio_acs_credential.cli._watch._live import LEAST_HEIGHT, LEAST_WIDTH, picture  # noqa: E402 - likewise
from anyio_acs_credential.cli._watch._log import Entry, HeldToken, Log  # noqa: E402 - likewise
from anyio_acs_credential.cli._watch._run import entry_as_json, entry_as_line  # noqa: E402 - likewise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anyio_acs_credential.emulator import Emulator

ENDPOINT = "https://contoso.communication.azure.com"
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with emulator_in_a_thread(device_code_interval=1) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(emulator).items():
        monkeypatch.setenv(name, value)


def signing_in(emulator: Emulator) -> list[str]:
    return [
        f"--client-id={emulator.client_id}",
        f"--authority={emulator.authority}",
        f"--endpoint={emulator.endpoint}",
        "--scope=https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls",
    ]


class Reader(io.StringIO):
    """Standard output, whose reader acts on each line."""

    def __init__(self, act: Callable[[str], None]) -> None:
        super().__init__()
        self._act = act

    def write(self, text: str) -> int:
        self._act(text)
        return super().write(text)


def end() -> None:
    os.kill(os.getpid(), signal.SIGINT)


# With a resource


@ON_POSIX
@BACKENDS
def test_the_rounds_of_a_new_user(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One JSON object a line: the user, each round with how the credential stands, and the end; no token."""
    pytest.importorskip(backend)
    # Due at once, but not in the same second: a short-lived token could end on its way on a busy machine.
    monkeypatch.setattr(schedule, "_window", lambda life, _policy: life)

    def act(line: str) -> None:
        if '"refresh_succeeded"' in line and '"refreshes": 2' in line:
            end()

    reader = Reader(act)
    monkeypatch.setattr(sys, "stdout", reader)
    assert main(["watch", "--json", "--backend", backend]) == 130
    made, *rounds, closed = map(json.loads, reader.getvalue().splitlines())
    assert made["event"] == "user_made"
    assert [event["event"] for event in rounds] == ["refresh_started", "refresh_succeeded"] * 2
    assert [event["state"] for event in rounds] == ["expired", "fresh", "fresh", "fresh"]
    assert rounds[1]["at"] <= rounds[1]["next_refresh_at"] < rounds[1]["expires_on"]
    assert rounds[3]["failures"] == 0
    assert closed["event"] == "credential_closed"
    assert "eyJ" not in reader.getvalue()


@ON_POSIX
def test_the_lines_of_a_user_who_exists(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is made, and what fails is told with the next attempt; the access key is in no line."""
    assert main(["token", "--json"]) == 0
    user = json.loads(capsys.readouterr().out)["identity"]
    reader = Reader(lambda line: end() if "again in" in line else None)
    monkeypatch.setattr(sys, "stdout", reader)
    monkeypatch.setenv("ACS_CONNECTION_STRING", f"endpoint={emulator.endpoint};accesskey=c2VjcmV0")
    assert main(["watch", "--user", user]) == 130
    first, failed, closed = reader.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  asking for a token", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d  no token \(ServiceError\): .*401.*; again in .*", failed)
    assert closed.endswith("  closed")
    assert "c2VjcmV0" not in reader.getvalue()


@ON_POSIX
def test_a_wrong_clock(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the token is told by the service's clock, and what is wrong with ours."""
    reader = Reader(lambda line: end() if '"refresh_succeeded"' in line else None)
    monkeypatch.setattr(sys, "stdout", reader)
    emulator.clock_offset = 7380
    try:
        assert main(["watch", "--json"]) == 130
    finally:
        emulator.clock_offset = 0
    (told,) = (event for event in map(json.loads, reader.getvalue().splitlines()) if "expires_in" in event)
    assert told["expires_in"] == pytest.approx(86_400, abs=60)
    assert told["clock_offset"] == pytest.approx(-7380, abs=60)
    assert told["expires_on"] == pytest.approx(time.time() + 7380 + 86_400, abs=60)
    assert re.search(", for (23 h 59 min|1 d), its own fetch; the next in 22 h", told["text"])
    assert told["text"].endswith("; this machine's clock is 2 h 3 min behind the service's")


@ON_POSIX
def test_a_live_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the terminal's second screen; at the end the first is back."""

    class Watched(Terminal):
        def write(self, text: str) -> int:
            if "a token until" in text:
                end()
            return super().write(text)

    a_terminal(monkeypatch)
    terminal = Watched()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["watch"]) == 130
    assert "The credential of 8:acs:" in terminal.getvalue()
    assert restored(terminal.getvalue())
    assert "eyJ" not in terminal.getvalue()


def test_a_resource_that_makes_no_user(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACS_CONNECTION_STRING", f"endpoint={emulator.endpoint};accesskey=c2VjcmV0")
    assert main(["watch"]) == 1
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert "401" in err


# With a sign-in


@ON_POSIX
def test_a_person_who_signs_in(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page and the code are shown; once it is entered, the exchange is watched."""

    def act(line: str) -> None:
        if '"sign_in_asked"' in line:
            emulator.approve(json.loads(line)["user_code"], "alice")
        if '"refresh_succeeded"' in line:
            end()

    reader = Reader(act)
    monkeypatch.setattr(sys, "stdout", reader)
    assert main(["watch", "--json", *signing_in(emulator)]) == 130
    events = [json.loads(line)["event"] for line in reader.getvalue().splitlines()]
    assert events == ["sign_in_asked", "signed_in", "refresh_started", "refresh_succeeded", "credential_closed"]
    assert "eyJ" not in reader.getvalue()


def test_a_person_who_declines(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(line: str) -> None:
        if found := re.search(r"enter the code (\w+)", line):
            emulator.decline(found[1])

    monkeypatch.setattr(sys, "stdout", Reader(act))
    assert main(["watch", *signing_in(emulator)]) == 1
    assert is_a_line(capsys.readouterr().err)


@ON_POSIX
@BACKENDS
def test_ctrl_c_while_a_person_is_asked(backend: str, emulator: Emulator) -> None:
    """It ends at once, without a word."""
    pytest.importorskip(backend)
    with start("watch", "--backend", backend, *signing_in(emulator)) as process:
        assert process.stdout
        assert "To sign in, open" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert finish(process) == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["--user", "c2VjcmV0"], "8:acs:<resource>_<user>"),
        (["--connection-string", "c2VjcmV0"], 'a part without "="'),
        (["--scope", ""], "one scope each time"),
        (["--endpoint", ENDPOINT], "give --client-id too"),
        (["--tenant-id", "contoso"], "give --client-id too"),
        (["--authority", "https://x"], "give --client-id too"),
        (["--client-id", "x"], "wants --endpoint as well"),
        (["--client-id", "x", "--user", "8:acs:a_b"], "leave it out, or --client-id"),
        (["--client-id", "", "--endpoint", ENDPOINT], "client_id is empty"),
        (["--client-id", "x", "--endpoint", "contoso"], "a URL with a scheme and a host"),
        (["--client-id", "x", "--endpoint", ENDPOINT, "--scope", "chat"], "the scope 'chat' is unknown"),
        (["--client-id", "x", "--endpoint", ENDPOINT, "--tenant-id", "a/b"], "tenant_id is no directory"),
        (["--client-id", "x", "--endpoint", ENDPOINT, "--authority", "http://x"], "does not begin with https://"),
    ],
)
def test_nonsense_is_answered_with_the_fix(arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is shown or asked."""
    assert main(["watch", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert fix in err
    assert "c2VjcmV0" not in err


def test_neither_a_resource_nor_a_person(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("ACS_CONNECTION_STRING")
    assert main(["watch"]) == 2
    assert "set ACS_CONNECTION_STRING" in capsys.readouterr().err


# What it shows


def test_what_the_credential_tells() -> None:
    """Each event has an entry, and what is somebody else's text shows no token."""
    log, token = Log(ENDPOINT), make_jwt()
    now = time.time()
    log.observe(RefreshStarted(forced=True))
    log.observe(RefreshFailed(ValueError(f"no\n{token}"), 2, True, now + 61))
    log.observe(RefreshSucceeded(int(now) + 7201, now + 3601))
    log.observe(RefreshSucceeded(int(now) + 7201, None))
    log.observe(TokenExpired(int(now)))
    log.observe(CredentialClosed())
    started, failed, succeeded, last, expired, closed = log.entries
    assert started.details == {"forced": True}
    assert failed.text == "no token (ValueError): no [redacted]; again in 1 min"
    assert failed.details == {
        "error": "ValueError",
        "message": "no [redacted]",
        "consecutive_failures": 2,
        "permanent": True,
        "next_attempt_at": now + 61,
    }
    assert succeeded.text.endswith("for 2 h, its own fetch; the next in 1 h")
    assert last.details["next_refresh_at"] is None
    assert log.held
    assert log.held.life == pytest.approx(7200, abs=60)
    assert log.held.due == 0
    assert [entry.kind for entry in (expired, closed)] == ["token_expired", "credential_closed"]


def test_lines_are_ascii() -> None:
    assert entry_as_line(Entry(NOW, "refresh_failed", "kö", {})).endswith(r"k\xf6")


def a_log(held: HeldToken | None = None, entries: int = 0, left: float = 3600.0, **changes: Any) -> Log:
    """Of a credential that stands as the changes say, and whose token has so many seconds left."""
    stands = {
        "state": TokenState.EXPIRED,
        "expires_on": None,
        "next_refresh_at": None,
        "refreshes": 0,
        "failures": 0,
        "consecutive_failures": 0,
        "last_error": None,
        "waiting": 0,
    } | changes
    credential = SimpleNamespace(
        raw_id="8:acs:a_b",
        statistics=lambda: CredentialStatistics(**stands),
        health=lambda: SimpleNamespace(seconds_to_expiry=left),
    )
    happened = [Entry(NOW + n, "refresh_failed", f"event {n} {'x' * 200}", {}) for n in range(entries)]
    return Log(ENDPOINT, happened, held, cast("CommunicationTokenCredential", credential))


def shown(log: Log, now: float = NOW, width: int = 80, height: int = 24) -> list[str]:
    console = rich_console.Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(picture(log, now, width, height))
    return [line.rstrip() for line in capture.get().splitlines()]


LIFE = HeldToken(3600, 600)
FRESH: dict[str, Any] = {
    "state": TokenState.FRESH,
    "expires_on": int(NOW) + 3600,
    "next_refresh_at": NOW + 3000,
    "refreshes": 3,
}


def test_the_picture_of_a_fresh_token() -> None:
    """Its state and its end, a bar of its life, when the next is due, and the rounds."""
    lines = shown(a_log(LIFE, left=1800, **FRESH), NOW + 1800)
    assert lines[1].strip() == "The credential of 8:acs:a_b"
    assert lines[4].strip() == "fresh   the token ends at 2027-01-15 09:00:00 UTC, in 30 min"
    assert lines[5].count("█") == 38
    assert lines[6].index("▲") == 2 + round(76 / 6)
    assert lines[8].strip() == "this token    its own fetch"
    assert re.fullmatch(r"  next token    in 20 min, at \d\d:\d\d:\d\d", lines[9])
    assert lines[10].strip() == "rounds        3 succeeded, 0 failed"
    assert not any("clock" in line for line in lines)


def test_where_a_token_came_from() -> None:
    """Another process of the fleet, or its own fetch: in the lines, in the JSON, in the picture and at the end."""
    log = a_log(left=7201, **FRESH | {"shared": 2})
    log.observe(RefreshSucceeded(int(time.time()) + 7201, None, shared=True))
    log.observe(RefreshSucceeded(int(time.time()) + 7201, None, shared=False))
    taken, own = log.entries
    assert ", for 2 h, from the fleet; the next in" in entry_as_line(taken)
    assert ", for 2 h, its own fetch; the next in" in entry_as_line(own)
    assert [json.loads(entry_as_json(entry))["from_fleet"] for entry in (taken, own)] == [True, False]
    assert {json.loads(entry_as_json(entry))["shared"] for entry in (taken, own)} == {2}
    lines = shown(a_log(LIFE._replace(shared=True), **FRESH | {"shared": 2}), NOW + 1800)
    assert lines[8].strip() == "this token    from the fleet"
    assert lines[10].strip() == "rounds        3 succeeded, 2 of them from the fleet, 0 failed"
    log.observe(CredentialClosed())
    assert log.entries[-1].text == "closed; 2 of its 3 tokens came from the fleet"


async def test_what_is_watched_of_a_fleet() -> None:
    """Of two credentials that share a store, one fetches and the other is seen to take it."""
    source = ScriptedSource(3600)
    logs = [Log(ENDPOINT), Log(ENDPOINT)]
    async with MemoryTokenStore() as store:
        for log in logs:
            shared_source = shared(source, store, key="ana")
            log.credential = CommunicationTokenCredential(token_refresher=shared_source, observer=log.observe)
            async with log.credential:
                await log.credential.get_token()
    told = [[entry.text.partition(";")[0] for entry in log.entries] for log in logs]
    assert [texts[1].rpartition(", ")[2] for texts in told] == ["its own fetch", "from the fleet"]
    assert [log.entries[-1].text for log in logs] == ["closed", "closed; 1 of its 1 tokens came from the fleet"]
    assert source.calls == 1


@pytest.mark.parametrize(
    ("offset", "said"), [(7380.0, "2 h 3 min ahead of"), (-86_400.0, "1 day behind"), (59.0, None), (None, None)]
)
def test_the_picture_goes_by_the_services_clock(offset: float | None, said: str | None) -> None:
    """What the credential has reckoned counts, and not our clock; which is named where it is wrong."""
    lines = shown(a_log(LIFE, left=1800, **FRESH, clock_offset=offset), NOW + 1800 + (offset or 0))
    assert lines[4].strip().endswith(", in 30 min")
    assert lines[5].count("█") == 38
    clock = [line.strip() for line in lines if "clock" in line]
    assert clock == ([] if said is None else [f"clock         this machine's clock is {said} the service's"])


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (Log(ENDPOINT), "… making ready"),
        (Log(ENDPOINT, [Entry(NOW, "sign_in_asked", "To sign in", {})]), "? To sign in"),
        (a_log(), "there is no token yet"),
        (a_log(next_refresh_at=NOW - 1), "next token    now"),
        (a_log(LIFE, **FRESH | {"failures": 4, "consecutive_failures": 2}), "4 failed, the last 2 in a row"),
        (a_log(HeldToken(0, 0), entries=2, left=0), "event 1"),
    ],
)
def test_what_the_picture_says(log: Log, said: str) -> None:
    assert any(said in line for line in shown(log))


@pytest.mark.parametrize("size", [(LEAST_WIDTH, LEAST_HEIGHT), (80, 24), (300, 90)])
@pytest.mark.parametrize("left", [3609, 3600, 0])
def test_the_picture_fits_the_terminal(size: tuple[int, int], left: float) -> None:
    """However much has happened; the newest is at the bottom."""
    width, height = size
    fresh = a_log(LIFE, 99, left, **FRESH)
    for log in (Log(ENDPOINT), a_log(entries=99), fresh, a_log(LIFE, 99, left, **FRESH, clock_offset=-7380.0)):
        lines = shown(log, NOW + 3600 - left, width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width
        if log.entries:
            assert "event 98" in lines[-1]


# As a process


@ON_POSIX
def test_in_a_terminal() -> None:
    """A picture, which Ctrl-C ends at any moment, and the terminal is as it was."""
    for moment in ("making ready", "next token"):
        terminal = PseudoTerminal("watch")
        try:
            terminal.read(moment)
            terminal.type("\x03")
            assert terminal.end() == 130
            assert restored(terminal.seen)
            assert "Traceback" not in terminal.seen
            assert "eyJ" not in terminal.seen
        finally:
            terminal.close()


@ON_POSIX
def test_in_a_dumb_terminal() -> None:
    """Lines."""
    terminal = PseudoTerminal("watch", TERM="dumb")
    try:
        terminal.read("the next in")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert ESCAPE not in terminal.seen
    finally:
        terminal.close()


@ON_POSIX
def test_sigterm_in_a_pipe() -> None:
    with start("watch") as process:
        assert process.stdout
        assert any("the next in" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        status, out, err = finish(process)
    assert (status, err) == (143, "")
    assert out.endswith("  closed\n")


@ON_POSIX
def test_a_reader_that_leaves() -> None:
    """As `| true` does: before the first line, for nobody knows when another is written."""
    with start("watch", "--json") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(50) == 141
