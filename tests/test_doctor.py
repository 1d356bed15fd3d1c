"""What `acs-credential doctor` finds: each check meets a real fault, on a socket, in a certificate, in a variable."""

from __future__ import annotations

import errno
import itertools
import os
import re
import socket
import ssl
import threading
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from importlib import metadata
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream
from command_line import ON_POSIX
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from entra_users import SCOPE, TEAMS
from promises import ROOT
from servers import answer, head, reset, send_bytes, serve, silence, unused_port

pytest.importorskip("click", reason="the command line is an extra")

from anyio_acs_credential import AccessToken, CommunicationIdentityClient
from anyio_acs_credential._common.errors import page_of
from anyio_acs_credential._common.redaction import Secret
from anyio_acs_credential.cli._doctor._case import Case, SignIn
from anyio_acs_credential.cli._doctor._certificate import read_certificate
from anyio_acs_credential.cli._doctor._examination import TITLES, examine
from anyio_acs_credential.cli._doctor._finding import Finding, State
from anyio_acs_credential.cli._doctor._machine import judge_versions
from anyio_acs_credential.cli._doctor._meaning import Trouble, Visit, judge_tls
from anyio_acs_credential.cli._doctor._network import reason_of
from anyio_acs_credential.cli._doctor._offset import judge_clock
from anyio_acs_credential.cli._doctor._resource import check_chat
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from anyio.abc import ByteStream, SocketStream

    from anyio_acs_credential.emulator import Emulator

OK, WARNING, FAILURE, NOT_TRIED = State
PATIENT = 60.0
"""Seconds: nobody waits for them."""
WRONG_KEY = "bm90IHRoZSBrZXkgb2YgdGhlIHJlc291cmNl"
GUID = "87d349ed-44d7-43e1-9a83-5f2406dee5bd"
UNTRUSTED = "Contoso Inspection CA, which this machine does not trust"
AZURE = "contoso.communication.azure.com"


ANCHORS = {
    heading.lower().replace(" ", "-")
    for heading in re.findall(r"^### (.+)$", (ROOT / "docs" / "errors.md").read_text("utf-8"), re.MULTILINE)
}


async def examined(case: Case) -> dict[str, Finding]:
    """What is found, and told in order."""
    told: list[str] = []
    found = await examine(case, lambda name, _finding: told.append(name))
    assert told == list(found) == list(TITLES)
    for finding in found.values():
        assert (finding.text + finding.fix).isprintable()
        assert finding.fix or finding.see or finding.state in {OK, NOT_TRIED}
        assert finding.see.removeprefix(page_of("")) in {"", *ANCHORS}
    return dict(found)


async def wrong(case: Case) -> tuple[str, Finding]:
    """The first check in the order of a request that is not well, and what it found."""
    found = await examined(case)
    return next((name, finding) for name, finding in found.items() if finding.state in {WARNING, FAILURE})


