"""`acs-credential inspect`: what is in a token and when it ends, and never the token."""

from __future__ import annotations

import io
import json
import sys
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import ON_POSIX, PseudoTerminal, is_a_line, start

from anyio_acs_credential.testing import make_jwt

click = pytest.importorskip("click", reason="the command line is an extra")

from anyio_acs_credential.cli import main  # noqa: E402 - it needs what the extra brings
from anyio_acs_credential.cli._times import span  # noqa: E402 - likewise

NO_TOKEN = "that is no token that can be read: give a whole JWT"


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts bytes at standard input."""
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def check_hidden(token: str, *texts: str) -> None:
    """Neither the token nor any of its segments is in the texts."""
    for part in (token, *token.split(".")):
        assert not any(part in text for text in texts)


def test_a_valid_token(type_in: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Who it is for, its times in words, and each claim."""
    now = int(time.time())
    token = make_jwt(7200, skypeid="acs:a_b", iat=now - 90, nbf=now - 90, acsScope="chat")
    type_in(f"{token}\n".encode())
    assert main(["inspect"]) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()}
    assert err == ""
    assert rows["state"] == "valid"
    assert rows["identity"] == "8:acs:a_b"
    issued = f"{datetime.fromtimestamp(now - 90, UTC):%Y-%m-%d %H:%M:%S} UTC, 1 min 3"
    assert rows["issued"].startswith(issued)
    assert rows["begins"].startswith(issued)
    assert ", in 1 h 59 min" in rows["ends"]
    assert (rows["acsScope"], rows["iat"]) == ('"chat"', f"{now - 90}")
    check_hidden(token, out)


STATES: list[tuple[int, dict[str, Any], str]] = [
    (60, {}, "valid"),
    (60, {"nbf": 0}, "valid"),
    (60, {"nbf": "soon"}, "valid"),
    (60, {"nbf": True}, "valid"),
    (60, {"nbf": 1e300}, "valid"),
    (-1, {}, "expired"),
    (-1, {"nbf": 4e9}, "expired"),
    (60, {"nbf": 4e9}, "not valid yet"),
]


@pytest.mark.parametrize(("lifetime", "claims", "state"), STATES)
def test_the_status_says_whether_it_is_valid(
    lifetime: int, claims: dict[str, Any], state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    token = make_jwt(lifetime, **claims)
    assert main(["inspect", token]) == main(["inspect", "--json", token]) == (state != "valid")
    *lines, as_json = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=1) == ["state", state]
    assert json.loads(as_json)["state"] == state


def test_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    token = make_jwt(3600, skypeid="acs:a_b", nested={"a": [1, None]})
    assert main(["inspect", "--json", f" {token} "]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert err == ""
    assert list(said) == ["state", "expires_on", "expires_in", "identity", "claims"]
    assert said["identity"] == "8:acs:a_b"
    assert said["claims"]["nested"] == {"a": [1, None]}
    assert said["claims"]["exp"] == said["expires_on"]
    assert 3590 <= said["expires_in"] <= 3600
    check_hidden(token, out)


def test_claims_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """What is in a token comes from anywhere: it is shown in ASCII, without control characters."""
    claims: dict[str, Any] = {"skypeid": "\x1b[2J\n", "\x1b[31m": "\x07é\ud800"}
    assert main(["inspect", make_jwt(60, **claims)]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.replace("\n", "").isprintable()
    assert r"\u001b[31m" in out


NONSENSE = {
    "empty": b"",
    "blank": b" \n\n",
    "text": b"nonsense",
    "binary": bytes(range(256)),
    "no ascii": "tökén.a.b".encode(),
    "an opaque token": b"abcdef",
    "encrypted": b"a.b.c.d.e",
    "two tokens": b"eyJhIjoxfQ.eyJhIjoxfQ.x\neyJhIjoxfQ.eyJhIjoxfQ.x",
    "with a prefix": f"Bearer {make_jwt()}".encode(),
    "without an expiry": b"eyJhbGciOiJub25lIn0.eyJhIjoxfQ.x",
    "huge": b"e" * 10_000_000,
    "an infinite claim": make_jwt(60, a=float("inf")).encode(),
    "claims without a bottom": b"eyJhbGciOiJub25lIn0." + b"W1tb" * 15_000 + b".x",
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("arguments", [[], ["-"], ["--json"]])
def test_nonsense_on_standard_input(
    arguments: list[str], data: bytes, type_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that says what is wanted, without what was given."""
    type_in(data)
    assert main(["inspect", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert is_a_line(err)
    assert not data.strip() or data.split()[-1].decode("latin-1") not in err
    assert len(err) < 200


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [(["nonsense"], NO_TOKEN), ([""], "there is no token"), (["--jsno"], "--json"), (["a", "b"], "unexpected extra")],
)
def test_nonsense_as_an_argument(arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert fix in err


def test_a_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["inspect"]) == 2
    assert "there is no token: give one on standard input" in capsys.readouterr().err


def test_on_a_terminal_it_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without showing what is pasted."""
    asked: dict[str, Any] = {}

    def prompt(text: str, **options: Any) -> str:
        asked.update(options, text=text)
        return f"{make_jwt()}\n"

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(click, "prompt", prompt)
    assert main(["inspect"]) == 0
    assert asked == {"text": "Paste a token, which is not shown, and press Enter", "hide_input": True, "err": True}
    assert "valid" in capsys.readouterr().out


@ON_POSIX
def test_what_is_pasted_in_a_terminal_is_not_shown() -> None:
    terminal, token = PseudoTerminal("inspect", TERM="dumb"), make_jwt()
    try:
        terminal.read("press Enter: ")
        terminal.type(f"{token}\n")
        terminal.read("valid")
        assert terminal.end() == 0
        check_hidden(token, terminal.seen)
    finally:
        terminal.close()


@ON_POSIX
def test_ctrl_c_where_a_token_is_wanted() -> None:
    """The terminal shows again what is typed, and there is no traceback."""
    terminal = PseudoTerminal("inspect")
    try:
        terminal.read("press Enter: ")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.seen
    finally:
        terminal.close()


def test_in_a_pipe() -> None:
    """Without a new-line at the end as well, and without a terminal."""
    for status, data in {0: make_jwt(), 1: make_jwt(-5), 2: "\0"}.items():
        process = start("inspect", stdin=-1)
        out, err = process.communicate(data, timeout=50)
        assert (process.returncode, out == "", is_a_line(err)) == (status, status == 2, status == 2)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_661, "1 h 1 min"),
        (3_601, "1 h"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
        (86_460, "1 d"),
    ],
)
def test_spans(seconds: float, said: str) -> None:
    assert span(seconds) == said
