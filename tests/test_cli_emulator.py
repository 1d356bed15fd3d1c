"""`acs-credential emulator`: a process for tests in any language, which says when it is ready and ends with them."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from command_line import ON_POSIX, PseudoTerminal, finish, is_a_line, start

from anyio_acs_credential import AccessToken, CommunicationIdentityClient
from anyio_acs_credential.entra import DeviceCodeCredential

pytest.importorskip("click", reason="the command line is an extra")

from anyio_acs_credential.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
NAMES = ["endpoint", "connection_string", "authority", "tenant_id", "client_id", "client_secret", "ca_file"]


def ready(process: subprocess.Popen[str]) -> dict[str, str]:
    """What it says when it is ready."""
    assert process.stdout
    said: dict[str, str] = json.loads(process.stdout.readline())
    return said


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs the command in this process, which closes the pipe at its standard input as soon as it is ready."""
    reading, writing = os.pipe()

    def run(*arguments: str) -> dict[str, Any]:
        class Reader(io.StringIO):
            def write(self, text: str) -> int:
                os.write(writing, b"whatever")
                os.close(writing)
                return super().write(text)

        reader = Reader()
        monkeypatch.setattr(sys, "stdout", reader)
        assert main(["emulator", *arguments]) == 0
        said: dict[str, Any] = json.loads(reader.getvalue())
        return said

    with os.fdopen(reading) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        yield run


@BACKENDS
def test_one_line_of_json(backend: str, closing: Callable[..., dict[str, Any]]) -> None:
    """With the names of the emulator's attributes; it ends when the pipe at its standard input does."""
    pytest.importorskip(backend)
    said = closing("--backend", backend)
    assert list(said) == NAMES
    assert not Path(said["ca_file"]).exists()


def test_on_a_terminal_a_line_for_people(
    closing: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, where no program reads it."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    said = closing()
    assert terminal.getvalue() == (
        f"acs-credential: ready at {said['endpoint']}; set SSL_CERT_FILE={said['ca_file']}; Ctrl-C ends\n"
    )


@BACKENDS
def test_in_another_process(backend: str) -> None:
    """What it says is enough to get a token, which lives as long as was asked for, and to sign in."""
    pytest.importorskip(backend)
    arguments = ["--token-lifetime=7", "--sign-in-as=alice", "--device-code-interval=1", "--entra-token-lifetime=99"]
    arguments.append("--clock-offset=-3600")
    with start("emulator", "--backend", backend, *arguments, stdin=subprocess.PIPE) as process:
        said = ready(process)
        token, entra_token = anyio.run(use, said)
        assert process.stdin
        process.stdin.close()
        assert process.stderr
        assert (process.wait(50), process.stderr.read()) == (0, "")
    assert token.claims["exp"] - token.claims["iat"] == 7
    assert token.claims["exp"] < time.time() - 1800
    assert entra_token.claims["exp"] - entra_token.claims["iat"] == 99
    assert not Path(said["ca_file"]).exists()


async def use(said: dict[str, str]) -> tuple[AccessToken, AccessToken]:
    """A token of a new user, and one of a person who signs in."""
    trusting = ssl.create_default_context(cafile=said["ca_file"])
    async with (
        httpx.AsyncClient(verify=trusting, trust_env=False) as http,
        CommunicationIdentityClient.from_connection_string(said["connection_string"], http_client=http) as identities,
    ):
        _, token = await identities.create_user_and_token(["chat"])

        async def enter(page: str, code: str, _expires_on: int) -> None:
            answer = await http.post(page, data={"user_code": code, "user": "alice"})
            answer.raise_for_status()

        async with DeviceCodeCredential(
            said["client_id"], authority=said["authority"], verify=trusting, prompt_callback=enter
        ) as person:
            scope = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"
            await person.sign_in(scope)
            found = await person.get_token(scope)
    return token, AccessToken(found.token, found.expires_on)


@ON_POSIX
@BACKENDS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(backend: str, number: int) -> None:
    """That is how it is meant to end, so all is well; nothing is left behind."""
    pytest.importorskip(backend)
    with start("emulator", "--backend", backend, stdin=subprocess.DEVNULL) as process:
        said = ready(process)
        process.send_signal(number)
        assert finish(process) == (0, "", "")
    assert not Path(said["ca_file"]).exists()


@ON_POSIX
def test_in_a_terminal() -> None:
    terminal = PseudoTerminal("emulator")
    try:
        terminal.read("Ctrl-C ends")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.seen
    finally:
        terminal.close()


def test_a_standard_input_that_is_no_pipe_ends_nothing() -> None:
    """A file that is at its end, as in the background of a script, says nothing of who started it."""
    with start("emulator", stdin=subprocess.DEVNULL) as process:
        endpoint = ready(process)["endpoint"].removeprefix("https://").split(":")
        with socket.create_connection((endpoint[0], int(endpoint[1])), timeout=50):
            assert process.poll() is None
        process.terminate()
        process.communicate(timeout=50)


@ON_POSIX
def test_a_standard_input_that_is_closed_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reader(io.StringIO):
        def write(self, text: str) -> int:
            os.kill(os.getpid(), signal.SIGINT)
            return super().write(text)

    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", reader := Reader())
    assert main(["emulator"]) == 0
    assert list(json.loads(reader.getvalue())) == NAMES


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["emulator", "--port", f"{port}"]) == 1
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert err.startswith(f"acs-credential: port {port} on 127.0.0.1 cannot be used")
    assert err.endswith("choose another, or 0 for a free one\n")


def test_the_port_that_is_asked_for(closing: Callable[..., dict[str, Any]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert closing("--port", f"{port}")["endpoint"] == f"https://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["--port", "x"], "give whole numbers from 0 to 65535, not 'x'"),
        (["--port", "-1"], "from 0 to 65535"),
        (["--port", "65536"], "from 0 to 65535"),
        (["--port", ""], "from 0 to 65535"),
        (["--token-lifetime", "0"], "give whole seconds from 1 to"),
        (["--token-lifetime", "nan"], "give whole seconds"),
        (["--entra-token-lifetime", "-5"], "give whole seconds"),
        (["--device-code-interval", "61"], "give whole seconds from 1 to 60"),
        (["--device-code-lifetime", "9" * 5000], "give whole seconds from 1 to"),
        (["extra"], "a program and its arguments are behind --: acs-credential emulator -- extra"),
    ],
)
def test_nonsense_is_answered_with_the_fix(arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert fix in err
    assert len(err) < 1200