def not_tried(found: Mapping[str, Finding]) -> set[str]:
    return {name for name, finding in found.items() if finding.state is NOT_TRIED}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def emulated(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncGenerator[Emulator]:
    async with open_emulator(**settings) as emulator:
        monkeypatch.setenv("SSL_CERT_FILE", emulator.ca_file)
        yield emulator


def with_key(emulator: Emulator, **changes: Any) -> Case:
    given: dict[str, Any] = {"endpoint": emulator.endpoint, "key": Secret(emulator.access_key), "patience": PATIENT}
    return Case(**{**given, **changes})


async def a_user(emulator: Emulator) -> str:
    async with CommunicationIdentityClient.from_connection_string(emulator.connection_string) as identity:
        return (await identity.create_user()).raw_id


# All is well


@pytest.mark.promise("R95", "R96")
async def test_all_is_well_with_a_key_and_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing was made or changed: a token was issued for who was named, and chat was read."""
    async with emulated(monkeypatch) as emulator:
        user = await a_user(emulator)
        users, before = emulator._service.identities(), len(emulator.requests)
        found = await examined(with_key(emulator, user=user))
        assert emulator._service.identities() == users
        made = [(request.method, request.path) for request in emulator.requests[before:]]
    assert {name: finding.text for name, finding in found.items() if finding.state not in {OK, NOT_TRIED}} == {}
    assert not_tried(found) == {"sign_in", "exchange", "assignment"}
    assert found["token"].text.startswith(f"a token of {user}, good for chat, until ")
    assert [path.rpartition("/")[2] for _, path in made] == [":issueAccessToken"] * 3 + ["threads"]
    assert [method for method, _ in made] == ["POST"] * 3 + ["GET"]


async def test_all_is_well_with_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulated(monkeypatch) as emulator:
        case = Case(
            endpoint=emulator.endpoint,
            scopes=(SCOPE,),
            sign_in=SignIn(emulator.client_id, f"{emulator.authority}/v2.0"),
            entra_token=Secret(emulator.issue_entra_token(SCOPE)),
            patience=PATIENT,
        )
        found = await examined(case)
    assert {name for name, finding in found.items() if finding.state is not OK} == {"access_key", "assignment"}
    assert found["token"].text.startswith("a token of 8:acs:")


@pytest.mark.promise("R96")
async def test_what_is_not_given_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the way to the resource is examined; without a user no token is issued."""
    async with emulated(monkeypatch) as emulator:
        found = await examined(Case(endpoint=emulator.endpoint, patience=PATIENT))
        users = emulator._service.identities()
    assert not_tried(found) == {"access_key", "sign_in", "exchange", "assignment", "token", "chat"}
    assert found["access_key"].text == "there is no connection string: set ACS_CONNECTION_STRING"
    assert found["token"].text == "no user is made here: give --user and a connection string"
    assert users == []


async def test_an_application_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulated(monkeypatch) as emulator:
        sign_in = SignIn(emulator.client_id, f"{emulator.authority}/v2.0")
        found = await examined(Case(scopes=(SCOPE,), sign_in=sign_in, patience=PATIENT))
    assert {name for name, finding in found.items() if finding.state is OK} == {
        "version",
        "environment",
        "sign_in",
        "scopes",
    }
    assert found["token"].text == "no resource is named: give --endpoint"


async def test_nothing_is_named() -> None:
    found = await examined(Case())
    assert (found["name"].state, found["name"].fix) == (FAILURE, "set ACS_CONNECTION_STRING, or give --endpoint")
    assert found["tls"] == Finding(NOT_TRIED, "not before name is well")


# Versions


@pytest.mark.promise("R95")
async def test_a_package_that_is_too_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As when another project in the same environment holds one back."""
    folder = tmp_path / "httpx-0.23.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: httpx\nVersion: 0.23.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = await examined(Case())
    assert found["version"].state is WARNING
    assert found["version"].text == "httpx 0.23.1 is older than this package needs"
    assert re.fullmatch(r"pip install --upgrade 'httpx>=0[0-9.]+'", found["version"].fix)


NEEDS = ("anyio>=4.16", "pyjwt>=2.10.1", "rich>=14; extra == 'cli'", 'click >=8.1; extra == "cli"', "x; extra == 'x'")


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ({"anyio": "4.16.0", "pyjwt": "2.11rc1", "rich": "14.0", "click": "9"}, "extras: cli"),
        ({"anyio": "4.16", "pyjwt": "2.10.1", "rich": "14.0"}, "extras: none"),
        ({"anyio": "4.15.9", "pyjwt": "2.9"}, "anyio 4.15.9, pyjwt 2.9 is older"),
        ({"anyio": "4.16", "pyjwt": "2.11", "click": "8.0.9"}, "click 8.0.9 is older"),
    ],
)
def test_versions(installed: dict[str, str], said: str) -> None:
    assert said in judge_versions(NEEDS, installed).text


async def test_an_extra_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "rich":
            raise metadata.PackageNotFoundError
        return real(name)

    real = metadata.version
    monkeypatch.setattr(metadata, "version", version)
    extras = (await examined(Case()))["version"].text.partition("extras: ")[2].split(", ")
    assert "emulator" in extras
    assert "cli" not in extras


async def test_what_runs_without_having_been_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(_name: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", requires)
    assert (await examined(Case()))["version"].text.endswith("extras: none")


# The clock


@pytest.mark.promise("R95", "R99")
@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [
        (7380, FAILURE, r"this machine's clock is 2 h 3 min ahead of the service's, so that signatures are refused"),
        (-7380, FAILURE, r"this machine's clock is 2 h 3 min behind the service's"),
        (120, WARNING, r"this machine's clock is 2 min ahead of the service's"),
        (5, OK, "this machine's clock agrees with the service's"),
        (-315_360_000, FAILURE, r"this machine's clock is 36\d\d days( \d+ h)? behind"),
    ],
)
async def test_a_wrong_clock(seconds: float, state: State, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found, and nothing else is blamed for it."""
    async with emulated(monkeypatch, clock_offset=-seconds) as emulator:
        found = await examined(with_key(emulator, user=await a_user(emulator)))
    assert (found["clock"].state, bool(re.match(said, found["clock"].text))) == (state, True)
    rest = {name: finding for name, finding in found.items() if name != "clock"}
    assert {finding.state for finding in rest.values()} == {OK, NOT_TRIED}
    assert re.search("for (23 h 59 min|1 d)$", found["token"].text)


NOW = 1_800_000_000


async def test_a_date_from_a_cache_says_nothing_of_the_clock() -> None:
    """What an answer proves is one matter for all of the package: see `proof_in`."""
    hour_ago = formatdate(time.time() - 3600, usegmt=True)
    refused = answer(401, {"error": {"code": "Denied"}}, ("Date", hour_ago), ("Age", "3600"))
    async with serve(refused, refused) as server:
        found = await examined(Case(endpoint=server.url, patience=PATIENT))
    assert found["clock"] == Finding(NOT_TRIED, "no answer has told the service's time")


def test_a_clock_before_the_certificate() -> None:
    """TLS fails with it, so that no answer tells the time: the certificate does."""
    found = judge_clock(None, 0, NOW)
    assert found == Finding(
        FAILURE,
        "it is 1970-01-01 00:00:00 UTC here, and the service's certificate begins at 2027-01-15 08:00:00 UTC",
        "set it, or switch on its synchronisation (NTP)",
    )
    assert judge_clock(None, NOW, 0).state is NOT_TRIED


# The environment


@pytest.mark.promise("R95")
@pytest.mark.parametrize(
    ("name", "value", "state", "said"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem", FAILURE, "SSL_CERT_FILE names '/nowhere/ca.pem', which cannot be used"),
        ("SSL_CERT_DIR", "/nowhere", FAILURE, "SSL_CERT_DIR names '/nowhere', where OpenSSL finds no certificate"),
        ("HTTPS_PROXY", "http://user:s3cret@proxy:port", FAILURE, "HTTPS_PROXY names no proxy that can be used"),
        ("ALL_PROXY", "ftp://proxy.example", FAILURE, "ALL_PROXY names no proxy"),
        ("ALL_PROXY", "socks5://user:s3cret@proxy.example", FAILURE, "ALL_PROXY names a SOCKS proxy: install"),
        ("NO_PROXY", "azure.com, [, *:443", WARNING, "NO_PROXY has what names no host ([, *:443)"),
        ("NO_PROXY", "azure.com:99999", WARNING, "NO_PROXY has what names no host (azure.com:99999)"),
        ("NO_PROXY", "fe80::/10,10.0.0.0/8,azure.com", WARNING, "NO_PROXY has what httpx cannot take (fe80::/10)"),
    ],
)
async def test_what_the_environment_says(
    name: str, value: str, state: State, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "SSL_CERT_DIR":
        monkeypatch.delenv("SSL_CERT_FILE")
    if "socks" in value:
        monkeypatch.setattr("anyio_acs_credential._http.own_transport.find_spec", lambda _name: None)
    monkeypatch.setenv(name, value)
    found = await examined(Case(endpoint=f"https://127.0.0.1:{unused_port()}"))
    assert found["environment"].state is state
    assert found["environment"].text.startswith(said)
    assert "s3cret" not in str(found)
    assert (found["name"].state is NOT_TRIED) == (state is FAILURE)


async def test_an_environment_that_httpx_alone_dislikes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It reads the proxy for plain HTTP also where that is for nobody here."""
    monkeypatch.setenv("HTTP_PROXY", "ftp://user:s3cret@proxy.example")
    monkeypatch.setenv("NO_PROXY", "*")
    assert (await examined(Case()))["environment"].state is OK
    monkeypatch.setenv("NO_PROXY", "azure.com *")  # httpx knows commas alone
    found = (await examined(Case()))["environment"]
    assert (found.state, found.see) == (WARNING, page_of("environment"))
    assert "s3cret" not in str(found)


async def test_certificates_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    found = (await examined(Case(endpoint=f"https://127.0.0.1:{unused_port()}")))["environment"]
    assert found == Finding(OK, "requests go directly; trusted authorities: those of certifi")


@ON_POSIX
@pytest.mark.promise("R98")
async def test_a_file_that_nobody_finishes_writing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each check has its time."""
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    monkeypatch.setenv("SSL_CERT_FILE", str(pipe))
    name, found = await wrong(Case(endpoint="https://127.0.0.1", patience=0.02))
    assert (name, found.text) == ("environment", "this check does not come to an end")
    with ExitStack() as stack:  # the thread that waits for it ends
        stack.callback(os.close, os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


# Names and connections


def test_why_there_is_no_connection() -> None:
    said = "it does not say why"
    assert reason_of(None) == reason_of(OSError("busy")) == said
    wrapped = ExceptionGroup("all", [OSError(111, "x")])
    wrapped.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")
    assert reason_of(wrapped) == os.strerror(errno.ECONNREFUSED)


@pytest.mark.promise("R95")
async def test_a_name_that_does_not_resolve() -> None:
    found = await examined(Case(endpoint="https://contoso.invalid", patience=PATIENT))
    assert (found["name"].state, found["name"].see) == (FAILURE, page_of("unreachable"))
    assert found["name"].text.startswith("contoso.invalid has no address (")
    assert found["tcp"].text == found["token"].text == "not before name is well"
    assert not_tried(found) == {*TITLES} - {"version", "environment", "name", "scopes"}


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "correct the endpoint; if"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "see to this machine's network"),
        (UnicodeError("label too long"), "correct the endpoint; if that is private"),
    ],
)
async def test_what_the_resolver_says(error: Exception, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_arguments: Any, **_options: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    name, found = await wrong(Case(endpoint=f"https://{AZURE}", patience=PATIENT))
    assert (name, found.fix.startswith(fix)) == ("name", True)


@pytest.mark.promise("R98")
async def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left alone, in a thread that keeps no process from its end."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def getaddrinfo(*_arguments: Any, **_options: Any) -> Any:
        threads.append(threading.current_thread())
        over.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    name, found = await wrong(Case(endpoint=f"https://{AZURE}", patience=0.1))
    assert name == "name"
    assert found.text == f"the name servers do not say within 0.1 seconds where {AZURE} is"
    assert [thread.daemon for thread in threads] == [True]
    over.set()
    await anyio.to_thread.run_sync(threads[0].join)


async def test_a_name_that_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(answer(401, {"error": {"code": "Denied"}})) as server:
        found = await examined(Case(endpoint=server.url.replace("127.0.0.1", "localhost"), patience=PATIENT))
    assert re.fullmatch(r"localhost has the address .*127\.0\.0\.1.*", found["name"].text)
    assert found["resource"] == Finding(OK, "localhost is a Communication Services resource")


@pytest.mark.promise("R95")
async def test_a_closed_port() -> None:
    port = unused_port()
    name, found = await wrong(Case(endpoint=f"https://127.0.0.1:{port}", patience=PATIENT))
    assert (name, found.state, found.text) == (
        "tcp",
        FAILURE,
        f"127.0.0.1:{port} takes no connection (Connection refused)",
    )


@contextmanager
def full() -> Iterator[int]:
    """A port whose queue of connections is full: what comes is dropped, as by a firewall."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@ON_POSIX
@pytest.mark.promise("R95", "R98")
async def test_a_port_that_answers_nobody() -> None:
    with full() as port:
        name, found = await wrong(Case(endpoint=f"https://127.0.0.1:{port}", patience=0.5))
    assert (name, found.text) == ("tcp", f"127.0.0.1:{port} does not answer within 0.5 seconds")
    assert "firewall" in found.fix


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Contoso Inspection CA")


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """The same, where this machine trusts it."""
    authority.cert_pem.write_to_path(str(tmp_path / "trusted.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    return authority


def server_context(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names or ("127.0.0.1",), **options).configure_cert(context)
    return context


def signed_by_itself(folder: Path, name: x509.Name) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


@pytest.mark.promise("R95", "R97")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("router.local", "(router.local)"),
        ("\x1b[31mred\u202e", "( [31mred )"),
        ("", "(nobody who says a name)"),
    ],
)
async def test_a_certificate_that_is_signed_by_itself(name: str, said: str, tmp_path: Path) -> None:
    """Whoever wrote it says nothing that a terminal obeys."""
    async with serve(answer(200), tls=signed_by_itself(tmp_path, called(name))) as server:
        check, found = await wrong(Case(endpoint=server.url, patience=PATIENT))
    assert (check, found.state) == ("tls", FAILURE)
    assert found.text == f"the certificate of 127.0.0.1 is signed by itself {said}, which nobody trusts"
    assert server.requests == [] or "authorization" not in server.requests[0].headers


@pytest.mark.promise("R95")
async def test_an_authority_that_is_not_trusted_is_named(authority: trustme.CA) -> None:
    async with serve(answer(200), tls=server_context(authority)) as server:
        found = await examined(Case(endpoint=server.url, key=Secret(WRONG_KEY), patience=PATIENT))
    tls = found["tls"]
    assert tls.text == f"the certificate of 127.0.0.1 is signed by {UNTRUSTED}"
    assert tls.see == page_of("unreachable")
    assert {"resource", "access_key", "token", "chat"} < not_tried(found)
    assert all("authorization" not in request.headers for request in server.requests)


PAST = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2020, 1, 2, tzinfo=UTC)}
FUTURE = {"not_before": datetime.now(UTC) + timedelta(400), "not_after": datetime.now(UTC) + timedelta(500)}


@pytest.mark.promise("R95")
@pytest.mark.parametrize(
    ("names", "times", "said", "fix"),
    [
        ((), PAST, r".* is valid from 2020-01-01 .* to 2020-01-02 .*, and it is 20\d\d-.* here", "has to renew"),
        ((), FUTURE, r".* is valid from .* to .*, and it is .* here", "set this machine's clock"),
        (("a.example", "b.example"), {}, "the .* is for a.example, b.example, and not for 127.0.0.1", "correct"),
    ],
)
async def test_a_certificate_for_another_time_or_host(
    names: tuple[str, ...], times: dict[str, datetime], said: str, fix: str, trusted: trustme.CA
) -> None:
    async with serve(answer(200), tls=server_context(trusted, *names, **times)) as server:
        found = await examined(Case(endpoint=server.url, patience=PATIENT))
    assert found["tls"].state is FAILURE
    assert re.fullmatch(said, found["tls"].text)
    assert fix in found["tls"].fix
    assert found["clock"].state is (FAILURE if times is FUTURE else NOT_TRIED)


@pytest.mark.promise("R95")
@pytest.mark.parametrize(
    ("greet", "said"),
    [
        (send_bytes(b"SSH-2.0-OpenSSH_9.2\r\n"), r"127\.0\.0\.1 speaks no TLS that this machine does \([A-Z_]+\)"),
        (reset(), r"the connection to 127\.0\.0\.1 was cut before it was secure \(\w+Error\)"),
    ],
)
async def test_what_speaks_no_tls(greet: Any, said: str) -> None:
    async with serve(answer(200), greet=greet) as server:
        name, found = await wrong(Case(endpoint=server.url.replace("http:", "https:"), patience=PATIENT))
    assert (name, bool(re.fullmatch(said, found.text))) == ("tls", True)


@pytest.mark.promise("R95", "R98")
async def test_a_silent_port() -> None:
    async with serve(answer(200), greet=silence()) as server:
        name, found = await wrong(Case(endpoint=server.url.replace("http:", "https:"), patience=0.5))
    assert (name, found.text) == ("tls", "127.0.0.1 takes the connection, and says nothing")


async def test_a_certificate_that_is_gone_at_the_second_look(authority: trustme.CA) -> None:
    """Nobody is named then."""
    context, connections = server_context(authority), itertools.count()

    async def handle(raw: SocketStream) -> None:
        async with raw:
            if next(connections) == 1:  # the first is that of the TCP check
                with suppress(anyio.BrokenResourceError, ssl.SSLError):
                    await TLSStream.wrap(raw, ssl_context=context, server_side=True)

    async with listening(handle) as port:
        name, found = await wrong(Case(endpoint=f"https://127.0.0.1:{port}", patience=PATIENT))
    assert (name, found.text) == ("tls", "the certificate of 127.0.0.1 is not trusted")


@asynccontextmanager
async def listening(handle: Callable[[SocketStream], Awaitable[None]]) -> AsyncGenerator[int]:
    """A port of loopback."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
        group.cancel_scope.cancel()


def test_what_is_no_certificate() -> None:
    assert read_certificate(b"no certificate") is None
    assert judge_tls(Visit(None, None, True, b"no certificate", 0), None, "a.example") == Finding(
        OK, "the certificate of a.example is trusted"
    )


def test_a_proxy_with_a_good_certificate_of_its_own() -> None:
    """What lies behind it is judged all the same."""
    refused = Visit(None, Trouble("certificate", "self-signed", 18), True, None, 0)
    assert judge_tls(refused, None, "a.example").text == "the certificate of a.example is not trusted"


# A proxy


class Proxy:
    """Takes CONNECT, and opens the TLS that goes through it, as inspecting proxies do.

    Attributes:
        refusal: What it answers instead.
        connects: Whom it was asked for.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.refusal: bytes | None = None
        self.connects: list[str] = []

    async def handle(self, raw: SocketStream) -> None:
        try:
            async with raw:
                request = await _head_of(raw)
                self.connects.append(request.split()[1])
                await raw.send(self.refusal or b"HTTP/1.1 200 Connection established\r\n\r\n")
                if self.refusal is None:
                    inside = await TLSStream.wrap(raw, ssl_context=self._context, server_side=True)
                    await _head_of(inside)
                    body = b'{"error": {"code": "Denied", "message": "no"}}'
                    await inside.send(head(401, ("Content-Length", str(len(body)))) + body)
                    await inside.receive()
        except (anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError):
            pass


async def _head_of(stream: ByteStream) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    return data.decode("latin-1")


@asynccontextmanager
async def proxied(monkeypatch: pytest.MonkeyPatch, context: ssl.SSLContext) -> AsyncGenerator[Proxy]:
    proxy = Proxy(context)
    async with listening(proxy.handle) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:s3cret@127.0.0.1:{port}")
        yield proxy


@pytest.mark.promise("R95")
async def test_a_proxy_that_opens_tls_is_named(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Where this machine trusts it, and where it does not; the way to it is what is examined."""
    async with proxied(monkeypatch, server_context(authority, AZURE)) as proxy:
        name, refused = await wrong(Case(endpoint=f"https://{AZURE}", patience=PATIENT))
        request.getfixturevalue("trusted")
        found = await examined(Case(endpoint=f"https://{AZURE}", patience=PATIENT))
    assert (name, refused.state) == ("tls", FAILURE)
    assert refused.text == f"the certificate of {AZURE} is signed by {UNTRUSTED}"
    assert "organisation's proxy" in refused.fix
    assert found["tls"].state is WARNING
    assert found["tls"].text == (
        f"a proxy opens TLS: the certificate of {AZURE} is signed by Contoso Inspection CA, and not for Microsoft"
    )
    assert found["resource"].state is OK
    assert re.match(r"requests go by 127.0.0.1:\d+ \(the proxy that HTTPS_PROXY names\);", found["environment"].text)
    assert re.match(r"127.0.0.1:\d+ \(the proxy that HTTPS_PROXY names\) takes a connection", found["tcp"].text)
    assert set(proxy.connects) == {f"{AZURE}:443"}
    assert "s3cret" not in str(found)


@pytest.mark.promise("R95")
async def test_a_proxy_that_wants_another_password(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied(monkeypatch, server_context(authority, AZURE)) as proxy:
        proxy.refusal = head(407, ("Content-Length", "0"))
        name, found = await wrong(Case(endpoint=f"https://{AZURE}", patience=PATIENT))
    assert (name, found.text) == ("tls", f"the proxy refuses the way to {AZURE} (407 Whatever)")
    assert "password" in found.fix


@pytest.mark.promise("R95")
async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
    name, found = await wrong(Case(endpoint=f"https://{AZURE}", patience=PATIENT))
    assert (name, found.text) == (
        "tcp",
        f"127.0.0.1:{port} (the proxy that https_proxy names) takes no connection (Connection refused)",
    )
    assert found.fix.startswith("correct https_proxy")
    monkeypatch.setenv("https_proxy", "proxy.invalid")
    name, found = await wrong(Case(endpoint=f"https://{AZURE}", patience=PATIENT))
    assert name == "name"
    assert found.text.startswith("proxy.invalid has no address")


async def test_who_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with serve(answer(200)) as server:
        assert (await wrong(Case(endpoint=server.url, patience=PATIENT)))[0] == "resource"
        monkeypatch.delenv("NO_PROXY")  # what is sent in plain text stays here all the same
        assert (await wrong(Case(endpoint=server.url, patience=PATIENT)))[0] == "resource"


# The resource


@pytest.mark.promise("R95")
@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (answer(200, b"<html>It works!</html>"), "is no Communication Services resource: it answers 200"),
        (answer(404, {"error": {"code": "NotFound"}}), "is no Communication Services resource: it answers 404"),
        (answer(401, b"who are you?"), "is no Communication Services resource: it answers 401"),
        (answer(302, b"", ("Location", "https://portal.example/login")), "points to another address (302)"),
        (answer(503, {"error": {"code": "Busy"}}), "answers 503 (Busy)"),
        (answer(502, b"<html>"), "answers 502"),
        (
            send_bytes(b"220 mail.example ESMTP\r\n"),
            "takes a request, and what comes back is no whole answer (Remote",
        ),
        (answer(200, b"x" * 1_000_000), "is no Communication Services resource: it answers 200"),
    ],
)
async def test_a_host_that_is_no_resource(behaviour: Any, said: str) -> None:
    async with serve(behaviour) as server:
        found = await examined(Case(endpoint=server.url, key=Secret(WRONG_KEY), patience=PATIENT))
    assert (found["tls"].state, found["resource"].state) == (OK, FAILURE)
    assert found["resource"].text.startswith(f"127.0.0.1 {said}")
    assert found["access_key"] == Finding(NOT_TRIED, "not before resource is well")
    assert all("authorization" not in request.headers for request in server.requests)


