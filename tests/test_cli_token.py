"""`acs-credential token`: the token on standard output, the rest on standard error, no secret anywhere else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from command_line import ON_POSIX, emulator_in_a_thread, environment_of, finish, is_a_line, start

pytest.importorskip("click", reason="the command line is an extra")

from anyio_acs_credential import AccessToken
from anyio_acs_credential.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio_acs_credential.emulator import Emulator

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
PERSON = "1fd5118e-2576-4263-8130-9503064c837a"
USER = r"8:acs:[0-9a-f-]{36}_[0-9a-f-]{36}"
NO_TOKEN_NEEDED = "endpoint=https://contoso.communication.azure.com/;accesskey=c2VjcmV0"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with emulator_in_a_thread() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(emulator).items():
        monkeypatch.setenv(name, value)


@BACKENDS
def test_the_token_and_nothing_else(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is one line with a valid token; whose it is and when it ends is on standard error."""
    pytest.importorskip(backend)
    assert main(["token", "--backend", backend]) == 0
    out, err = capsys.readouterr()
    token = AccessToken.from_jwt(out.removesuffix("\n"))
    assert token.claims["acsScope"] == "chat"
    assert token.expires_on - time.time() == pytest.approx(24 * 3600, abs=60)
    assert re.fullmatch(rf"acs-credential: a token of the new user {USER}, until \d\S+ \S+ UTC\n", err)
    assert token.token not in err


