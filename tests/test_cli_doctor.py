"""`acs-credential doctor` as its users run it: lines, JSON, exit statuses, and no secret in any of them."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from command_line import ON_POSIX, emulator_in_a_thread, environment_of, finish, is_a_line, start
from entra_users import SCOPE, TEAMS
from servers import unused_port

pytest.importorskip("click", reason="the command line is an extra")

from anyio_acs_credential.cli import main
from anyio_acs_credential.cli._doctor._finding import Finding, State, failure, not_tried, ok, warning
from anyio_acs_credential.cli._doctor._run import as_line, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio_acs_credential.emulator import Emulator

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
CHECKS = [
    "version",
    "clock",
    "environment",
    "name",
    "tcp",
    "tls",
    "resource",
    "access_key",
    "sign_in",
    "exchange",
    "scopes",
    "assignment",
    "token",
    "chat",
]
WRONG_KEY = "bm90IHRoZSBrZXkgb2YgdGhlIHJlc291cmNl"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with emulator_in_a_thread() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(emulator).items():
        monkeypatch.setenv(name, value)
    for name in ("ACS_ENDPOINT", "ACS_ENTRA_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def diagnosed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and what was found."""
    status = main(["doctor", "--json", *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    said = json.loads(out)
    assert said["well"] is (status == 0)
    assert [check["check"] for check in said["checks"]] == CHECKS
    return status, {check.pop("check"): check for check in said["checks"]}


@BACKENDS
@pytest.mark.promise("R95")
def test_a_line_a_check(backend: str, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order in which a request meets them, and a sentence about all of them."""
    pytest.importorskip(backend)
    assert main(["token", "--json"]) == 0
    user = json.loads(capsys.readouterr().out)["identity"]
    assert main(["doctor", "--user", user, "--backend", backend]) == 0
    out, err = capsys.readouterr()
    *lines, empty, last = out.splitlines()
    assert err == empty == ""
    assert last == "what was tried is well; 3 were not tried"
    assert [re.sub(r"  .*", "", line[11:]).lower().replace(" ", "_") for line in lines] == [
        name.replace("sign_in", "entra_sign-in") for name in CHECKS
    ]
    assert {line[:11].strip() for line in lines} == {"ok", "not tried"}
    assert "eyJ" not in out


@pytest.mark.promise("R95", "R97")
def test_a_failure_has_its_fix_and_the_place_to_read_on(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACS_CONNECTION_STRING", f"endpoint={emulator.endpoint};accesskey={WRONG_KEY}")
    assert main(["doctor", "--user", "8:acs:a_b"]) == 1
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("failure")]
    assert re.fullmatch(
        r"failure    access key     the resource refuses the access key: .* Azure portal "
        r"\(see https://.*/errors/#refused\)",
        line,
    )
    assert out.endswith("\n\n1 failure: begin with the first\n")
    assert WRONG_KEY not in out


def test_as_json(emulator: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, found = diagnosed(capsys, "--scope", "chatt")
    assert (status, found["scopes"]["state"], found["token"]["state"]) == (1, "warning", "not_tried")
    assert found["scopes"] == {
        "state": "warning",
        "text": "the service documents no scope chatt",
        "fix": "choose of chat, voip, chat.join, chat.join.limited, voip.join",
        "see": found["scopes"]["see"],
    }
    assert found["tcp"] == {"state": "ok", "text": found["tcp"]["text"], "fix": None, "see": None}


def test_what_is_not_given_decides_what_is_tried(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint, a sign-in, a person; and nothing at all."""
    monkeypatch.delenv("ACS_CONNECTION_STRING")
    status, found = diagnosed(capsys)
    assert (status, found["name"]["text"]) == (1, "no resource is named")
    monkeypatch.setenv("ACS_ENDPOINT", emulator.endpoint)
    status, found = diagnosed(capsys)
    assert (status, found["resource"]["state"], found["access_key"]["state"]) == (0, "ok", "not_tried")
    sign_in = ["--client-id", emulator.client_id, "--authority", emulator.authority]
    status, found = diagnosed(capsys, *sign_in)
    assert (status, found["sign_in"]["state"], found["exchange"]["state"]) == (0, "ok", "ok")
    assert SCOPE in found["scopes"]["text"]
    monkeypatch.setenv("ACS_ENTRA_TOKEN", emulator.issue_entra_token(SCOPE) + "\n")
    status, found = diagnosed(capsys)
    assert (status, found["chat"]["state"]) == (0, "ok")
    monkeypatch.setenv("ACS_ENTRA_TOKEN", "")
    at_entra = ["--client-id", "x", "--tenant-id", emulator.tenant_id, "--authority", emulator.endpoint]
    status, found = diagnosed(capsys, *at_entra, "--object-id", emulator.add_user("ada"))
    assert (status, found["sign_in"]["fix"][:19]) == (1, "correct --client-id")
    assert TEAMS in found["scopes"]["text"]


def test_both_may_name_the_resource(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """As the emulator's variables do for a program that it runs."""
    assert diagnosed(capsys, "--endpoint", f"{emulator.endpoint}/")[0] == 0


@pytest.mark.promise("R97")
@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["--connection-string", "c2VjcmV0"], 'a part without "="'),
        (["--endpoint", "contoso"], "https://<resource>.communication.azure.com"),
        (["--endpoint", "https://contoso.communication.azure.com"], "name two resources: leave out one"),
        (["--user", "c2VjcmV0"], "8:acs:<resource>_<user>"),
        (["--client-id", ""], "give the id that Entra shows"),
        (["--tenant-id", "a b"], "give the id that Entra shows"),
        (["--object-id", "a\x1bb"], "give the id that Entra shows"),
        (["--object-id", "ada@contoso.example"], "give the id that Entra shows, such as"),
        (["--authority", "https://login.example"], "give --client-id too"),
        (["--entra-token", "Bearer c2VjcmV0"], 'leave out the "Bearer " prefix'),
        (["--entra-token", "a c2VjcmV0\nb"], "white space"),
        (["--client-id", "x", "--authority", "http://login.example"], "https://"),
        (["--scope", "chat voip"], "one scope each time"),
        (["--timeout", "0"], "give whole seconds from 1 to 60"),
        (["--backend", "curio"], "'asyncio', 'trio'"),
    ],
)
def test_nonsense_is_answered_with_the_fix(arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert is_a_line(err)
    assert fix in err
    assert "c2VjcmV0" not in err


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([ok("a")], "all is well"),
        ([ok("a"), not_tried("b")], "what was tried is well; 1 was not tried"),
        ([not_tried("b")] * 2, "what was tried is well; 2 were not tried"),
        ([failure("a", "b")] * 10 + [warning("a", "b")], "10 failures, 1 warning: begin with the first"),
        ([warning("a", "b"), warning("a", "b"), not_tried("b")], "2 warnings: begin with the first"),
    ],
)
def test_the_sentence_at_the_end(findings: list[Finding], said: str) -> None:
    assert summary(findings) == said


