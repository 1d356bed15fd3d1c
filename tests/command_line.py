"""The command line as its users run it: as a process, in a pipe, in a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from select import select
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import start_blocking_portal

from anyio_acs_credential.emulator import Emulator, open_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "anyio_acs_credential"]
ESCAPE = "\x1b"
ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these signals nor pseudo-terminals")


class Terminal(io.StringIO):
    """What is written to it, as to a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def a_terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Terminal:
    """Standard output as a terminal, for the rest of the test."""
    for name, value in ({"TERM": "xterm", "COLUMNS": "80", "LINES": "24"} | environment).items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    return terminal


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The command as a process, whose output is piped."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([*COMMAND, *arguments], text=True, **options)  # noqa: S603 - our own interpreter


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for its end: the exit status, and what it wrote."""
    out, err = process.communicate(timeout=50)
    return process.returncode, out, err


def is_a_line(err: str) -> bool:
    """Whether a user is told what is wrong as users are: in one line, without a traceback."""
    return err.startswith("acs-credential: ") and err.count("\n") == 1 and err.endswith("\n") and err[:-1].isprintable()


class PseudoTerminal:
    """A terminal of 80 by 24, and the command in it."""

    def __init__(self, *arguments: str, **changes: str) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self._master, slave = pty.openpty()
        self._attributes = termios.tcgetattr(slave)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        environment |= {"TERM": "xterm-256color", "NO_COLOR": "1", "PYTHONUTF8": "1", **changes}
        self.process = start(
            *arguments,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        self._slave = slave
        self.seen = ""

    def read(self, until: str | None = None) -> None:
        """Read until the text was seen, or to the end."""
        if until is None:
            self._let_go()
        while until is None or until not in self.seen:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # Linux's way to say that nobody has it open any more
                chunk = b""
            if not chunk:
                assert until is None
                return
            self.seen += chunk.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Wait for the process: its exit status, with the terminal's own settings as they were."""
        import termios

        while self.process.poll() is None:
            if select([self._master], [], [], 0.05)[0]:  # what nobody reads would keep it from ending
                self.seen += os.read(self._master, 65536).decode("utf-8", "replace")
        assert termios.tcgetattr(self._slave) == self._attributes
        self.read()
        return self.process.returncode

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._let_go()
        os.close(self._master)

    def _let_go(self) -> None:
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def restored(seen: str) -> bool:
    """Whether the cursor is visible and the first screen is back."""
    return seen.rindex(f"{ESCAPE}[?25h") > seen.rindex(f"{ESCAPE}[?25l") and seen.count(
        f"{ESCAPE}[?1049h"
    ) == seen.count(f"{ESCAPE}[?1049l")


@contextmanager
def emulator_in_a_thread(**settings: Any) -> Iterator[Emulator]:
    """An emulator for commands, which have event loops and processes of their own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_emulator(**settings)) as emulator:
        yield emulator


def environment_of(emulator: Emulator) -> dict[str, str]:
    """Where a command finds it."""
    return {"ACS_CONNECTION_STRING": emulator.connection_string, "SSL_CERT_FILE": emulator.ca_file}
