"""`acs-credential emulator -- PROGRAM`: a program that finds the emulator, gets its signals, and is ended with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from command_line import ON_POSIX, PseudoTerminal, is_a_line, start

pytest.importorskip("click", reason="the command line is an extra")
pytest.importorskip("anycorn", reason="the emulator is an extra")

from anyio_acs_credential.cli import _running, main
from anyio_acs_credential.cli._running import Program

if TYPE_CHECKING:
    from pathlib import Path

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
PYTHON = [sys.executable, "-c"]
USES_IT = """
import json, os, sys
import anyio
from anyio_acs_credential import CommunicationIdentityClient

async def main():
    async with CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity:
        return (await identity.get_token(os.environ["ACS_USER_ID"], ["voip"])).claims["skypeid"]

named = {name: os.environ[f"ACS_{name}"] for name in ("USER_ID", "ENDPOINT")}
print(json.dumps({"user": f"8:{anyio.run(main)}", **named, "arguments": sys.argv[1:], "read": input()}))
print("to the other", file=sys.stderr)
sys.exit(7)
"""
WAITS = """
import os, signal, sys

def handle(number, _frame):
    seen.append(number)
    os.write(1, f"got {number}\\n".encode())
    if number == signal.SIGTERM:
        os.write(1, f"seen {seen}\\n".encode())
        os._exit(40)

seen = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, handle)
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


@BACKENDS
@pytest.mark.once
def test_it_finds_the_emulator_and_is_ended_with(backend: str, tmp_path: Path) -> None:
    """With the connection string, trust and all its own streams and arguments; its status is the command's."""
    pytest.importorskip(backend)
    command = ["emulator", "--backend", backend, "--token-lifetime", "60", "--", *PYTHON, USES_IT, "--port", "--", "x"]
    with start(*command, stdin=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        out, err = process.communicate("a line\n", timeout=50)
    said = json.loads(out)
    assert said["user"] == said["USER_ID"]
    assert said["ENDPOINT"].startswith("https://127.0.0.1:")
    assert (said["arguments"], said["read"]) == (["--port", "--", "x"], "a line")
    assert (process.returncode, err) == (7, "to the other\n")
    assert not list(tmp_path.iterdir())


@BACKENDS
@pytest.mark.parametrize(("program", "status"), [("pass", 0), ("import sys; sys.exit(3)", 3)])
def test_its_status_is_the_commands(backend: str, program: str, status: int) -> None:
    pytest.importorskip(backend)
    assert main(["emulator", "--backend", backend, "--", *PYTHON, program]) == status


@ON_POSIX
@BACKENDS
def test_a_signal_that_ends_it_is_in_the_status(backend: str) -> None:
    """As in a shell."""
    pytest.importorskip(backend)
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert main(["emulator", "--backend", backend, "--", *PYTHON, program]) == 128 + signal.SIGKILL


@ON_POSIX
@BACKENDS
@pytest.mark.once
def test_signals_pass_to_it(backend: str, tmp_path: Path) -> None:
    """It decides what they mean: only when it ends does the command, and leaves nothing behind."""
    pytest.importorskip(backend)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = ["emulator", "--backend", backend, "--", *PYTHON, WAITS]
    with start(*command, stdin=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
            assert process.stdout.readline() == f"got {number.value}\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=50)
    assert (process.returncode, err) == (40, "")
    assert out == "got 15\nseen [2, 1, 2, 15]\n"
    assert not list(tmp_path.iterdir())


@ON_POSIX
@BACKENDS
@pytest.mark.once
def test_ctrl_c_in_a_terminal_reaches_it_once(backend: str) -> None:
    """The terminal sends it to both; passed on, it would be there twice."""
    pytest.importorskip(backend)
    terminal = PseudoTerminal("emulator", "--backend", backend, "--", *PYTHON, WAITS)
    try:
        terminal.read("ready")
        terminal.type("\x03")
        terminal.read("got 2")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 40
        assert "seen [2, 15]" in terminal.seen
    finally:
        terminal.close()


@ON_POSIX
@BACKENDS
def test_a_signal_in_this_process_passes_to_it(backend: str) -> None:
    """In one whose command line it is."""
    pytest.importorskip(backend)
    program = "import os, signal; os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
    assert main(["emulator", "--backend", backend, "--", *PYTHON, program]) == 128 + signal.SIGTERM


@ON_POSIX
@pytest.mark.parametrize("foreground", [True, False])
def test_who_has_typed_it(foreground: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C is the terminal's where this is what runs there; what else comes is passed on."""
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + (not foreground))
    assert _running._was_typed(signal.SIGINT) is foreground
    assert not _running._was_typed(signal.SIGTERM)


@ON_POSIX
def test_without_a_terminal_nobody_has_typed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise OSError

    monkeypatch.setattr(os, "tcgetpgrp", refuse)
    assert not _running._was_typed(signal.SIGINT)


@ON_POSIX
@pytest.mark.parametrize("ignored", [False, True])
def test_a_hang_up_ends_it_unless_that_is_ignored(ignored: bool) -> None:
    """Whether these tests themselves are run under nohup or not."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        assert (signal.SIGHUP in _running._ending()) is not ignored
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_signal_before_it_runs_is_not_its() -> None:
    """And one that comes when it has ended does no harm."""
    program = Program([*PYTHON, "pass"])
    assert not program.take(signal.SIGTERM)
    assert await program.run({}) == 0
    assert program.take(signal.SIGTERM)


@ON_POSIX
async def test_cancelling_kills_it(tmp_path: Path) -> None:
    """However deaf it is."""
    os.mkfifo(told := tmp_path / "told")
    deaf = "import pathlib, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    program = Program([*PYTHON, f"{deaf}; pathlib.Path(sys.argv[1]).write_text('deaf'); signal.pause()", str(told)])
    async with anyio.create_task_group() as group:
        group.start_soon(program.run, {})
        assert await anyio.to_thread.run_sync(told.read_text) == "deaf"
        program.take(signal.SIGTERM)
        group.cancel_scope.cancel()
    assert program._process
    assert program._process.returncode == -signal.SIGKILL


@ON_POSIX
@BACKENDS
@pytest.mark.parametrize(
    ("name", "status", "reason"), [("nothing", 127, "No such file or directory"), ("", 126, "Permission denied")]
)
def test_what_is_no_program_is_answered_with_the_fix(
    backend: str, name: str, status: int, reason: str, *, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A folder, and what is not there; the statuses are a shell's."""
    pytest.importorskip(backend)
    assert main(["emulator", "--backend", backend, "--", str(tmp_path / name)]) == status
    out, err = capfd.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert f"cannot be run ({reason}): give a program's name on the PATH, or its path" in err


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["--"], "there is no program behind --: name one, or leave out --"),
        (["--port", "x", "--", "true"], "give whole numbers"),
        (["true"], "a program and its arguments are behind --: acs-credential emulator -- true (see"),
        (["--port", "0", "python", "-m", "a b"], "are behind --: acs-credential emulator -- python -m 'a b' (see"),
        (["true", "--", "false", "x"], "are behind --: acs-credential emulator -- true false x (see"),
    ],
)
def test_nonsense_is_answered_with_the_fix(arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A program is taken for one behind -- alone: a slip among the options is not run."""
    assert main(["emulator", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert fix in err
    assert "acs-credential emulator --help" in err