@pytest.mark.promise("R95", "R98")
@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<"])
async def test_a_host_that_does_not_answer(data: bytes) -> None:
    async with serve(silence(data)) as server:
        name, found = await wrong(Case(endpoint=server.url, patience=0.5))
    assert (name, found.text) == ("resource", "127.0.0.1 takes a request, and no answer comes")


@pytest.mark.promise("R95")
async def test_the_faults_of_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late is well; cut and out of order are told, with the service's own code."""
    async with emulated(monkeypatch) as emulator:
        emulator.delay("issueAccessToken", 0.01)
        late = await examined(with_key(emulator))
        emulator.reset("issueAccessToken")
        cut = await examined(with_key(emulator))
        emulator.fail("issueAccessToken", status=429, retry_after=7)
        throttled = await examined(with_key(emulator))
    assert {finding.state for finding in late.values()} == {OK, NOT_TRIED}
    assert re.fullmatch(
        r"127.0.0.1 takes a request, and what comes back is no whole answer \(\w+\)", cut["resource"].text
    )
    assert throttled["resource"].text == "127.0.0.1 answers 429 (TooManyRequests)"


async def test_a_resource_that_says_little() -> None:
    """Its own header is as good as a code."""
    async with serve(answer(401, b"", ("MS-CV", "x.0"))) as server:
        found = await examined(Case(endpoint=server.url, patience=PATIENT))
    assert found["resource"].state is OK


