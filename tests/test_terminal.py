"""What comes from outside reaches a terminal with its control characters and bidi marks escaped, from every command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("click", reason="the command line is an extra")
pytest.importorskip("rich", reason="the live view is an extra")
pytest.importorskip("anycorn", reason="the emulator is an extra")

from command_line import COMMAND, Terminal, emulator_in_a_thread, environment_of
from rich.console import Console

from anyio_acs_credential.cli import main
from anyio_acs_credential.cli._output import complain, printable, say
from anyio_acs_credential.cli._view import log_line
from anyio_acs_credential.cli._watch._live import picture
from anyio_acs_credential.cli._watch._log import Log
from anyio_acs_credential.cli._watch._run import entry_as_json, entry_as_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OBEYED = [*map(chr, [*range(32), *range(127, 160)]), "\u061c", "\u200e", "\u200f", "\u2028", "\u2029", "\ufeff"]
OBEYED += [chr(number) for first, last in ((0x202A, 0x202E), (0x2066, 0x2069)) for number in range(first, last + 1)]
HOSTILE = "[red]x[/red]" + "".join(OBEYED) + "\x1b]0;title\x07\x1b[2J\U000e0001"


def obeyed(text: str) -> list[str]:
    """What a terminal would obey in it."""
    return [letter for letter in text if letter != "\n" and not letter.isprintable()]


def test_each_character_that_is_obeyed_is_escaped_and_no_other() -> None:
    assert printable('Zürich → 東京 [red] \\ "q" \'') == 'Zürich → 東京 [red] \\ "q" \''
    for letter in OBEYED:
        assert printable(letter).startswith("\\")
        assert json.loads(f'"{printable(letter)}"') == letter


def test_a_line_stays_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A service cannot forge a second line, on neither of the outputs."""
    say(HOSTILE, "second")
    complain(HOSTILE)
    out, err = capsys.readouterr()
    assert (out.count("\n"), err.count("\n")) == (2, 1)
    assert not obeyed(out + err)
    assert "[red]x[/red]" in out


def test_json_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON leaves DEL as it is: its escape is one that JSON has."""
    say(json.dumps({"text": HOSTILE}))
    out = capsys.readouterr().out
    assert not obeyed(out)
    assert json.loads(out) == {"text": HOSTILE}


def test_what_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    say("Zürich")
    assert raw.getvalue() == b"Z\\xfcrich\n"


def test_watch_shows_it_escaped_as_a_picture_as_lines_and_as_json() -> None:
    """A raw id, a user code, an address and an error of a service; `[red]` is no markup."""
    log = Log("https://contoso.example")
    log.note("sign_in_asked", f"To sign in, open {HOSTILE} and enter the code {HOSTILE}", user_code=HOSTILE)
    (entry,) = log.entries
    terminal = Terminal()
    console = Console(file=terminal, force_terminal=True, no_color=True, width=400, height=24)
    console.print(picture(log, time.time(), 118, 24))
    console.print(log_line("now", "!", "red", HOSTILE))
    shown = terminal.getvalue()
    assert "[red]x[/red]" in shown
    assert "\\u202e" in shown
    assert not set(shown) & {*OBEYED, "\U000e0001"} - {"\n", "\x1b"}
    assert "\x1b[2J" not in shown
    assert "\x1b]" not in shown
    assert not obeyed(printable(entry_as_line(entry)) + printable(entry_as_json(entry)))


@pytest.mark.parametrize("arguments", [["token"], ["token", "--json"]], ids=" ".join)
def test_token_escapes_what_the_service_sends(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A raw id with a title for the window, a colour and a bidi mark; and an error with them."""
    evil = "8:acs:\x1b]0;owned\x07\x1b[31m\u202e\x9b2J\x7f_1"
    with emulator_in_a_thread() as emulator:
        for name, value in environment_of(emulator).items():
            monkeypatch.setenv(name, value)
        good = json.dumps({"identity": {"id": evil}, "accessToken": _issued()})
        for status, body in ((201, good), (403, json.dumps({"error": {"code": evil, "message": evil}}))):
            emulator.answer("POST /identities$", status=status, body=body, headers={"Content-Type": "application/json"})
            assert main(arguments) in {0, 1}
            out, err = capsys.readouterr()
            assert not obeyed(out + err)
            assert "owned" in out + err


