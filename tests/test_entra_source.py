"""Entra users: sign-in and exchange through the credential, against real servers that misbehave."""

from __future__ import annotations

import copy
import gc
import gzip
import json
import logging
import re
import ssl
import threading
import time
import traceback
from base64 import urlsafe_b64encode
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import httpx2
import pytest
import trustme
from cancelling import cancel_everywhere
from servers import (
    answer,
    answer_and_hang_up,
    drip,
    flood,
    head,
    hesitating,
    reset,
    send_bytes,
    serve,
    silence,
    unused_port,
)
from told import told

from anyio_acs_credential import (
    DEFAULT_SCOPE,
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosedError,
    CredentialUsageError,
    RefreshFailed,
    RefreshPolicy,
    ServiceError,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential._exchange import source
from anyio_acs_credential._exchange.source import EntraTokenExchange
from anyio_acs_credential._http import attempt
from anyio_acs_credential._http.request import user_agent
from anyio_acs_credential._http.retries import Limits
from anyio_acs_credential._tokens import clock_warning
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.testing import make_jwt, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import ByteStream
    from servers import Behaviour, Server

TENANT, PERSON = "5b8c1d3e-0000-4000-8000-000000000001", "5b8c1d3e-0000-4000-8000-000000000002"
TEAMS = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"
CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'
CHALLENGE = f'Bearer error="insufficient_claims", claims="{urlsafe_b64encode(CLAIMS.encode()).decode().rstrip("=")}"'
USER = "8:acs:resource_tenant_user"
ENDPOINT = "https://contoso.communication.azure.com"
OK_HEAD = head(200, ("Content-Length", "1000000000"))
CHUNKED = head(200, ("Transfer-Encoding", "chunked"))


class Signed:
    """A user's own token credential: plays its script and repeats the last entry.

    A text is a token, an exception is raised, an async function is awaited before there is a token.

    Attributes:
        asked: The claims of each call.
    """

    def __init__(self, *script: Any, life: float = 3600, clock: Any = time) -> None:
        self.script = script or ("entra-token",)
        self.life = life
        self.clock = clock
        self.asked: list[str | None] = []
        self.scopes: tuple[str, ...] = ()
        self.sign_ins: int | None = None

    async def get_token(self, *scopes: str, claims: str | None = None) -> AccessToken:
        self.asked.append(claims)
        self.scopes = scopes
        entry = self.script[min(len(self.asked), len(self.script)) - 1]
        await anyio.lowlevel.checkpoint()
        if isinstance(entry, Exception):
            raise entry
        if callable(entry):
            await entry()
            entry = "entra-token"
        return AccessToken(entry, self.clock.time() + self.life)


def exchanged(token: str | None = None, life: float = 3600, identity: Any = USER) -> Behaviour:
    """An answer with an access token, a new one at each call without a text."""

    async def behave(server: Server, stream: ByteStream) -> None:
        ends = datetime.now(UTC) + timedelta(seconds=life)
        content = {"token": token or make_jwt(life), "expiresOn": ends.isoformat()}
        await answer(200, {"identity": {"id": identity}, "accessToken": content})(server, stream)

    return behave


def refused(status: int, code: str = "Denied", *headers: tuple[str, str]) -> Behaviour:
    return answer(status, {"error": {"code": code, "message": "Not so."}}, *headers)


CHALLENGED = refused(401, "InsufficientClaims", ("WWW-Authenticate", CHALLENGE))


@asynccontextmanager
async def served(*script: Behaviour, **options: Any) -> AsyncGenerator[Server]:
    """A server that must be without connections again at the end."""
    async with serve(*script, **options) as server:
        yield server
        with anyio.fail_after(30):
            while server.open:  # noqa: ASYNC110 - the server learns of a closed connection when it reads
                await anyio.sleep(0.001)


def credential_for(server: Server | str, signed: Any = None, **options: Any) -> CommunicationTokenCredential:
    endpoint = server if isinstance(server, str) else server.url
    options.setdefault("proactive_refresh", False)
    return CommunicationTokenCredential(resource_endpoint=endpoint, token_credential=signed or Signed(), **options)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again in a round is tried at once."""
    monkeypatch.setattr(source, "_LIMITS", Limits(backoff=0.01))


@pytest.fixture
def tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is not tried again within its round."""
    monkeypatch.setattr(source, "_LIMITS", Limits(tries=1))


async def cause(call: Awaitable[object], deadline: float = 30) -> BaseException:
    with anyio.fail_after(deadline), pytest.raises(TokenRefreshError) as caught:
        await call
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


async def exchange_error(call: Awaitable[object], deadline: float = 30) -> ServiceError:
    error = await cause(call, deadline)
    assert isinstance(error, ServiceError)
    return error


def authorizations(server: Server) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


# Construction


SOUND: dict[str, Any] = {"token_credential": Signed(), "resource_endpoint": ENDPOINT}
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"token_credential": Signed}, TypeError, r"get_token\(\*scopes\)"),
    ({"token_credential": "text"}, TypeError, r"get_token\(\*scopes\)"),
    ({"resource_endpoint": f"{ENDPOINT}/path"}, ValueError, "has a path"),
    ({"resource_endpoint": "https://me:pw@contoso.example"}, ValueError, "user name"),
    ({"resource_endpoint": "http://contoso.example"}, ValueError, "https://"),
    ({"resource_endpoint": 7}, TypeError, "not int"),
    ({"scopes": DEFAULT_SCOPE}, TypeError, r"\(scope,\)"),
    ({"scopes": ()}, ValueError, "there is no scope"),
    ({"scopes": (DEFAULT_SCOPE, TEAMS)}, ValueError, "more than one family"),
    ({"scopes": ("chat",)}, ValueError, "unknown"),
    ({"http_client": httpx.Client}, TypeError, r"AsyncClient"),
    ({"http_client": httpx.AsyncClient}, TypeError, "not the class AsyncClient"),
    ({"http_client": "text"}, TypeError, r"AsyncClient.*not str"),
    ({"policy": None}, TypeError, "RefreshPolicy"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "fix"),
    [
        ({"resource_endpoint": ENDPOINT}, TypeError, "token_credential is missing"),
        ({"token_credential": Signed()}, TypeError, "resource_endpoint is missing"),
        ({"scopes": (TEAMS,)}, TypeError, "give a token"),
        ({"token": make_jwt(), "scopes": (TEAMS,)}, TypeError, "leave them out"),
        ({"token": make_jwt(), "http_client": httpx.Client}, TypeError, "leave them out"),
        ({"token": make_jwt(), "resource_endpoint": ENDPOINT}, TypeError, "leave out token,"),
        (
            {"token": make_jwt(), "token_refresher": Signed().get_token, "token_credential": Signed()},
            TypeError,
            "leave out token and token_refresher",
        ),
        *((SOUND | wrong, error, fix) for wrong, error, fix in WRONG),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_given(
    arguments: dict[str, Any], error: type[Exception], fix: str
) -> None:
    """Each with a typed error that names the fix; nothing is left for the first exchange to find."""
    with pytest.raises(error, match=fix):
        CommunicationTokenCredential(**arguments)


@pytest.mark.promise("R40")
async def test_constructing_does_nothing_yet() -> None:
    """The first sign-in and the first exchange are made in the block, off the constructor."""
    signed = Signed()
    async with served(exchanged()) as server:
        threads = threading.active_count()
        credential_for(server, signed, proactive_refresh=True)
        await anyio.wait_all_tasks_blocked()
        assert (signed.asked, server.connections) == ([], 0)
        assert threading.active_count() <= threads


# The exchange


@pytest.mark.parametrize(
    ("scopes", "path", "version"),
    [
        ((DEFAULT_SCOPE,), "/access/entra/:exchangeAccessToken", "2025-03-02-preview"),
        ([TEAMS], "/access/teamsExtension/:exchangeAccessToken", "2025-06-30"),
    ],
)
async def test_the_request_is_the_documented_one(scopes: Any, path: str, version: str) -> None:
    signed = Signed()
    async with served(exchanged("acs-token")) as server, credential_for(server, signed, scopes=scopes) as credential:
        token = await credential.get_token()
        assert token.token == "acs-token"
        assert credential.raw_id == USER
    assert signed.scopes == tuple(scopes)
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("POST", f"{path}?api-version={version}", b"{}")
    assert request.headers["authorization"] == "Bearer entra-token"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"


async def test_the_request_to_the_letter() -> None:
    """Names of headers are spelled as RFC 9110 spells them, for what stands in between and compares letters."""
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return dated(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        await EntraTokenExchange(ENDPOINT, Signed(), http_client=client)()
    assert dict(sent[0].headers.raw) == {
        b"Host": b"contoso.communication.azure.com",
        b"Accept": b"application/json",
        b"Accept-Encoding": b"identity",
        b"User-Agent": user_agent(httpx).encode(),
        b"Content-Type": b"application/json",
        b"Content-Length": b"2",
        b"Authorization": b"Bearer entra-token",
    }
    assert (sent[0].method, sent[0].content) == ("POST", b"{}")


@pytest.mark.parametrize("plain", [False, True])
async def test_an_exchange_that_is_cancelled_before_it_begins_asks_nobody(*, plain: bool) -> None:
    """Its credential may do its work without waiting for anything, and so may a client's transport."""
    asked: list[object] = []

    def get_token(*scopes: str) -> AccessToken:
        asked.append(scopes)
        return AccessToken("entra-token", time.time() + 3600)

    async def get_token_at_once(*scopes: str) -> AccessToken:
        return get_token(*scopes)

    credential = SimpleNamespace(get_token=get_token if plain else get_token_at_once)
    async with httpx.AsyncClient(transport=httpx.MockTransport(dated)) as client:
        exchange = EntraTokenExchange(ENDPOINT, credential, http_client=client)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await exchange()
            raise AssertionError
        assert scope.cancelled_caught
    assert asked == []


async def test_the_first_token_is_fetched_by_itself() -> None:
    """A proactive credential signs in and exchanges in the background, once for all who ask."""
    signed = Signed()
    async with served(exchanged()) as server, credential_for(server, signed, proactive_refresh=True) as credential:
        tokens: list[AccessToken] = []

        async def ask() -> None:
            tokens.append(await credential.get_token())

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(ask)
    assert len(signed.asked) == len(server.requests) == 1
    assert len(tokens) == 50
    assert len({id(token) for token in tokens}) == 1


async def test_each_round_makes_an_exchange() -> None:
    """Nothing that was answered before is handed out as new, though the Entra token is the same."""
    async with served(exchanged()) as server, credential_for(server) as credential:
        tokens = {(await credential.refresh()).token for _ in range(3)}
    assert len(tokens) == len(server.requests) == 3


async def test_another_account_counts_at_the_next_round() -> None:
    """The identity is always that of the token that is held."""
    signed = Signed("first-user", "second-user")
    script = exchanged(), exchanged(identity="8:acs:other"), exchanged(identity=None)
    async with served(*script) as server, credential_for(server, signed) as credential:
        identities = [credential.raw_id]
        for _ in script:
            await credential.refresh()
            identities.append(credential.raw_id)
    assert identities == [None, USER, "8:acs:other", None]
    assert authorizations(server) == ["first-user", "second-user", "second-user"]


@pytest.mark.promise("R26")
async def test_the_tokens_own_expiry_is_a_limit_too() -> None:
    """However late the answer says that it ends."""
    token = make_jwt(100)
    async with served(exchanged(token, life=7200)) as server, credential_for(server) as credential:
        assert (await credential.get_token()).expires_on == AccessToken.from_jwt(token).expires_on


@pytest.mark.promise("R26", "R3")
async def test_an_answer_that_has_expired_never_replaces_the_held_token() -> None:
    async with served(exchanged(), exchanged(life=-600)) as server, credential_for(server) as credential:
        held = await credential.get_token()
        assert "expired" in str(await cause(credential.refresh()))
        assert await credential.get_token() is held


async def test_a_closed_credential_works_again_when_it_is_entered_again() -> None:
    """With a new client of its own, on new connections."""
    async with served(exchanged()) as server:
        credential = credential_for(server)
        for count in (1, 2):
            async with credential:
                await credential.refresh()
            assert server.connections == count
            with anyio.fail_after(30):
                while server.open:  # noqa: ASYNC110 - the server learns of a closed connection when it reads
                    await anyio.sleep(0.001)


# Faults at the socket: each has its documented outcome, and none loses the held token


FAULTS = {
    "reset": (reset(), False),
    "reset in head": (reset(b"HTTP/1.1 200"), False),
    "reset in body": (reset(OK_HEAD + b"{"), False),
    "hang up": (send_bytes(b""), False),
    "truncated": (answer(200, b"{", length=20), False),
    "no HTTP": (send_bytes(b"SSH-2.0-OpenSSH\r\n"), False),
    "silence": (silence(), False),
    "silence in head": (silence(b"HTTP/1.1 200 OK\r\n"), False),
    "silence in body": (silence(OK_HEAD), False),
    "drip in head": (drip(b"HTTP/1.1 200 OK\r\nX: "), False),
    "drip in body": (drip(OK_HEAD), False),
    "200 MB": (flood(OK_HEAD, b"a" * 65536), False),
    "endless chunks": (flood(CHUNKED, b"10000\r\n" + b"a" * 65536 + b"\r\n"), False),
    "endless head": (flood(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65536), False),
    "gzip bomb": (answer(200, gzip.compress(bytes(100_000_000), 1), ("Content-Encoding", "gzip")), False),
    "empty": (answer(200, b""), False),
    "no content": (answer(204), False),
    "null": (answer(200, b"null"), False),
    "HTML": (answer(200, b"<html>", ("Content-Type", "text/html")), False),
    "BOM": (answer(200, b'\xef\xbb\xbf{"accessToken":{}}'), False),
    "not UTF-8": (answer(200, b'{"accessToken":{"token":"\xff"}}'), False),
    "NaN": (answer(200, b'{"accessToken":{"token":"t","expiresOn":NaN}}'), False),
    "no token": (answer(200, {"accessToken": {}}), False),
    "400": (refused(400), True),
    "403": (refused(403), True),
    "404": (refused(404), True),
    "409": (refused(409), True),
    "422": (refused(422), True),
    "429": (refused(429), False),
    "503": (refused(503), False),
}


@pytest.mark.promise("R28", "R29", "R31", "R35")
@pytest.mark.parametrize(("fault", "permanent"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_has_its_outcome_and_costs_nothing_held(
    fault: Behaviour, permanent: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One typed error within the round's deadline; the held token stays, and the next round may succeed."""
    lasts = request.node.callspec.id.split("-")[-1].startswith(("silence", "drip"))
    async with served(exchanged(), fault) as server, credential_for(server) as credential:
        held = await credential.get_token()
        monkeypatch.setattr(source, "_LIMITS", Limits(timeout=0.3 if lasts else 30, tries=1))
        error = await exchange_error(credential.refresh(), 10)
        assert error.permanent is permanent
        assert await credential.get_token() is held
        assert credential.raw_id == USER
        assert server.sent < 10_000_000
    assert set(authorizations(server)) == {"entra-token"}


@pytest.mark.promise("R28")
@pytest.mark.usefixtures("tried_once")
async def test_nobody_listens() -> None:
    async with credential_for(f"http://127.0.0.1:{unused_port()}") as credential:
        error = await exchange_error(credential.get_token())
    assert (error.permanent, error.status_code) == (False, None)


VIRTUAL = pytest.mark.parametrize("anyio_backend", virtual_time_backends())


class Service(httpx.AsyncBaseTransport):
    """Without a socket, which virtual time would not wait for: gives these bodies, the last again and again.

    None is silence.
    """

    def __init__(self, *bodies: bytes | None) -> None:
        self._bodies = bodies
        self.tokens: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.tokens.append(request.headers["authorization"])
        body = self._bodies[min(len(self.tokens), len(self._bodies)) - 1]
        if body is None:
            await anyio.sleep_forever()
        return httpx.Response(200, stream=httpx.ByteStream(body or b""))


def exchanged_body() -> bytes:
    token = {"token": make_jwt(), "expiresOn": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    return json.dumps({"identity": {"id": USER}, "accessToken": token}).encode()


def dated(_request: httpx.Request) -> httpx.Response:
    """An answer with the right time."""
    return httpx.Response(200, headers={"Date": formatdate(usegmt=True)}, content=exchanged_body())


@VIRTUAL
@pytest.mark.promise("R28")
@pytest.mark.parametrize(("deadline", "limit"), [(10, "9"), (1.2346, "1.111"), (0.5, "0.45"), (60, "30")])
async def test_the_exchanges_error_comes_before_the_rounds_deadline(deadline: float, limit: str) -> None:
    """It says that the service was silent, not just that something took too long."""
    service = Service(exchanged_body(), None)
    await anyio.sleep(100)
    async with httpx.AsyncClient(transport=service) as client:
        source = EntraTokenExchange(ENDPOINT, Signed(), http_client=client)
        await source()
        with anyio.fail_after(deadline), pytest.raises(ServiceError, match=f"no whole answer within {limit} seconds"):
            await source()
    assert service.tokens == ["Bearer entra-token"] * 2


@pytest.mark.parametrize(
    ("scope", "anchor", "advice"),
    [
        (
            TEAMS,
            "teams-phone-not-allowed",
            f"owner run `acs-credential teams-phone allow {TENANT} {PERSON}`; then call",
        ),
        (DEFAULT_SCOPE, "refused", "give the credential the right to do this on the resource"),
    ],
)
async def test_who_is_not_allowed_is_told_what_may_help(scope: str, anchor: str, advice: str) -> None:
    """Teams Phone has to be allowed for each person, whom the Entra token names."""
    signed = Signed(make_jwt(tid=TENANT, oid=PERSON))
    async with served(refused(403)) as server, credential_for(server, signed, scopes=[scope]) as credential:
        found, text = told(await cause(credential.get_token()))
    assert found == anchor
    assert advice in text


@pytest.mark.promise("R30")
@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", 120.0),
        ("1e3", None),
        ("-5", None),
        ("0", None),
        ("9999", 300.0),
        ("inf", None),
        ("soon", None),
        ("1.5", 1.5),
    ],
)
@pytest.mark.usefixtures("tried_once")
async def test_what_the_service_asks_to_wait_is_passed_on(value: str, wait: float | None) -> None:
    busy = refused(429, "TooManyRequests", ("Retry-After", value))
    async with served(busy) as server, credential_for(server) as credential:
        error = await exchange_error(credential.get_token())
    assert (error.retry_after, error.code, error.permanent) == (wait, "TooManyRequests", False)


@pytest.mark.promise("R31")
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_failing_service_is_asked_three_times_a_round(status: int) -> None:
    again = refused(status, "Busy", ("Retry-After", "0"))
    async with served(again) as server, credential_for(server) as credential:
        error = await exchange_error(credential.get_token())
    assert (error.status_code, error.permanent, len(server.requests)) == (status, False, 3)


@pytest.mark.promise("R31")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_refusal_is_not_asked_again(status: int) -> None:
    """It latches: callers get it again at once, without a request."""
    async with served(refused(status)) as server, credential_for(server) as credential:
        for _ in range(3):
            error = await exchange_error(credential.get_token())
    assert (error.status_code, error.permanent, len(server.requests)) == (status, True, 1)
    assert (error.code, "Not so." in error.message) == ("Denied", True)


@pytest.mark.promise("R32")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    """The other host hears nothing, neither of the token nor at all."""
    async with served(exchanged()) as other:
        moved = answer(status, None, ("Location", f"{other.url}/x"))
        async with served(moved) as server, credential_for(server) as credential:
            error = await exchange_error(credential.get_token())
        assert (error.status_code, error.permanent, len(server.requests), other.connections) == (status, True, 1, 0)


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names or ("127.0.0.1",), **options).configure_cert(context)
    return context


@pytest.mark.promise("R39")
async def test_a_client_of_our_own_honours_the_certificates_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, tmp_path: Any
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        served(exchanged(), tls=server_context(authority)) as server,
        credential_for(server) as credential,
    ):
        assert (await credential.get_token()).token
    assert authorizations(server) == ["entra-token"]


@pytest.mark.promise("R34")
@pytest.mark.parametrize("fault", ["expired", "wrong host", "foreign", "plain text"])
async def test_without_tls_nothing_is_sent(fault: str, authority: trustme.CA) -> None:
    """One attempt, and none at once after it; the token stays here."""
    past: dict[str, Any] = {
        "not_before": datetime(2020, 1, 1, tzinfo=UTC),
        "not_after": datetime(2020, 1, 2, tzinfo=UTC),
    }
    contexts = {
        "expired": server_context(authority, **past),
        "wrong host": server_context(authority, "other.example"),
        "foreign": server_context(trustme.CA()),
    }
    context = contexts.get(fault)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    plain = send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with (
        served(exchanged(), tls=context, greet=plain if context is None else None) as server,
        httpx.AsyncClient(verify=trusted) as client,
        credential_for(server.url.replace("http:", "https:"), http_client=client) as credential,
    ):
        error = await exchange_error(credential.get_token())
        await exchange_error(credential.get_token())
    # It may be a portal's, to which a person has yet to log in: one attempt, and the usual back-off.
    assert (error.permanent, server.requests, server.connections) == (False, [], 1)


@pytest.mark.promise("R34")
@pytest.mark.parametrize("shows", ["a certificate of its own", "a page in plain HTTP"])
async def test_once_a_person_has_logged_in_to_a_portal_refreshing_goes_on(shows: str, authority: trustme.CA) -> None:
    """Nobody has to call `refresh()` afterwards."""
    plain = send_bytes(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n") if "plain" in shows else None
    context = server_context(trustme.CA())
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    failures: list[RefreshFailed] = []
    failed = anyio.Event()

    def observe(event: object) -> None:
        if isinstance(event, RefreshFailed):
            failures.append(event)
            failed.set()

    async with (
        served(exchanged(), tls=None if plain else context, greet=plain) as server,
        httpx.AsyncClient(verify=trusted) as client,
        credential_for(
            f"https://127.0.0.1:{server.port}",
            http_client=client,
            proactive_refresh=True,
            observer=observe,
            policy=RefreshPolicy(retry_initial=0.01),
        ) as credential,
    ):
        with anyio.fail_after(30):
            await failed.wait()
            authority.issue_cert("127.0.0.1").configure_cert(context)
            server.let_in(context)
            async for _ in credential.updates():
                break
    assert not any(failure.permanent for failure in failures)
    assert authorizations(server) == ["entra-token"]


# Clients


@pytest.mark.promise("R39")
@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_a_client_of_the_callers_is_used_and_left_open(package: Any) -> None:
    sent: list[Any] = []

    async def note(request: Any) -> None:
        sent.append(request)

    async with served(exchanged()) as server, package.AsyncClient(event_hooks={"request": [note]}) as client:
        async with credential_for(server, http_client=client) as credential:
            await credential.get_token()
        assert not client.is_closed
    assert len(sent) == len(server.requests) == 1


@pytest.mark.promise("R48")
async def test_nothing_is_held_open_between_two_rounds() -> None:
    """The next one is far away: a client of our own, and its connection, last for a round."""
    async with served(exchanged()) as server, credential_for(server) as credential:
        for count in (1, 2):
            await credential.refresh()
            with anyio.fail_after(5):
                while server.open:  # noqa: ASYNC110 - the server learns of a closed connection when it reads
                    await anyio.sleep(0.001)
            assert server.connections == count


@pytest.mark.promise("R39")
async def test_a_client_that_was_closed_too_early_is_named() -> None:
    async with httpx.AsyncClient() as client:
        pass
    async with credential_for(ENDPOINT, http_client=client) as credential:
        error = await cause(credential.get_token())
    assert isinstance(error, CredentialUsageError)
    assert "http_client is closed" in str(error)


@pytest.mark.promise("R37")
@pytest.mark.parametrize("first", [answer_and_hang_up, None])
async def test_a_connection_that_died_between_two_rounds_is_not_noticed(first: Any) -> None:
    """Closed while it was idle, or broken under the second request."""
    whole = {"accessToken": {"token": "acs-token", "expiresOn": time.time() + 3600}}
    script = (first(200, whole), exchanged()) if first else (exchanged(), reset(), exchanged())
    async with served(*script) as server, credential_for(server) as credential:
        await credential.refresh()
        await credential.refresh()
        assert credential.statistics().failures == 0


@pytest.mark.promise("R38")
# Cancelled while it writes a body, httpx leaves the generator that held the bytes to the garbage collector.
@pytest.mark.filterwarnings(r"ignore:Async generator 'httpx2?._content:ResourceWarning")
async def test_exchanges_cancelled_anywhere_leave_the_source_usable() -> None:
    """After hundreds of them, the next one succeeds, and no connection is left."""
    async with served(hesitating(exchanged("acs-token"))) as server:
        source = EntraTokenExchange(server.url, Signed())
        await source()  # what clients need is loaded in a thread
        await cancel_everywhere(source, server)
        assert (await source()).token == "acs-token"


@pytest.mark.promise("R38")
@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_a_cancelled_handshake_leaves_no_connection(package: Any) -> None:
    """Not even until the garbage collector comes by."""
    async with served(silence()) as server, package.AsyncClient() as client:
        source = EntraTokenExchange(f"https://127.0.0.1:{server.port}", Signed(), http_client=client)
        gc.disable()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(source)
                with anyio.fail_after(30):
                    while not server.open:  # noqa: ASYNC110 - a server tells
                        await anyio.sleep(0.001)
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            with anyio.fail_after(30):
                while server.open:  # noqa: ASYNC110 - likewise
                    await anyio.sleep(0.001)
        finally:
            gc.enable()


@pytest.mark.promise("R38")
@pytest.mark.parametrize("step", ["connect_tcp.complete", "start_tls.complete", "send_request_headers.started"])
@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_a_connection_that_is_cancelled_before_its_first_byte_takes_no_place_in_the_pool(
    package: Any, step: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only place in this pool is free for the next exchange."""
    scope = anyio.CancelScope()

    class Watched(attempt.Connecting):
        async def __call__(self, event: str, info: Any) -> None:
            await super().__call__(event, info)
            if event.endswith(step):
                scope.cancel()

    monkeypatch.setattr(attempt, "Connecting", Watched)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    limits, timeout = package.Limits(max_connections=1), package.Timeout(30, pool=10)
    async with (
        served(exchanged("acs-token"), tls=server_context(authority)) as server,
        package.AsyncClient(verify=trusted, limits=limits, timeout=timeout) as client,
    ):
        source = EntraTokenExchange(server.url, Signed(), http_client=client)
        with scope:
            await source()
        assert scope.cancelled_caught
        monkeypatch.undo()
        assert (await source()).token == "acs-token"


@pytest.mark.promise("R38", "R41")
async def test_leaving_the_block_ends_an_exchange_at_once() -> None:
    """The connection is gone with the block, also where that is cancelled."""
    async with served(silence()) as server:
        with anyio.fail_after(20), anyio.CancelScope() as scope:
            async with credential_for(server, proactive_refresh=True):
                while not server.requests:  # noqa: ASYNC110 - a server tells
                    await anyio.sleep(0.001)
                scope.cancel()


# Claims challenges


@pytest.mark.promise("R31")
async def test_a_challenge_leads_to_one_new_entra_token_and_one_retry() -> None:
    signed = Signed("old", "new")
    async with served(CHALLENGED, exchanged("acs-token")) as server, credential_for(server, signed) as credential:
        assert (await credential.get_token()).token == "acs-token"
    assert signed.asked == [None, CLAIMS]
    assert authorizations(server) == ["old", "new"]


@pytest.mark.promise("R31")
async def test_a_service_that_challenges_every_token_is_not_asked_in_a_circle() -> None:
    """Two exchanges, and then the 401 is what it is."""
    signed = Signed()
    async with served(CHALLENGED) as server, credential_for(server, signed) as credential:
        error = await exchange_error(credential.get_token())
        await exchange_error(credential.get_token())
    assert (error.status_code, error.permanent, error.code) == (401, True, "InsufficientClaims")
    assert signed.asked == [None, CLAIMS]
    assert len(server.requests) == 2


@pytest.mark.promise("R31")
async def test_a_401_without_claims_asks_for_no_new_entra_token() -> None:
    signed = Signed()
    plain = refused(401, "Denied", ("WWW-Authenticate", 'Bearer error="invalid_token"'))
    async with served(plain) as server, credential_for(server, signed) as credential:
        await exchange_error(credential.get_token())
    assert (signed.asked, len(server.requests)) == ([None], 1)


async def test_claims_of_a_caller_reach_the_credential() -> None:
    """One round with them, whose token is the caller's; the rounds after it are as the rounds before."""
    signed = Signed()
    async with served(exchanged()) as server, credential_for(server, signed) as credential:
        held = await credential.get_token()
        token = await credential.get_token(claims=CLAIMS)
        assert token != held
        assert await credential.get_token() is token
        await credential.refresh()
    assert signed.asked == [None, CLAIMS, None]
    assert len(server.requests) == 3


async def test_azure_cores_options_carry_claims_as_well() -> None:
    signed = Signed()
    async with served(exchanged()) as server, credential_for(server, signed) as credential:
        await credential.get_token_info("scope", options={"claims": CLAIMS})
    assert signed.asked == [CLAIMS]


async def test_callers_with_equal_claims_share_a_round() -> None:
    """Those with others get a round of their own after it; one without claims in flight is none for them."""
    gate = anyio.Event()
    signed = Signed(gate.wait, "entra-token")
    async with (
        served(exchanged()) as server,
        credential_for(server, signed) as credential,
        anyio.create_task_group() as group,
    ):
        group.start_soon(credential.refresh)
        await anyio.wait_all_tasks_blocked()
        for number in (1, 2, 1, 1, 2):
            group.start_soon(ask_with, credential, f'{{"n":{number}}}')
        await anyio.wait_all_tasks_blocked()
        assert signed.asked == [None]
        gate.set()
    first, *others = signed.asked
    assert first is None
    assert sorted(map(str, others)) == ['{"n":1}', '{"n":2}']
    assert len(server.requests) == 3


async def ask_with(credential: CommunicationTokenCredential, claims: str) -> AccessToken:
    return await credential.get_token(claims=claims)


async def test_a_round_with_equal_claims_in_flight_is_joined() -> None:
    gate = anyio.Event()
    signed = Signed(gate.wait)
    async with (
        served(exchanged()) as server,
        credential_for(server, signed) as credential,
        anyio.create_task_group() as group,
    ):
        for _ in range(3):
            group.start_soon(ask_with, credential, CLAIMS)
            await anyio.wait_all_tasks_blocked()
        gate.set()
    assert signed.asked == [CLAIMS]


async def test_callers_with_equal_claims_at_once_make_one_round() -> None:
    """Also where a token has just been fetched: the first who asks for another is the only one to be counted."""
    signed = Signed()
    async with served(exchanged()) as server, credential_for(server, signed) as credential:
        await credential.get_token()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask_with, credential, CLAIMS)
    assert signed.asked == [None, CLAIMS]


async def test_claims_respect_the_back_off() -> None:
    """A source that fails is not asked once a challenge."""
    signed = Signed(OSError("down"))
    async with served(exchanged()) as server, credential_for(server, signed) as credential:
        for _ in range(5):
            assert isinstance(await cause(credential.get_token(claims=CLAIMS)), OSError)
    assert signed.asked == [CLAIMS]
    assert server.requests == []


async def test_a_client_that_challenges_every_token_is_not_fed_one_a_request() -> None:
    """As with tokens that are turned down: the second in a row within a minute waits."""
    signed = Signed()
    async with served(exchanged()) as server, credential_for(server, signed) as credential:
        held = await credential.get_token()
        assert await credential.get_token(claims=CLAIMS) != held
        for _ in range(5):
            with pytest.raises(TokenRefreshError, match="turns tokens down"):
                await credential.get_token(claims=CLAIMS)
        assert await credential.get_token() != held
    assert signed.asked == [None, CLAIMS]


async def test_closing_wakes_who_waits_with_claims() -> None:
    """Those who joined a round, and those who wait behind one."""
    woken: list[str] = []

    async def wait(claims: str) -> None:
        with pytest.raises(CredentialClosedError):
            await credential.get_token(claims=claims)
        woken.append(claims)

    source = Signed(anyio.sleep_forever)
    async with (
        anyio.create_task_group() as group,
        credential_for(ENDPOINT, source) as credential,
    ):
        for claims in (CLAIMS, CLAIMS, '{"n":1}'):
            group.start_soon(wait, claims)
            await anyio.wait_all_tasks_blocked()
        await credential.close()
    assert len(woken) == 3


async def test_a_credential_that_asks_its_own_user_with_claims() -> None:
    """It would wait for itself, and is told so."""

    async def ask_back() -> None:
        await credential.get_token(claims='{"n":1}')

    async with served(exchanged()) as server, credential_for(server, Signed(ask_back)) as credential:
        assert isinstance(await cause(credential.get_token(claims=CLAIMS)), CredentialUsageError)


# An Entra credential that fails


class Shifted:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.mark.promise("R59")
@pytest.mark.parametrize("error", [OSError("down"), AttributeError("a bug"), TokenSourceError("no", permanent=True)])
async def test_a_failing_credential_is_done_without_while_its_last_token_is_valid(error: Exception) -> None:
    """The exchange is made with that; once it has ended, the error is the round's."""
    clock = Shifted()
    signed = Signed("first", error, clock=clock)
    async with served(exchanged()) as server, credential_for(server, signed, clock=clock) as credential:
        await credential.refresh()
        await credential.refresh()
        assert authorizations(server) == ["first", "first"]
        clock.ahead = 3601
        assert await cause(credential.get_token()) is error
    assert len(server.requests) == 2


class Stopped:
    """A clock that stands, at a whole second."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))
        self.set_back = 0.0

    def time(self) -> float:
        return self.now - self.set_back

    def monotonic(self) -> float:
        return self.now


@pytest.mark.promise("R59")
@pytest.mark.parametrize(("left", "is_kept"), [(0.5, True), (0.0, False)])
async def test_the_last_token_is_valid_to_its_end(left: float, is_kept: bool) -> None:
    clock = Stopped()
    service = Service(exchanged_body())
    async with httpx.AsyncClient(transport=service) as client:
        source = EntraTokenExchange(ENDPOINT, Signed("first", OSError("down"), clock=clock), http_client=client)
        source.use(clock)
        await source()
        clock.now += 3600 - left
        with nullcontext() if is_kept else pytest.raises(OSError, match="down"):
            await source()
    assert service.tokens == ["Bearer first"] * (1 + is_kept)


@pytest.mark.promise("R59")
async def test_the_same_token_is_no_younger_for_a_clock_that_was_set_back() -> None:
    """It is kept to the end that it had when it came first."""
    clock = Stopped()
    token = AccessToken("first", clock.time() + 3600)
    answers: list[AccessToken | OSError] = [token, token, OSError("down")]

    class Caching:
        async def get_token(self, *_scopes: str) -> AccessToken:
            await anyio.lowlevel.checkpoint()
            if isinstance(answer := answers.pop(0), OSError):
                raise answer
            return answer

    service = Service(exchanged_body())
    async with httpx.AsyncClient(transport=service) as client:
        source = EntraTokenExchange(ENDPOINT, Caching(), http_client=client)
        source.use(clock)
        await source()
        clock.now += 1800
        clock.set_back = 7200
        await source()
        clock.now += 1800
        with pytest.raises(OSError, match="down"):
            await source()
    assert service.tokens == ["Bearer first"] * 2


@pytest.mark.promise("R59")
@pytest.mark.parametrize(("left", "permanent"), [(60.0, True), (59.9, False)])
async def test_an_entra_token_that_ends_on_its_way_is_no_refusal_of_the_next(left: float, permanent: bool) -> None:
    """A 401 latches, unless the Entra token was in its last minute: by the service's clock it may have ended."""
    clock = Stopped()
    signed = Signed("first", OSError("down"), clock=clock)
    async with served(exchanged(), answer(401)) as server, httpx.AsyncClient() as client:
        source = EntraTokenExchange(server.url, signed, http_client=client)
        source.use(clock)
        await source()
        clock.now += 3600 - left
        with pytest.raises(ServiceError) as caught:
            await source()
    assert (caught.value.status_code, caught.value.permanent) == (401, permanent)


@pytest.mark.promise("R59")
async def test_the_token_of_who_may_have_signed_out_is_not_kept() -> None:
    """A credential of people says when one signs in: until another token is there, nobody's is exchanged."""
    signed = Signed("alice", OSError("down"), OSError("down"))
    signed.sign_ins = 1
    service = Service(exchanged_body())
    async with httpx.AsyncClient(transport=service) as client:
        source = EntraTokenExchange(ENDPOINT, signed, http_client=client)
        await source()
        await source()
        signed.sign_ins = 2
        with pytest.raises(OSError, match="down"):
            await source()
    assert service.tokens == ["Bearer alice"] * 2


@pytest.mark.promise("R88")
async def test_the_services_clock_is_held_against_the_credentials() -> None:
    clock = Shifted()
    clock.ahead = 7200
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(dated)) as client,
        credential_for(ENDPOINT, clock=clock, http_client=client) as credential,
    ):
        await credential.get_token()
        assert credential.statistics().clock_offset == pytest.approx(7200, abs=60)


async def test_each_service_has_a_clock_of_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A clock that is right by one of them is not right again by the other."""
    monkeypatch.setattr(clock_warning, "_told", {})
    ahead = Shifted()
    ahead.ahead = 7200
    caplog.set_level(logging.INFO, "anyio_acs_credential")
    async with httpx.AsyncClient(transport=httpx.MockTransport(dated)) as client:
        for endpoint, clock in ((ENDPOINT, ahead), ("https://fabrikam.communication.azure.com", time)):
            source = EntraTokenExchange(endpoint, Signed(), http_client=client)
            source.use(clock)
            await source()
    [record] = [record for record in caplog.records if record.name == "anyio_acs_credential"]
    assert "clock is 2 h ahead" in record.getMessage()


@pytest.mark.promise("R59")
@VIRTUAL
async def test_a_silent_credential_is_done_without_for_half_of_the_round() -> None:
    """The other half is the exchange's."""
    service = Service(exchanged_body())
    async with httpx.AsyncClient(transport=service) as client:
        source = EntraTokenExchange(ENDPOINT, Signed("first", anyio.sleep_forever), http_client=client)
        await source()
        began = anyio.current_time()
        with anyio.fail_after(10):
            await source()
    assert anyio.current_time() - began == pytest.approx(5, abs=0.1)
    assert service.tokens == ["Bearer first"] * 2


@pytest.mark.promise("R59", "R31")
@pytest.mark.parametrize("who", ["service", "caller"])
async def test_a_challenge_is_not_answered_with_the_token_that_it_turned_down(who: str) -> None:
    error = OSError("down")
    signed = Signed("first", error) if who == "caller" else Signed("first", "first", error)
    async with (
        served(exchanged(), CHALLENGED if who == "service" else exchanged()) as server,
        credential_for(server, signed) as credential,
    ):
        held = await credential.get_token()
        call = credential.refresh() if who == "service" else credential.get_token(claims=CLAIMS)
        assert await cause(call) is error
        assert await credential.get_token() is held
    assert signed.asked[-1] == CLAIMS


@pytest.mark.promise("R59")
async def test_cancelling_is_no_failure_of_the_credential() -> None:
    signed = Signed("first", anyio.sleep_forever)
    async with served(exchanged()) as server:
        source = EntraTokenExchange(server.url, signed)
        await source()
        with anyio.move_on_after(10) as scope:
            with anyio.CancelScope(shield=True) as inner:
                inner.cancel()
                await source()
            assert inner.cancelled_caught
        assert not scope.cancelled_caught
    assert len(server.requests) == 1


async def test_a_plain_credential_is_called_off_the_loop() -> None:
    threads: list[int] = []

    class Plain:
        def get_token(self, *_scopes: str) -> AccessToken:
            threads.append(threading.get_ident())
            return AccessToken("plain-token", time.time() + 3600)

    async with served(exchanged()) as server, credential_for(server, Plain()) as credential:
        await credential.get_token()
    assert authorizations(server) == ["plain-token"]
    assert threading.get_ident() not in threads


# The emulated service


@pytest.mark.parametrize("scope", [DEFAULT_SCOPE, TEAMS])
async def test_the_emulator_exchanges_as_the_service_does(scope: str) -> None:
    """A user's Entra token, checked there, becomes an access token of the user that it names."""
    async with open_emulator() as emulator, httpx.AsyncClient(verify=emulator.ssl_context) as client:
        signed = Signed(emulator.issue_entra_token(scope))
        async with credential_for(emulator.endpoint, signed, scopes=(scope,), http_client=client) as credential:
            token = await credential.get_token()
            assert credential.raw_id == f"8:{token.claims['skypeid']}"
            emulator.require_claims("user", CLAIMS)
            error = await exchange_error(credential.refresh())
            assert (error.status_code, error.permanent) == (401, True)
            assert await credential.get_token() is token
    assert [claims is not None for claims in signed.asked] == [False, False, True]


async def test_the_emulator_refuses_a_token_of_the_other_family() -> None:
    async with open_emulator() as emulator, httpx.AsyncClient(verify=emulator.ssl_context) as client:
        signed = Signed(emulator.issue_entra_token(TEAMS))
        async with credential_for(emulator.endpoint, signed, http_client=client) as credential:
            assert (await exchange_error(credential.get_token())).status_code == 401


# Secrets


CANARIES = {"opaque": "canary-entra-token-that-is-opaque", "JWT": make_jwt(canary="entra")}
ECHO = "echoed: "


def echo(status: int, *headers: tuple[str, str]) -> Behaviour:
    """A service that repeats the token that it was sent, wherever it can."""

    async def behave(server: Server, stream: ByteStream) -> None:
        sent = server.requests[-1].headers["authorization"].removeprefix("Bearer ")
        body = {"error": {"code": sent, "message": ECHO + sent}}
        await answer(status, body, *headers)(server, stream)

    return behave


def raises(text: Callable[[str], str]) -> Callable[[str], Any]:
    """A credential that signs in once and then fails with its token in the text."""
    return lambda canary: Signed(canary, OSError(text(canary)))


@pytest.mark.promise("R52", "R53")
@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
@pytest.mark.parametrize(
    ("behaviour", "sign"),
    [
        (echo(400), Signed),
        (echo(401, ("WWW-Authenticate", CHALLENGE)), Signed),
        (echo(429, ("Retry-After", "9")), Signed),
        (answer(200, {"accessToken": {"token": "acs-canary-token", "expiresOn": "never"}}), Signed),
        (reset(), Signed),
        (exchanged("acs-canary-token", life=-5), Signed),
        (exchanged("acs-canary-token", life=0), lambda canary: Signed(f"{canary}\n")),
        (CHALLENGED, raises(lambda canary: f"no token after {canary}")),
    ],
    ids=["400", "401", "429", "malformed", "reset", "expired", "unsendable", "credential"],
)
@pytest.mark.usefixtures("tried_once")
async def test_no_secret_is_shown(
    behaviour: Behaviour, sign: Callable[[str], Any], canary: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In no message, attribute, log line of whatever logger, representation or traceback of ours."""
    caplog.set_level(logging.DEBUG)
    events: list[object] = []
    async with served(behaviour) as server:
        credential = credential_for(server, sign(canary), observer=events.append, proactive_refresh=True)
        async with credential:
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            statistics = credential.statistics()
    error = caught.value
    shown = [repr(credential), repr(statistics), caplog.text, str(error), repr(vars(error)), repr(copy.copy(error))]
    if not isinstance(error.__cause__, OSError):  # somebody else's text is theirs, but not in our log
        shown += [*map(repr, events), repr(vars(error.__cause__)), *traceback.format_exception(error)]
    for secret in (canary, "acs-canary-token"):
        assert secret not in "".join(shown)


async def test_a_token_that_has_ended_is_told_as_the_services() -> None:
    """With both times: it is no fault of a token source that could fetch another."""
    async with served(exchanged(life=-3600)) as server, credential_for(server) as credential:
        error = await exchange_error(credential.get_token())
    assert (error.status_code, error.permanent) == (200, False)
    times = re.findall(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", str(error))
    ended, now = map(datetime.fromisoformat, times)
    assert 3500 < (now - ended).total_seconds() < 3700
    assert "Set this machine's clock" in str(error)


async def test_the_exchange_is_a_source_of_its_own() -> None:
    """What the third form of the credential does, it does as a token refresher too: with claims, and unseen."""
    signed = Signed()
    async with served(exchanged()) as server, httpx.AsyncClient() as client:
        source = EntraTokenExchange(server.url, signed, http_client=client)
        async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
            first = await credential.get_token()
            assert await credential.get_token(claims=CLAIMS) != first
            assert credential.raw_id == USER
            assert "entra-token" in credential._secrets()
            assert credential.statistics().shared == 0
    assert signed.asked == [None, CLAIMS]