async def test_an_answer_without_a_date() -> None:
    async with serve(answer(401, {"error": {"code": "Denied"}})) as server:
        found = await examined(Case(endpoint=server.url, patience=PATIENT))
    assert found["clock"] == Finding(NOT_TRIED, "no answer has told the service's time")


# The key, and tokens of users


@pytest.mark.promise("R95", "R97")
async def test_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulated(monkeypatch) as emulator:
        user = await a_user(emulator)
        found = await examined(with_key(emulator, key=Secret(WRONG_KEY), user=user))
    assert found["access_key"].state is FAILURE
    assert found["access_key"].text == "the resource refuses the access key: it is another resource's, or was replaced"
    assert found["token"].text == "not before access key is well"
    assert WRONG_KEY not in str(found)


@pytest.mark.promise("R95")
@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        (403, OK, "the resource accepts the access key"),
        (400, OK, "the resource accepts the access key"),
        (503, WARNING, "the resource answers 503, which says nothing of the key"),
        (429, WARNING, "the resource answers 429, which says nothing of the key"),
    ],
)
async def test_what_a_refusal_says_of_the_key(
    status: int, state: State, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = '{"error": {"code": "Denied", "message": "no"}}'
    async with emulated(monkeypatch) as emulator:
        emulator.fail("issueAccessToken", status=status)
        emulator.answer("issueAccessToken", status=401, body=denied, times=1)
        found = await examined(with_key(emulator))
    assert found["access_key"].state is state
    assert found["access_key"].text.startswith(said)


@pytest.mark.promise("R95")
async def test_a_user_who_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulated(monkeypatch) as emulator:
        user = await a_user(emulator)
        async with CommunicationIdentityClient.from_connection_string(emulator.connection_string) as identity:
            await identity.delete_user(user)
        name, found = await wrong(with_key(emulator, user=user))
    assert (name, found.text) == ("token", "the user does not exist: it was deleted, or is another resource's")


@pytest.mark.promise("R95")
@pytest.mark.parametrize(
    ("scopes", "state", "refusal"),
    [(("chatt",), WARNING, "the service answered 400"), (("chat", "fax"), WARNING, "the service answered 400")],
)
async def test_scopes_that_the_service_does_not_know(
    scopes: tuple[str, ...], state: State, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulated(monkeypatch) as emulator:
        found = await examined(with_key(emulator, user=await a_user(emulator), scopes=scopes))
    assert (found["scopes"].state, found["token"].state) == (state, FAILURE)
    assert found["scopes"].text == f"the service documents no scope {scopes[-1]}"
    assert found["token"].text.startswith(refusal)


@pytest.mark.promise("R95")
async def test_tokens_that_end_soon_or_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = make_jwt(-3600, acsScope="chat")
    body = f'{{"token": "{ended}", "expiresOn": "2020-01-01T00:00:00+00:00"}}'
    async with emulated(monkeypatch, token_lifetime=30) as emulator:
        user = await a_user(emulator)
        soon = await examined(with_key(emulator, user=user))
        emulator.answer("POST /identities/.*[1-9a-f].*/:issueAccessToken", body=body)
        emulator.answer(r"POST /identities/8:acs:0{8}.*", status=401, body='{"error": {"code": "Denied"}}', times=1)
        late = await examined(with_key(emulator, user=user))
    assert soon["token"].state is WARNING
    assert soon["token"].text.startswith("the token lives no longer than ")
    assert late["token"].state is FAILURE
    assert re.fullmatch(r"the token that was just issued ended \d+ d.* ago", late["token"].text)
    assert late["chat"].text == "there is no token for it"
    assert ended not in str(late)


async def test_a_token_for_less_than_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulated(monkeypatch) as emulator:
        user = await a_user(emulator)
        less = make_jwt(acsScope="voip")
        emulator.answer(
            "POST /identities/.*[1-9a-f].*/:issueAccessToken",
            body=f'{{"token": "{less}", "expiresOn": "2999-01-01T00:00:00+00:00"}}',
        )
        emulator.answer(r"POST /identities/8:acs:0{8}.*", status=401, body='{"error": {"code": "Denied"}}', times=1)
        found = await examined(with_key(emulator, user=user, scopes=("chat", "voip")))
    assert found["token"].text == "the token is good for voip, and not for chat"
    assert found["chat"] == Finding(NOT_TRIED, "the token is good for voip, and not for chat")


@pytest.mark.promise("R95")
async def test_a_token_that_the_chat_endpoint_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoked between its issue and its use; without the scope; and where chat is out of order."""
    async with emulated(monkeypatch) as emulator:
        user = await a_user(emulator)
        async with CommunicationIdentityClient.from_connection_string(emulator.connection_string) as identity:
            token = await identity.get_token(user, ["chat"])
            await identity.revoke_tokens(user)
            case = with_key(emulator, user=user)
            assert identity._open
            case.client, case.token = identity._open, token
            revoked = await check_chat(case)
        emulator.fail("/chat/", status=503)
        broken = await examined(with_key(emulator, user=user))
    assert revoked.text == "the chat endpoint refuses the token: it was revoked, or has ended"
    assert broken["chat"].text.startswith("the service answered 503")


# Entra


def of_entra(emulator: Emulator, **changes: Any) -> Case:
    sign_in = SignIn(emulator.client_id, f"{emulator.authority}/v2.0")
    given: dict[str, Any] = {
        "endpoint": emulator.endpoint,
        "scopes": (SCOPE,),
        "sign_in": sign_in,
        "patience": PATIENT,
    }
    return Case(**{**given, **changes})


@pytest.mark.promise("R95")
@pytest.mark.parametrize(
    ("client_id", "path", "said", "fix"),
    [
        ("nobody", "{authority}/v2.0", "AADSTS700016", "correct --client-id"),
        ("{client_id}", "{endpoint}/elsewhere/v2.0", "AADSTS90002", "correct --tenant-id"),
        ("{client_id}", "{endpoint}/a/b/c", "the authority answers 404: it does not say why", "correct --authority"),
    ],
)
async def test_a_sign_in_that_entra_refuses(
    client_id: str, path: str, said: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulated(monkeypatch) as emulator:
        names = {name: getattr(emulator, name) for name in ("client_id", "authority", "endpoint")}
        sign_in = SignIn(client_id.format(**names), path.format(**names))
        found = (await examined(of_entra(emulator, sign_in=sign_in)))["sign_in"]
    assert found.state is FAILURE
    assert said in found.text
    assert "Trace ID" not in found.text
    assert found.fix.startswith(fix)
    assert found.see == page_of("entra-refused")


@pytest.mark.promise("R95", "R98")
async def test_an_authority_that_does_not_answer(trusted: trustme.CA) -> None:
    """Silent, closed, without a name, out of order."""
    async with serve(silence(), tls=server_context(trusted)) as server:
        sign_in = SignIn("id", f"{server.url}/tenant/v2.0")
        found = (await examined(Case(sign_in=sign_in, scopes=(SCOPE,), patience=0.5)))["sign_in"]
    assert found.text.startswith("the service gave no whole answer within 0.5 seconds")
    for issuer, said in (
        (f"https://127.0.0.1:{unused_port()}/t/v2.0", "127.0.0.1: the request failed"),
        ("https://login.invalid/t/v2.0", "login.invalid has no address"),
    ):
        found = (await examined(Case(sign_in=SignIn("id", issuer), scopes=(SCOPE,), patience=PATIENT)))["sign_in"]
        assert (found.state, found.text.startswith(said)) == (FAILURE, True)
    async with serve(answer(503), tls=server_context(trusted)) as server:
        sign_in = SignIn("id", f"{server.url}/tenant/v2.0")
        found = (await examined(Case(sign_in=sign_in, scopes=(SCOPE,), patience=PATIENT)))["sign_in"]
    assert found.text.startswith("the service answered 503")


async def test_an_authority_behind_a_proxy(trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which alone has to know where it is."""
    async with proxied(monkeypatch, server_context(trusted, "login.invalid")) as proxy:
        sign_in = SignIn("id", "https://login.invalid/t/v2.0")
        found = (await examined(Case(sign_in=sign_in, scopes=(SCOPE,), patience=PATIENT)))["sign_in"]
    assert found.text == "the authority answers 401: it does not say why"
    assert proxy.connects == ["login.invalid:443"]


@pytest.mark.parametrize("where", [None, "https://elsewhere.example/code"])
async def test_an_authority_without_codes(where: str | None, trusted: trustme.CA) -> None:
    """Nobody is asked who was not named."""
    document = {"device_authorization_endpoint": where}
    async with serve(answer(200, document), tls=server_context(trusted)) as server:
        found = await examined(Case(sign_in=SignIn("id", f"{server.url}/t"), scopes=(SCOPE,), patience=PATIENT))
    assert found["sign_in"].state is OK
    assert "signs nobody in with a code" in found["sign_in"].text
    assert len(server.requests) == 1


@pytest.mark.promise("R95")
@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        (("https://graph.microsoft.com/.default",), "the scope 'https://graph.microsoft.com/.default' is unknown"),
        ((SCOPE, TEAMS), "scopes of more than one family are mixed"),
        ((SCOPE, "chat"), "the scope 'chat' is unknown"),
    ],
)
async def test_scopes_that_nobody_exchanges(
    scopes: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulated(monkeypatch) as emulator:
        found = await examined(with_key(emulator, scopes=scopes))
    assert (found["scopes"].state, found["scopes"].see) == (FAILURE, page_of("scopes"))
    assert found["scopes"].text.startswith(said)
    assert found["exchange"].text == found["assignment"].text == found["token"].text == "not before scopes is well"


@pytest.mark.promise("R95", "R97")
async def test_a_persons_token_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """For another service; ended; opaque; none of Entra; and where the exchange is out of order."""
    ended = make_jwt(-7200, aud="x", scp="y")
    access = make_jwt(3600, skypeid="acs:a_b", scp=1792)
    async with emulated(monkeypatch) as emulator:
        teams = emulator.issue_entra_token(TEAMS)
        given = (teams, ended, "opaque-token-of-a-person", access)
        cases = [of_entra(emulator, entra_token=Secret(token)) for token in given]
        foreign, late, opaque, of_the_resource = [await examined(case) for case in cases]
        emulator.fail("exchangeAccessToken", status=503)
        broken = await examined(of_entra(emulator, entra_token=Secret(emulator.issue_entra_token(SCOPE))))
        absent = await examined(of_entra(emulator))
    assert re.match(
        "the exchange refuses the Entra token, which is for .*auth.msft.communication.azure.com.* with "
        "TeamsExtension.ManageCalls",
        foreign["exchange"].text,
    )
    assert late["exchange"].text.startswith("the exchange refuses the Entra token, which ended 2 h ago")
    assert opaque["exchange"].text.startswith("the service answered 401")
    assert of_the_resource["exchange"].text.endswith("which does not say for whom it is")
    assert "no access token of a resource" in of_the_resource["exchange"].fix
    assert broken["exchange"].text.startswith("the service answered 503")
    assert absent["exchange"].text.startswith("the service answered 503")
    for found in (foreign, late, opaque, of_the_resource):
        assert found["token"].text == "not before exchange is well"
    for token in given:
        assert token not in str((foreign, late, opaque, of_the_resource))


@pytest.mark.promise("R95")
async def test_a_person_whom_nobody_has_allowed_teams_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulated(monkeypatch, require_teams_phone_assignment=True) as emulator:
        token = emulator.issue_entra_token(TEAMS)
        claims = AccessToken.from_jwt(token).claims
        case = {"scopes": (TEAMS,), "key": Secret(emulator.access_key)}
        found = await examined(of_entra(emulator, entra_token=Secret(token), **case))
        named = await examined(of_entra(emulator, tenant_id=claims["tid"], object_id=claims["oid"], **case))
        nobody = await examined(of_entra(emulator, **case))
        domain = await examined(of_entra(emulator, tenant_id="contoso.example", object_id=claims["oid"], **case))
        async with CommunicationIdentityClient.from_connection_string(emulator.connection_string) as identity:
            await identity.set_teams_phone_assignment(claims["tid"], claims["oid"], principal_type="user")
        allowed = await examined(of_entra(emulator, entra_token=Secret(token), **case))
        emulator.fail("assignments", status=403)
        unsaid = await examined(of_entra(emulator, entra_token=Secret(token), **case))
    command = f"`acs-credential teams-phone allow {claims['tid']} {claims['oid']}`"
    for each in (found, named):
        assert each["assignment"].text == f"{claims['oid']} may not use the resource for Teams Phone"
        assert each["assignment"].fix == f"have the resource's owner run {command}"
        assert each["assignment"].see == page_of("teams-phone-not-allowed")
    assert (found["exchange"].state, command in found["exchange"].text) == (FAILURE, True)
    assert nobody["assignment"].state is domain["assignment"].state is NOT_TRIED
    assert "the ids that Entra shows as --tenant-id and --object-id" in domain["assignment"].text
    assert {finding.state for finding in allowed.values()} == {OK}
    assert unsaid["assignment"].text.startswith("the service answered 403")


@pytest.mark.promise("R98")
async def test_an_assignment_that_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulated(monkeypatch) as emulator:
        emulator.hang("assignments")
        case = with_key(emulator, scopes=(TEAMS,), tenant_id=GUID, object_id=GUID, user="8:acs:a_b", patience=1)
        found = await examined(case)
    assert found["assignment"].text.startswith("the service gave no whole answer within 1 seconds")
    assert found["token"].text == "nobody is signed in here: give ACS_ENTRA_TOKEN, a person's Entra token"


async def test_a_connection_that_is_lost_once() -> None:
    """Chance is no finding: neither at the first request nor later."""
    denied = answer(401, {"error": {"code": "Denied"}})
    fine = answer(404, {"error": {"code": "IdentityNotFound"}})
    async with serve(reset(), denied, reset(), fine) as server:
        found = await examined(Case(endpoint=server.url, key=Secret(WRONG_KEY), patience=PATIENT))
    assert (found["resource"].state, found["access_key"].state) == (OK, OK)
    assert len(server.requests) == 4
