"""`acs-credential doctor` at an emulator in a process of its own, beside `acs-credential --help`: whole processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._measure import Turns
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISES = ()

COMMAND = [sys.executable, "-m", "anyio_acs_credential"]
LIMIT = 2.0  # seconds


def measure(quick: bool) -> Iterator[Row]:
    """A figure for each event loop: all is well, and every check of a key and a user is made."""
    with _emulator() as environment:
        user = json.loads(_run(environment, "token", "--json"))["identity"]
        for backend in ("asyncio", "trio"):
            programs = {"floor": ["--help"], "ours": ["doctor", "--user", user, "--backend", backend]}
            turns = Turns()
            for name in turns.take(programs, 3 if quick else 20):
                with turns.clock(name):
                    _run(environment, *programs[name])
            taken = turns.seconds("ours")
            yield Row(
                figure=f"`acs-credential doctor --user …` on the emulator, {backend}",
                target=f"≤ {LIMIT:g} s",
                measured=f"{taken:.2f} s",
                reached=taken.median <= LIMIT,
                floor=f"`acs-credential --help`: {turns.seconds('floor').median:.2f} s",
            )


@contextmanager
def _emulator() -> Iterator[dict[str, str]]:
    """One that runs for the length of the block, and where commands find it."""
    pipe: Any = subprocess.PIPE
    with subprocess.Popen([*COMMAND, "emulator"], stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603 - ours
        assert process.stdin
        assert process.stdout
        told = json.loads(process.stdout.readline())
        yield {**os.environ, "ACS_CONNECTION_STRING": told["connection_string"], "SSL_CERT_FILE": told["ca_file"]}
        process.stdin.close()  # it ends with that


def _run(environment: dict[str, str], *arguments: str) -> str:
    words = [*COMMAND, *arguments]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    return done.stdout