def test_of_a_user_who_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """With scopes and a lifetime of one's choice, as an object for a program."""
    assert main(["token", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    arguments = ["--user", first["identity"], "--scope", "chat", "--scope", "voip", "--expires-in", "1h30m"]
    assert main(["token", "--json", *arguments]) == 0
    out, err = capsys.readouterr()
    second = json.loads(out)
    assert (err, second["identity"]) == ("", first["identity"])
    token = AccessToken.from_jwt(second["token"])
    assert token.claims["acsScope"] == "chat,voip"
    assert second["expires_on"] == token.expires_on
    assert token.expires_on - time.time() == pytest.approx(5400, abs=60)
    assert main(["token", *arguments]) == 0
    assert capsys.readouterr().err.startswith(f"acs-credential: a token of {first['identity']}, until ")


@pytest.mark.parametrize(("text", "minutes"), [("60m", 60), ("24h", 1440), ("1h1m", 61), ("0023h60m", 1440)])
def test_lifetimes(text: str, minutes: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--json", "--expires-in", text]) == 0
    assert json.loads(capsys.readouterr().out)["expires_on"] - time.time() == pytest.approx(60 * minutes, abs=60)


def test_the_argument_wins_over_the_environment(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACS_CONNECTION_STRING", "nonsense")
    assert main(["token", "--connection-string", emulator.connection_string]) == 0
    assert AccessToken.from_jwt(capsys.readouterr().out.strip()).claims["acsScope"] == "chat"


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["--connection-string", ""], "the connection string has no 'endpoint'"),
        (["--connection-string", "c2VjcmV0"], 'a part without "="'),
        (["--connection-string", "endpoint=http://contoso.com;accesskey=c2VjcmV0"], "https://"),
        (["--connection-string", "endpoint=https://x/;accesskey=!c2VjcmV0"], "not base64"),
        (["--connection-string", f"{NO_TOKEN_NEEDED};accesskey=c2VjcmV0"], "'accesskey' twice"),
        (["--scope", ""], "such as chat or voip"),
        (["--scope", "chat voip"], "one scope each time"),
        (["--user", "c2VjcmV0"], "8:acs:<resource>_<user>"),
        (["--user", ""], "8:acs:<resource>_<user>"),
        (["--user", "4:+1c2VjcmV0"], "8:acs:<resource>_<user>"),
        (["--user", "8:acs:a_b\udcff"], "8:acs:<resource>_<user>"),
        (["--expires-in", ""], "from 1h to 24h, such as 90m or 1h30m"),
        (["--expires-in", "9"], "such as 90m"),
        (["--expires-in", "59m"], "from 1h to 24h"),
        (["--expires-in", "24h1m"], "from 1h to 24h"),
        (["--expires-in", "1d"], "such as 90m"),
        (["--expires-in", "\u0661h"], "such as 90m"),
        (["--backend", "curio"], "'asyncio', 'trio'"),
        ([NO_TOKEN_NEEDED], "unexpected extra argument"),
        (["--connection-text", NO_TOKEN_NEEDED], "--connection-string"),
    ],
)
def test_nonsense_is_answered_with_the_fix(arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line that repeats no secret."""
    assert main(["token", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert is_a_line(err)
    assert fix in err
    assert "c2VjcmV0" not in err


def test_without_a_connection_string(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACS_CONNECTION_STRING")
    assert main(["token"]) == 2
    assert "there is no connection string: set ACS_CONNECTION_STRING" in capsys.readouterr().err


def test_a_resource_that_refuses(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status says so, in a line without the key."""
    key = "bm90IHRoZSBrZXkgb2YgdGhlIHJlc291cmNl"
    monkeypatch.setenv("ACS_CONNECTION_STRING", f"endpoint={emulator.endpoint};accesskey={key}")
    assert main(["token"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert is_a_line(err)
    assert "401" in err
    assert key not in err


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "correct SSL_CERT_FILE"),
        ("HTTPS_PROXY", "foo://proxy", "HTTPS_PROXY names no proxy that can be used: correct it"),
        ("HTTPS_PROXY", "http://proxy:port", "HTTPS_PROXY names no proxy that can be used: correct it"),
    ],
)
def test_an_environment_that_cannot_be(
    name: str, value: str, fix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["token"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert is_a_line(err)
    assert fix in err


def test_a_resource_that_cannot_be_trusted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the emulator's authority, its certificate is none."""
    monkeypatch.delenv("SSL_CERT_FILE")
    assert main(["token"]) == 1
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)


@BACKENDS
@pytest.mark.once
def test_in_a_shell(backend: str) -> None:
    """`acs-credential token | acs-credential inspect`: the token goes from one to the other, and is seen nowhere."""
    pytest.importorskip(backend)
    token = start("token", "--backend", backend)
    inspected = start("inspect", "--json", stdin=token.stdout)
    status, out, err = finish(inspected)
    assert token.stdout
    token.stdout.close()
    assert token.wait(50) == 0
    assert (status, err) == (0, "")
    assert token.stderr
    assert json.loads(out)["identity"] in token.stderr.read()
    token.stderr.close()
    assert "eyJ" not in out


@ON_POSIX
@pytest.mark.once
def test_ctrl_c_while_the_resource_is_silent() -> None:
    """It ends at once, without a word."""
    command = f"{SILENCE}\nsys.exit(main(['token']))"
    done = subprocess.run([sys.executable, "-c", command], check=False, capture_output=True, text=True, timeout=50)  # noqa: S603 - our own interpreter
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@ON_POSIX
@BACKENDS
@pytest.mark.parametrize("command", [["token"], ["watch"], ["teams-phone", "show", PERSON, PERSON]])
@pytest.mark.once
def test_ctrl_c_while_the_resolver_is_silent(command: list[str], backend: str) -> None:
    """Each command ends at once, though nobody can make the resolver give up."""
    pytest.importorskip(backend)
    program = f"{UNRESOLVED}\nsys.exit(main({[*command, '--backend', backend]}))"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=50)  # noqa: S603 - our own interpreter
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# A resolver that says nothing, and a Ctrl-C as soon as it is asked.
UNRESOLVED = f"""
import os, signal, socket, sys, threading
from anyio_acs_credential.cli import main
def getaddrinfo(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()
socket.getaddrinfo = getaddrinfo
os.environ["ACS_CONNECTION_STRING"] = "{NO_TOKEN_NEEDED}"
"""


# A server that takes connections and says nothing, and a Ctrl-C as soon as one is there.
SILENCE = """
import os, signal, socket, sys, threading
from anyio_acs_credential.cli import main
silent = socket.create_server(("127.0.0.1", 0))
def take():
    connection, _ = silent.accept()
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()
threading.Thread(target=take, daemon=True).start()
os.environ["ACS_CONNECTION_STRING"] = f"endpoint=https://127.0.0.1:{silent.getsockname()[1]};accesskey=c2VjcmV0"
"""
