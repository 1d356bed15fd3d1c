"""Ctrl-C ends a command quietly, however early it strikes: at the n-th module that is loaded."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from threading import Thread

import pytest
from command_line import ON_POSIX

pytest.importorskip("click", reason="the command line is an extra")
pytest.importorskip("rich", reason="the live view is an extra")
pytest.importorskip("anycorn", reason="the emulator is an extra")

from anyio_acs_credential.cli._interrupt import loading

STRIKE = """
import os, runpy, signal, sys
count, at = 0, int(sys.argv.pop(1))

class Strike:
    @staticmethod
    def find_spec(name, path=None, target=None):
        global count
        if count or name == "anyio_acs_credential.cli":  # the first that anything of ours loads
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGINT)

for name in ("signal", "contextlib", "enum"):  # as where Python has loaded nothing for itself
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Strike)
try:
    runpy.run_module("anyio_acs_credential", run_name="__main__", alter_sys=True)
finally:
    if at == 0:
        print(count)
"""


def run(at: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", STRIKE, str(at), *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@ON_POSIX
@pytest.mark.parametrize("command", [["inspect"], ["--help"]], ids=" ".join)
@pytest.mark.once
def test_it_ends_quietly_at_whichever_import_it_strikes(command: list[str]) -> None:
    """As killed by the signal, or with its status: both are 130 to a shell."""
    total = int(run(0, *command).stdout.split()[-1])
    assert total > 20
    for at in sorted({1, 2, 3, 4, *range(5, total, total // 8), total}):
        done = run(at, *command)
        assert done.returncode in {130, -signal.SIGINT}, (at, done)
        assert not done.stderr.strip(), (at, done)


@ON_POSIX
@pytest.mark.parametrize("command", [["demo"], ["demo", "--backend", "trio"], ["emulator"]], ids=" ".join)
@pytest.mark.once
def test_it_ends_quietly_while_an_emulator_is_loaded(command: list[str]) -> None:
    for at in (1, 40, 80, 120, 160, 200, 240, 280):
        done = run(at, *command)
        assert done.returncode in {130, -signal.SIGINT}, (at, done)
        assert not done.stderr.strip(), (at, done)


def handler() -> object:
    return signal.getsignal(signal.SIGINT)


def test_afterwards_the_signal_is_handled_as_before() -> None:
    """Also after an import that fails; what somebody else has set stays, and other threads change nothing."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        during: list[object] = []
        with suppress(ImportError), loading():
            during.append(handler())
            raise ImportError
        assert during == [signal.SIG_DFL]
        assert handler() is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with loading():
            assert handler() is signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)
        seen: list[object] = []

        def elsewhere() -> None:
            with loading():
                seen.append(handler())

        thread = Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert seen == [signal.default_int_handler]
    finally:
        signal.signal(signal.SIGINT, before)