def test_a_line_says_what_to_do() -> None:
    assert as_line("tcp", warning("it is slow", "wait")) == "warning    TCP            it is slow: wait"
    assert as_line("tcp", Finding(State.FAILURE, "wait", see="there")) == "failure    TCP            wait (see there)"


@ON_POSIX
@pytest.mark.promise("R98")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.once
def test_a_signal_ends_it_at_once(number: signal.Signals, emulator: Emulator) -> None:
    """While it waits for an answer; what was found is on the screen."""
    emulator.hang("issueAccessToken")
    try:
        process = start("doctor", "--timeout", "60")
        assert process.stdout
        assert process.stdout.readline().startswith("ok         version")
        process.send_signal(number)
        status, out, err = finish(process)
    finally:
        emulator.heal()
    assert (status, out, err) == (128 + number, "", "")


@pytest.mark.promise("R98")
def test_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it found, where nobody listens."""
    port = unused_port()
    monkeypatch.setenv("ACS_CONNECTION_STRING", f"endpoint=https://127.0.0.1:{port};accesskey={WRONG_KEY}")
    status, out, err = finish(start("doctor"))
    assert (status, err) == (1, "")
    assert out.count("not before TCP is well") == 7
    assert out.endswith("\n\n1 failure: begin with the first\n")
