"""Output that nobody reads, that has no room or that is closed: one line or silence, and no traceback."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, ON_POSIX, emulator_in_a_thread, environment_of, finish, is_a_line, start

from anyio_acs_credential.testing import make_jwt

pytest.importorskip("click", reason="the command line is an extra")

from anyio_acs_credential.cli import _commands, _output, main

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["token", "--help"],
        ["token"],
        ["inspect", make_jwt()],
        ["watch"],
        ["watch", "--json"],
        ["emulator"],
        ["demo", "--seconds=10"],
    ],
    ids=lambda arguments: " ".join(arguments)[:20],
)
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
NO_ROOM = "acs-credential: the output cannot be written (No space left on device): send it elsewhere\n"


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with emulator_in_a_thread() as emulator:
        inherited = {
            name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"
        }  # as people have it
        yield {**inherited, **environment_of(emulator)}


@ON_POSIX
@COMMANDS
@pytest.mark.once
def test_a_pipe_that_nobody_reads(arguments: list[str], environment: dict[str, str]) -> None:
    """As before `| head -n 0`: no word of it, and the status of a program that the pipe ended."""
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*arguments, stdout=writing, env=environment, stdin=subprocess.DEVNULL)
    os.close(writing)
    status, _, err = finish(process)
    assert status == (1 if "--help" in arguments else 141)
    assert err.startswith("acs-credential: a token of the new user") if arguments == ["token"] else err == ""
    assert err.count("\n") <= 1


@FULL
@COMMANDS
@pytest.mark.once
def test_a_device_without_room(arguments: list[str], environment: dict[str, str]) -> None:
    with Path("/dev/full").open("w") as full:
        status, _, err = finish(start(*arguments, stdout=full, env=environment, stdin=subprocess.DEVNULL))
    assert status == 1
    assert err.endswith(NO_ROOM)
    assert err.count("\n") == (2 if arguments == ["token"] else 1)


@FULL
@pytest.mark.once
def test_a_standard_error_without_room(environment: dict[str, str]) -> None:
    """There is nobody else to tell, and the token is what was asked for."""
    with Path("/dev/full").open("w") as full:
        status, out, _ = finish(start("token", stderr=full, env=environment))
        assert (status, out[:3]) == (0, "eyJ")
        assert finish(start("token", "--nonsense", stderr=full, env=environment))[:2] == (2, "")


@ON_POSIX
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["token", "inspect nonsense", "inspect", "--help", "emulator --port nonsense"])
@pytest.mark.once
def test_streams_that_are_closed(arguments: str, closed: str, environment: dict[str, str]) -> None:
    """The status is what it would be."""
    command = f'exec "$@" {closed}'
    words = ["sh", "-c", command, "sh", *COMMAND, *arguments.split()]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment, timeout=50, input="")  # noqa: S603 - our own
    assert done.returncode == (0 if arguments in {"token", "--help"} else 2)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1


class Full(io.StringIO):
    """Standard output without room, or without a reader."""

    def __init__(self, number: int, descriptor: int) -> None:
        super().__init__()
        self._number = number
        self._descriptor = descriptor

    def write(self, _text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))

    def fileno(self) -> int:
        return self._descriptor


@ON_POSIX
@pytest.mark.parametrize(
    ("arguments", "number", "status"),
    [
        (["inspect", make_jwt()], errno.ENOSPC, 1),
        (["inspect", make_jwt()], errno.EPIPE, 141),
        (["--help"], errno.ENOSPC, 1),
    ],
)
def test_what_cannot_be_written(
    arguments: list[str],
    number: int,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever writes, the command or its help."""
    with Path(os.devnull).open("w") as nowhere:
        monkeypatch.setattr(sys, "stdout", Full(number, nowhere.fileno()))
        assert main(arguments) == status
    assert capsys.readouterr().err == ("" if number == errno.EPIPE else NO_ROOM)


def test_a_standard_output_that_is_closed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["inspect", make_jwt()]) == 0
    sys.stdout.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stream", [None, Full(errno.ENOSPC, 2)])
def test_nobody_to_complain_to(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["inspect", "nonsense"]) == 2


def test_a_fault_of_our_own_comes_out() -> None:
    """It is not explained away."""
    with pytest.raises(ZeroDivisionError):
        _commands._explain(ZeroDivisionError())


def test_what_counts_of_several_errors() -> None:
    """Ctrl-C, wherever it is among them, and else the first."""
    interrupt, first, second = KeyboardInterrupt(), ValueError(), TypeError()
    among = BaseExceptionGroup("", [first, BaseExceptionGroup("", [second, interrupt])])
    assert _commands._the_one_that_counts(among) is interrupt
    assert _commands._the_one_that_counts(ExceptionGroup("", [ExceptionGroup("", [first]), second])) is first
    assert _commands._the_one_that_counts(first) is first


def test_an_output_error_names_the_fix() -> None:
    assert is_a_line(f"acs-credential: {_output.OutputError(OSError(errno.EIO, 'broken'))}\n")