def _issued() -> dict[str, Any]:
    from anyio_acs_credential.testing import make_jwt

    return {"token": make_jwt(), "expiresOn": "2999-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "arguments",
    [["\x1b[2J\u202e"], ["token", "--expires-in", "\x1b[2J"], ["watch", "--client-id", "\u202e", "--endpoint", "\x1b"]],
    ids=ascii,
)
def test_a_wrong_argument_is_not_obeyed_either(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert not obeyed("".join(capsys.readouterr()))


SECRET_KEY = "Y2FuYXJ5" * 8


def fail() -> None:
    """A mistake of ours, about what services and files have said."""
    try:
        try:
            raise LookupError(f"{HOSTILE}\nacs-credential: all is well\naccesskey={SECRET_KEY}")  # noqa: TRY301
        except LookupError as first:
            raise RuntimeError(HOSTILE) from first
    except RuntimeError:
        error = ZeroDivisionError(HOSTILE)
        error.add_note(HOSTILE)
        raise error  # noqa: B904 - the context is to be shown as well


def fails_in_a_command(monkeypatch: pytest.MonkeyPatch, mistake: Callable[[], object]) -> None:
    # As main() finds it: the attribute of the package may be what another test has unloaded.
    _commands = import_module("anyio_acs_credential.cli._commands")

    def command(*_: object, **__: object) -> None:
        mistake()

    monkeypatch.setattr(_commands._group, "main", command)


def test_the_traceback_of_a_mistake_of_our_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole chain, for a report of it; no text of others is obeyed, forges a line or shows a secret."""
    fails_in_a_command(monkeypatch, fail)
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert not obeyed(err)
    assert SECRET_KEY not in err
    lines = err.splitlines()
    assert [line.partition(":")[0] for line in lines if "[red]x" in line] == [
        "LookupError", "RuntimeError", "ZeroDivisionError", "[red]x[/red] ]0;title [2J",
    ]  # fmt: skip
    assert not any(line.startswith("acs-credential: all is well") for line in lines)
    assert lines[0] == "Traceback (most recent call last):"
    assert any(line.startswith('  File "') and line.endswith("in fail") for line in lines)
    assert "    raise RuntimeError(HOSTILE) from first" in lines
    assert "please report it" in lines[-1]


class Mute(Exception):  # noqa: N818 - an exception of somebody else's
    """It fails at being asked for its text."""

    def __str__(self) -> str:
        raise self


def mute() -> None:
    raise Mute from None


def speechless() -> None:
    raise AssertionError


def in_a_circle() -> None:
    first, second = KeyError("1"), KeyError("2")
    first.__cause__, second.__cause__ = second, first
    raise first


@pytest.mark.parametrize(
    ("mistake", "last"),
    [(mute, "Mute: <it has no text>"), (speechless, "AssertionError"), (in_a_circle, "KeyError: '1'")],
)
def test_mistakes_that_are_hard_to_tell(
    mistake: Callable[[], object], last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails_in_a_command(monkeypatch, mistake)
    assert main([]) == 1
    assert capsys.readouterr().err.splitlines()[-2] == last


def test_a_frame_whose_source_is_gone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And whose file has a name that a terminal would obey."""
    fails_in_a_command(monkeypatch, lambda: exec(compile("1 / 0", "no\x1b[2J\u202e", "exec"), {}))  # noqa: S102
    assert main([]) == 1
    err = capsys.readouterr().err
    assert not obeyed(err)
    assert "no\\u001b[2J" in err


@pytest.mark.parametrize("encoding", ["ascii", None])
def test_a_mistake_where_standard_error_takes_little_or_nothing(
    encoding: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding=encoding) if encoding else None)

    def mistake() -> None:
        raise ValueError("Zürich")

    fails_in_a_command(monkeypatch, mistake)
    assert main([]) == 1
    assert (b"ValueError: Z\\xfcrich\n" in raw.getvalue()) == (encoding is not None)


@pytest.mark.parametrize("arguments", [["inspect"], ["inspect", "--json"]], ids=" ".join)
def test_an_ascii_terminal_is_enough(arguments: list[str], tmp_path: Path) -> None:
    from anyio_acs_credential.testing import make_jwt

    token = tmp_path / "token"
    token.write_text(make_jwt(name=HOSTILE))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "COLUMNS": "1"}
    with token.open() as stdin:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [*COMMAND, *arguments], check=False, stdin=stdin, capture_output=True, text=True, env=environment
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert not obeyed(done.stdout)
