"""A terminal that hangs up ends a command as SIGTERM does, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from command_line import ON_POSIX, finish, start

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("click", reason="the command line is an extra")
pytest.importorskip("rich", reason="the live view is an extra")
pytest.importorskip("anycorn", reason="the emulator is an extra")

pytestmark = ON_POSIX
COMMANDS = [
    ["emulator"],
    ["emulator", "--backend", "trio"],
    ["demo", "--json"],
    ["demo", "--entra", "--json"],
    ["demo", "--workers", "2", "--json"],
]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder)}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_hang_up_leaves_no_folder_behind(command: list[str], tmp_path: Path) -> None:
    """The emulator's certificates are removed, from the command and from each demonstration."""
    process = start(*command, env=environment(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline().startswith("{")
    assert [found.name for found in tmp_path.iterdir() if found.name.startswith("acs-emulator-")]
    process.send_signal(signal.SIGHUP)
    status, _, err = finish(process)
    assert (status, err) == (0 if command[0] == "emulator" else 129, "")
    assert not list(tmp_path.iterdir())


def test_under_nohup_a_hang_up_changes_nothing(tmp_path: Path) -> None:
    """What was told to ignore it goes on; SIGTERM ends it still."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start("demo", "--json", "--seconds", "10", env=environment(tmp_path), preexec_fn=ignore)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "started"
    process.send_signal(signal.SIGHUP)
    # A token is fetched after the signal has come: the run went on.
    assert any(json.loads(line)["event"] == "tokens_revoked" for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    assert not list(tmp_path.iterdir())
