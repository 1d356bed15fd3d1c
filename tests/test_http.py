"""The bounded request, against real servers that misbehave."""

from __future__ import annotations

import gzip
import json
import re
import ssl
import traceback
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import httpx2
import pytest
import trustme
from cancelling import cancel_everywhere
from hypothesis import given
from hypothesis import strategies as st
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

from anyio_acs_credential._common.errors import CredentialUsageError, ServiceError
from anyio_acs_credential._common.redaction import redact
from anyio_acs_credential._http import retries
from anyio_acs_credential._http.answer import Answer, error_from, read_object
from anyio_acs_credential._http.attempt import Connecting
from anyio_acs_credential._http.endpoint import check_endpoint
from anyio_acs_credential._http.own_client import client_factory
from anyio_acs_credential._http.request import Call
from anyio_acs_credential._http.retries import Limits, send
from anyio_acs_credential._http.retry_after import MAX_RETRY_AFTER, read_retry_after
from anyio_acs_credential.testing import virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from servers import Behaviour, Server

SECRET = "c2VjcmV0LXZhbHVlLW9mLXRoZS1oZWFkZXI"
JWT = "eyJhbGciOiJub25lIn0.eyJleHAiOjEsInNlY3JldCI6MX0.c2lnbmF0dXJlLW9mLXRva2Vu"
FAST = Limits(timeout=30, backoff=0.01)
SHORT = Limits(timeout=0.3, backoff=0.01)
MALFORMED = "the service answered 200, and its answer is malformed: "
NOT_CHANGED = "Check that the endpoint is the service's own and that no proxy changes what it says"
OK = answer(200, {"ok": True})
OK_HEAD = head(200, ("Content-Length", "1000000000"))
CHUNKED = head(200, ("Transfer-Encoding", "chunked"))


async def authorize(request: Any) -> None:
    request.headers["Authorization"] = f"Bearer {SECRET}"


async def post(url: str, limits: Limits = FAST, *, repeatable: bool = True, client: Any = None) -> Answer:
    async with client or client_factory(None)() as opened:
        return await send(opened, Call("POST", f"{url}/x", b"{}", repeatable), authorize, limits)


def judge(result: Answer) -> dict[str, Any]:
    if not result.is_success:
        raise error_from(result)
    return read_object(result)


async def fail(url: str, limits: Limits = FAST, *, repeatable: bool = True, client: Any = None) -> ServiceError:
    """The error that a call ends with, after checking that it shows no secret anywhere."""
    with pytest.raises(ServiceError) as caught, anyio.fail_after(10 * limits.timeout):
        judge(await post(url, limits, repeatable=repeatable, client=client))
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert SECRET not in shown
    assert len(str(caught.value).encode()) <= 1024
    assert str(caught.value).isprintable()
    return caught.value


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names or ("127.0.0.1",), **options).configure_cert(context)
    return context


def trusting_client(authority: trustme.CA, package: Any = httpx) -> Any:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return package.AsyncClient(verify=context)


@asynccontextmanager
async def served(*script: Behaviour, **options: Any) -> AsyncGenerator[Server]:
    """A server that must be without connections again at the end."""
    async with serve(*script, **options) as server:
        yield server
        with anyio.fail_after(30):
            while server.open:  # noqa: ASYNC110 - the server learns of a closed connection when it reads
                await anyio.sleep(0.001)


# The request itself


@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_any_client_of_that_shape_sends_it(package: Any) -> None:
    """An httpx2 client does what an httpx client does, without its own auth."""
    mine = package.AsyncClient(auth=("user", "password"), follow_redirects=True)
    async with served(answer(200, {"a": 1}, ("X-Thing", "1"))) as server, mine as client:
        result = await send(client, Call("POST", f"{server.url}/x?y=%20", b'{"z":1}'), authorize, FAST)
        assert not client.is_closed
    assert (result.status, read_object(result), result.header("x-thing"), result.header("x-none")) == (
        200,
        {"a": 1},
        "1",
        None,
    )
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("POST", "/x?y=%20", b'{"z":1}')
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["accept"] == request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("DELETE", "0"), ("POST", "0")])
async def test_a_call_without_a_body_sends_none(method: str, length: str | None) -> None:
    """It says so where the method would let a body be expected."""
    async with served(answer(204)) as server, client_factory(None)() as client:
        await send(client, Call(method, f"{server.url}/x"), authorize, FAST)
    assert "content-type" not in server.requests[0].headers
    assert server.requests[0].headers.get("content-length") == length
    assert server.requests[0].body == b""


async def test_a_closed_client_is_named() -> None:
    async with httpx.AsyncClient() as client:
        pass
    with pytest.raises(CredentialUsageError, match="http_client is closed"):
        await send(client, Call("GET", "https://127.0.0.1/x"), authorize)


@pytest.mark.promise("R39")
async def test_only_our_own_client_is_closed() -> None:
    """What the caller made stays open; what the factory made is closed with its block.

    It answers Azure/azure-sdk-for-python#8972, Azure/azure-sdk-for-python#29618 and microsoft/kiota-python#732.
    """
    async with httpx.AsyncClient() as mine:
        async with client_factory(mine)() as used:
            assert used is mine
        assert not mine.is_closed
    async with client_factory(None)() as ours:
        assert not ours.is_closed
    assert ours.is_closed


@pytest.mark.promise("R39")
async def test_our_own_client_honours_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(answer(502)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        await fail("https://127.0.0.1:1")
    assert (proxy.requests[0].method, proxy.requests[0].target) == ("CONNECT", "127.0.0.1:1")


@pytest.mark.promise("R39")
async def test_our_own_client_honours_the_certificates_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, tmp_path: Any
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with served(OK, tls=server_context(authority)) as server:
        assert (await post(server.url)).status == 200


@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_the_credentials_of_a_client_are_not_used(package: Any) -> None:
    """They are for the program's own requests; nor do they send ours again."""

    class Twice(package.Auth):  # type: ignore[misc]
        def auth_flow(self, request: Any) -> Any:
            request.headers["Authorization"] = "Basic theirs"
            yield request
            yield request

    async with served(OK) as server:
        await post(server.url, client=package.AsyncClient(auth=Twice()))
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {SECRET}"]


# Faults of the connection


@pytest.mark.promise("R28")
@pytest.mark.parametrize(
    "behaviour",
    [
        reset(),
        reset(b"HTTP/1.1 200"),
        reset(OK_HEAD + b"{"),
        send_bytes(b""),
        answer(200, b"{", length=20),
        send_bytes(b"SSH-2.0-OpenSSH\r\n"),
        send_bytes(head(200, ("X-Big", "a" * 10_000_000))),
    ],
    ids=["reset", "reset in head", "reset in body", "hang up", "truncated", "no HTTP", "10 MB of headers"],
)
async def test_a_broken_connection_is_a_transient_error_after_three_tries(behaviour: Behaviour) -> None:
    async with served(behaviour) as server:
        error = await fail(server.url)
    assert (error.permanent, error.status_code, error.retry_after) == (False, None, None)
    assert "127.0.0.1" in str(error)
    assert len(server.requests) == 3


@pytest.mark.promise("R28")
async def test_a_connection_that_is_reset_before_it_is_used_is_a_transient_error() -> None:
    async with served(OK, greet=reset()) as server:
        error = await fail(server.url)
    assert not error.permanent
    assert server.connections == 3


@pytest.mark.promise("R28")
@pytest.mark.parametrize(
    "behaviour",
    [silence(), silence(b"HTTP/1.1 200 OK\r\n"), silence(OK_HEAD), drip(b"HTTP/1.1 200 OK\r\nX: "), drip(OK_HEAD)],
    ids=["silence", "silence in head", "silence in body", "drip in head", "drip in body"],
)
async def test_the_deadline_holds_for_the_whole_call(behaviour: Behaviour) -> None:
    """A server that never finishes costs the deadline and no more, however small each of its steps is."""
    async with served(behaviour) as server:
        error = await fail(server.url, SHORT)
    assert not error.permanent
    assert "within 0.3 seconds" in str(error)
    assert len(server.requests) <= 1  # none, where the machine was busy


@pytest.mark.promise("R28")
async def test_a_refused_connection_is_retried_even_where_repeating_is_not_safe() -> None:
    """Nothing was sent, so nothing can have been made twice."""
    tries = []

    async def count(request: Any) -> None:
        tries.append(request)

    async with client_factory(None)() as client:
        with pytest.raises(ServiceError) as caught:
            await send(client, Call("POST", f"http://127.0.0.1:{unused_port()}/", b"", False), count, FAST)
    assert not caught.value.permanent
    assert told(caught.value) == (
        "unreachable",
        "127.0.0.1: the request failed: try again later (ConnectError: All connection attempts failed)",
    )
    assert len(tries) == 3


@pytest.mark.promise("R28")
async def test_a_name_that_does_not_resolve_is_a_transient_error() -> None:
    error = await fail("https://name.invalid", Limits(timeout=20, tries=1))
    assert not error.permanent
    assert "name.invalid" in str(error)


@pytest.mark.promise("R28")
async def test_a_connection_that_is_lost_in_the_handshake_is_a_transient_error(authority: trustme.CA) -> None:
    async with served(OK, greet=reset()) as server:
        error = await fail(server.url.replace("http:", "https:"), client=trusting_client(authority))
    assert not error.permanent
    assert server.connections == 3


@pytest.mark.promise("R28")
async def test_what_may_have_made_something_is_not_sent_twice() -> None:
    async with served(reset(), OK) as server:
        error = await fail(server.url, repeatable=False)
    assert not error.permanent
    assert len(server.requests) == 1


@pytest.mark.promise("R37")
@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_an_idle_connection_that_the_server_closed_is_replaced_unseen(package: Any) -> None:
    script = answer_and_hang_up(200, {"n": 1}), answer(200, {"n": 2})
    async with served(*script) as server, package.AsyncClient() as client:
        for number in (1, 2):
            result = await send(client, Call("POST", f"{server.url}/", b""), authorize, FAST)
            assert read_object(result) == {"n": number}
    assert server.connections == 2


@pytest.mark.promise("R37")
async def test_a_connection_that_dies_under_the_second_request_is_replaced_unseen() -> None:
    """The request was already on its way when the kept connection broke."""
    async with served(OK, reset(), OK) as server, client_factory(None)() as client:
        for _ in range(2):
            result = await send(client, Call("POST", f"{server.url}/", b""), authorize, FAST)
            assert result.status == 200
    assert len(server.requests) == 3


# Size


@pytest.mark.promise("R29")
@pytest.mark.parametrize(
    ("start", "filler"),
    [(OK_HEAD, b"a" * 65536), (CHUNKED, b"10000\r\n" + b"a" * 65536 + b"\r\n")],
    ids=["200 MB", "endless chunks"],
)
@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_a_body_beyond_the_cap_is_not_read(start: bytes, filler: bytes, package: Any) -> None:
    """The server gets rid of what the socket buffers take, and of no more."""
    async with served(flood(start, filler)) as server:
        error = await fail(server.url, client=package.AsyncClient())
    assert not error.permanent
    assert "larger than 65536 bytes" in str(error)
    assert server.sent < 10_000_000
    assert len(server.requests) == 1


@pytest.mark.promise("R29")
async def test_headers_beyond_the_cap_are_not_read() -> None:
    async with served(flood(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65536)) as server:
        error = await fail(server.url, Limits(timeout=30, tries=1))
    assert not error.permanent
    assert server.sent < 10_000_000


@pytest.mark.promise("R29")
async def test_a_compressed_answer_is_refused_unread() -> None:
    """A hundred kilobytes of gzip hold a hundred megabytes: nothing is inflated."""
    bomb = gzip.compress(bytes(20_000_000))
    async with served(answer(200, bomb, ("Content-Encoding", "gzip"))) as server:
        error = await fail(server.url)
    assert "compressed" in str(error)
    assert not error.permanent


async def test_a_body_of_exactly_the_cap_is_read() -> None:
    body = json.dumps({"a": "x" * (64 * 1024 - 9)}).encode()
    assert len(body) == 64 * 1024
    async with served(answer(200, body), answer(200, body + b" ")) as server:
        assert read_object(await post(server.url))
        assert "larger" in str(await fail(server.url))


async def test_an_error_with_a_body_beyond_the_cap_keeps_its_status() -> None:
    async with served(answer(403, b"x" * 70_000)) as server:
        error = await fail(server.url)
    assert (error.status_code, error.permanent, error.code) == (403, True, None)


# Statuses


@pytest.mark.promise("R31")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_transient_status_is_retried(status: int) -> None:
    async with served(answer(status), answer(status), OK) as server:
        assert (await post(server.url)).status == 200
        assert len(server.requests) == 3


@pytest.mark.promise("R31")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_call_is_sent_three_times_at_most(status: int) -> None:
    async with served(answer(status)) as server:
        error = await fail(server.url)
        assert len(server.requests) == 3
    assert (error.status_code, error.permanent) == (status, False)


@pytest.mark.promise("R31")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_permanent_status_is_not_retried(status: int) -> None:
    async with served(answer(status)) as server:
        error = await fail(server.url)
        assert len(server.requests) == 1
    assert (error.status_code, error.permanent) == (status, True)


@pytest.mark.promise("R31")
async def test_the_challenge_of_a_401_can_be_read() -> None:
    async with served(answer(401, None, ("WWW-Authenticate", 'Bearer claims="e30="'))) as server:
        result = await post(server.url)
    assert result.header("www-authenticate") == 'Bearer claims="e30="'


@pytest.mark.parametrize(("status", "tries"), [(429, 2), (408, 1), (500, 1), (503, 1)])
async def test_an_unrepeatable_call_is_repeated_after_a_429_alone(status: int, tries: int) -> None:
    async with served(answer(status), OK) as server:
        await post(server.url, repeatable=False)
    assert len(server.requests) == tries


@pytest.mark.promise("R32")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["same host", "other host"])
async def test_redirects_are_never_followed(status: int, target: str) -> None:
    """A permanent error; nobody gets a second request, not even from a client that follows redirects otherwise."""
    async with served(OK) as other:
        where = "/elsewhere" if target == "same host" else f"{other.url}/elsewhere"
        async with served(answer(status, None, ("Location", where))) as server:
            error = await fail(server.url, client=httpx.AsyncClient(follow_redirects=True))
            assert len(server.requests) == 1
        assert other.connections == 0
    assert (error.permanent, error.status_code) == (True, status)
    assert "redirects are never followed" in str(error)


# Waiting


@pytest.mark.promise("R30")
@pytest.mark.parametrize("header", [("Retry-After", "0.15"), ("Retry-After-Ms", "150"), ("x-ms-retry-after-ms", "150")])
async def test_the_wait_that_the_service_asks_for_is_kept(header: tuple[str, str]) -> None:
    async with served(answer(429, None, header), OK) as server:
        start = anyio.current_time()
        await post(server.url)
        assert anyio.current_time() - start >= 0.15
    assert len(server.requests) == 2


@pytest.mark.promise("R30")
@pytest.mark.parametrize("value", ["soon", "inf", "nan", "", "1e9999", "-", "\xff", "Sun, 99 Foo 9999 99:99:99 GMT"])
async def test_a_wait_that_cannot_be_read_is_ignored(value: str) -> None:
    async with served(answer(503, None, ("Retry-After", value)), OK) as server:
        assert (await post(server.url)).status == 200
    assert len(server.requests) == 2


@pytest.mark.promise("R30")
@pytest.mark.parametrize("value", ["0", "-5", "0.001", "Sun, 06 Nov 1994 08:49:37 GMT"])
async def test_no_wait_that_the_service_asks_for_removes_the_pause(value: str) -> None:
    """A service whose clock is behind asks to come back in the past: that is after the pause, as ever."""
    limits = Limits(timeout=30, backoff=0.2)
    async with served(answer(429, None, ("Retry-After", value)), OK) as server:
        start = anyio.current_time()
        async with httpx.AsyncClient() as client:
            await send(client, Call("POST", server.url, b"{}"), authorize, limits)
        assert anyio.current_time() - start >= 0.1
    assert len(server.requests) == 2


@pytest.mark.promise("R30")
@pytest.mark.parametrize("value", ["0", "-5", "Sun, 06 Nov 1994 08:49:37 GMT"])
async def test_no_wait_is_told_as_none(value: str) -> None:
    """A wait of nothing is no wish: who asks the error for one gets none, and not the advice to try at once."""
    async with served(*[answer(429, None, ("Retry-After", value))] * 3) as server:
        error = await fail(server.url)
    assert error.retry_after is None
    assert "try again later" in str(error)


@pytest.mark.promise("R30")
async def test_a_wait_beyond_the_deadline_is_told_at_once() -> None:
    async with served(answer(429, None, ("Retry-After", "40")), OK) as server:
        error = await fail(server.url)
    assert (error.retry_after, error.permanent, error.status_code) == (40.0, False, 429)
    assert "try again in 40 seconds" in str(error)
    assert len(server.requests) == 1


def test_pauses_grow_and_are_spread() -> None:
    """The second pause is twice the first, each half of it more or less."""
    drawn = [list(retries._pauses(Limits())) for _ in range(500)]
    for position, middle in enumerate((0.8, 1.6)):
        values = [pauses[position] for pauses in drawn]
        assert middle * 0.5 <= min(values) < middle * 0.7
        assert middle * 1.3 < max(values) <= middle * 1.5
    assert {len(pauses) for pauses in drawn} == {2}


NOW = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC).timestamp()


@pytest.mark.promise("R30")
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ([("Retry-After", "12")], 12),
        ([("retry-after", " 1.5 ")], 1.5),
        ([("Retry-After", "0")], None),
        ([("Retry-After", "-0.0")], None),
        ([("Retry-After", "-5")], None),
        ([("Retry-After", "-5"), ("Retry-After", "0"), ("Retry-After", "2")], 2),
        ([("Retry-After", "301")], 300),
        ([("Retry-After", "9" * 400)], 300),
        ([("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")], 37),
        ([("Retry-After", "Sunday, 06-Nov-94 08:49:37 GMT")], 37),
        ([("Retry-After", "Sun Nov  6 08:49:37 1994")], 37),
        ([("Retry-After", "Sun, 06 Nov 1994 09:49:37 +0100")], 37),
        ([("Retry-After", "Sun, 06 Nov 1994 08:48:00 GMT")], None),
        ([("Retry-After", "Sun, 06 Nov 1994 08:49:00 GMT")], None),
        ([("Retry-After", "Sun, 06 Nov 2094 08:48:00 GMT")], 300),
        ([("Retry-After", "Sun, 06 Foo 1994 08:48:00 GMT")], None),
        ([("Retry-After", "Sun, 99 Nov 1994 08:49:37 GMT")], None),
        ([("Retry-After", "Sun, 31 Nov 1994 08:49:37 GMT")], None),
        ([("Retry-After", "Sun, 06 Nov 1994 08:99:37 GMT")], None),
        ([("Retry-After", "Sun, 06 Nov 1994 08:49:60 GMT")], 59),
        ([("Retry-After", "Sun, 06 Nov 99999999999999 08:48:00 GMT")], None),
        ([("Retry-After", f"Sun, 06 Nov 1994 08:{'4' * 400}:37 GMT")], None),
        ([("Retry-After", "inf")], None),
        ([("Retry-After", "nan")], None),
        ([("Retry-After", "1e3")], None),
        ([("Retry-After", "\u0661")], None),
        ([("Retry-After", "5, 10")], None),
        ([("Retry-After", "5"), ("Retry-After", "10"), ("Retry-After", "x")], 10),
        ([("Retry-After", "5"), ("Retry-After-Ms", "1500")], 1.5),
        ([("Retry-After", "5"), ("Retry-After-Ms", "x")], 5),
        ([("Retry-After", "5"), ("Retry-After-Ms", "0")], 5),
        ([("x-ms-retry-after-ms", "2500"), ("Retry-After", "9")], 2.5),
        ([("Retry-After-Ms", "Sun, 06 Nov 1994 08:49:37 GMT")], None),
        ([("Date", "5")], None),
        ([], None),
    ],
)
def test_every_form_of_retry_after_is_read(headers: list[tuple[str, str]], wait: float | None) -> None:
    assert read_retry_after(headers, NOW) == wait


@pytest.mark.promise("R30")
@given(
    st.lists(
        st.tuples(st.sampled_from(["retry-after", "Retry-After-Ms"]), st.text() | st.from_regex(r"[-+\d .:,A-Z]*"))
    ),
    st.floats(0, 1e11),
)
def test_reading_retry_after_never_raises(headers: list[tuple[str, str]], now: float) -> None:
    wait = read_retry_after(headers, now)
    assert wait is None or 0 < wait <= MAX_RETRY_AFTER


# TLS and plain text


async def test_a_trusted_certificate_is_accepted(authority: trustme.CA) -> None:
    async with served(OK, tls=server_context(authority)) as server:
        assert (await post(server.url, client=trusting_client(authority))).status == 200


@pytest.mark.promise("R34")
@pytest.mark.parametrize("fault", ["expired", "wrong host", "unknown authority"])
@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_a_certificate_that_is_not_trusted_gets_nothing(fault: str, package: Any, authority: trustme.CA) -> None:
    """One connection, no request, no secret on the wire; it may pass, as a portal does once a person has logged in."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    context = {
        "expired": lambda: server_context(authority, not_after=yesterday),
        "wrong host": lambda: server_context(authority, "contoso.example"),
        "unknown authority": lambda: server_context(trustme.CA()),
    }[fault]()
    async with served(OK, tls=context) as server:
        error = await fail(server.url, client=trusting_client(authority, package))
    assert (error.permanent, error.status_code) == (False, None)
    reason = {
        "expired": "certificate has expired",
        "wrong host": "IP address mismatch",
        "unknown authority": "unable to get local issuer certificate",
    }[fault]
    assert re.search(rf"^127.0.0.1: no secure connection: .*certificate verify failed: .*{reason}", str(error))
    assert (server.connections, server.requests) == (1, [])


def alert(description: int) -> bytes:
    """A fatal alert (RFC 5246, section 7.2)."""
    return b"\x15\x03\x01\x00\x02\x02" + bytes((description,))


@pytest.mark.promise("R34")
@pytest.mark.parametrize(
    ("data", "permanent"),
    [
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n", False, id="a portal's page"),
        pytest.param(b"<html>log in</html>", False, id="HTML alone"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", False, id="an echo"),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", False, id="another protocol"),
        pytest.param(b"\x16\x03\x03\xff\xff" + bytes(100), False, id="a record without an end"),
        pytest.param(alert(80), False, id="an internal error of the server's"),
        pytest.param(alert(40), True, id="no common cipher"),
        pytest.param(alert(70), True, id="TLS 1.0 alone"),
    ],
)
@pytest.mark.parametrize("package", [httpx, httpx2])
async def test_only_a_server_that_refuses_our_tls_is_permanent(
    data: bytes, permanent: bool, package: Any, authority: trustme.CA
) -> None:
    """What speaks none may be a portal, and passes; either way it is tried once, and sent nothing."""
    async with served(OK, greet=send_bytes(data)) as server:
        error = await fail(server.url.replace("http:", "https:"), client=trusting_client(authority, package))
    assert (error.permanent, error.status_code) == (permanent, None)
    anchor, text = told(error)
    assert anchor == "unreachable"
    assert text.startswith("127.0.0.1: no secure connection: check the address and the trusted certificates ([SSL")
    assert (server.connections, server.requests) == (1, [])


@pytest.mark.promise("R28")
async def test_tls_that_breaks_under_a_request_is_a_transient_error() -> None:
    """The handshake was good, so neither the address nor the certificates are at fault."""
    tries = []

    def break_off(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        raise httpx.ReadError("broken") from ssl.SSLError(1, "decryption failed")

    async with httpx.AsyncClient(transport=httpx.MockTransport(break_off)) as client:
        with pytest.raises(ServiceError) as caught:
            await send(client, Call("GET", "https://contoso.example/"), authorize, FAST)
    assert not caught.value.permanent
    assert str(caught.value) == "contoso.example: the request failed: try again later (ReadError: broken)"
    assert len(tries) == 3


@pytest.mark.promise("R38")
@pytest.mark.parametrize("anyio_backend", virtual_time_backends())
@pytest.mark.parametrize(("takes", "is_closed"), [(0.9, True), (inf, False)])
async def test_a_failed_handshake_closes_its_connection(takes: float, is_closed: bool) -> None:
    """Though it is cancelled; and a second is enough for it."""
    closed = []

    class Connection:
        async def aclose(self) -> None:
            await anyio.sleep(takes)
            closed.append(self)

    began = anyio.current_time()
    with anyio.CancelScope() as scope:
        scope.cancel()
        connecting = Connecting()
        await connecting("connection.connect_tcp.complete", {"return_value": Connection()})
        await connecting("connection.start_tls.failed", {"exception": OSError()})
    assert len(closed) == is_closed
    assert anyio.current_time() - began == pytest.approx(min(takes, 1))


@pytest.mark.promise("R33")
async def test_nothing_is_sent_in_plain_text_beyond_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(OK) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        error = await fail("http://contoso.example")
        assert proxy.connections == 0
    assert error.permanent
    assert told(error) == ("https-only", "secrets are not sent without TLS: use an https:// address")


@pytest.mark.promise("R33")
@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://contoso.communication.azure.com", "https://contoso.communication.azure.com"),
        ("https://contoso.communication.azure.com/", "https://contoso.communication.azure.com"),
        ("HTTPS://Contoso.Communication.Azure.COM", "https://contoso.communication.azure.com"),
        ("https://contoso.communication.azure.com:8443/", "https://contoso.communication.azure.com:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_good_endpoints(text: str, endpoint: str) -> None:
    assert check_endpoint(text) == endpoint


@pytest.mark.promise("R33")
@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("contoso.communication.azure.com", "scheme"),
        ("", "scheme"),
        ("https://", "scheme"),
        ("https:///identities", "scheme"),
        ("https://[::1", "scheme"),
        ("localhost:8080", "scheme"),
        ("http://contoso.communication.azure.com", "https://"),
        ("http://127.0.0.1.example.com", "https://"),
        ("http://10.0.0.1", "https://"),
        ("ftp://contoso.example", "https://"),
        ("https://user:hunter2@contoso.example", "user name"),
        ("https://hunter2@contoso.example", "user name"),
        ("https://contoso.example\\@hunter2.example", "user name"),
        ("https://contoso.example\\hunter2", "host"),
        ("https://contoso.example/path", "path"),
        ("https://contoso.example//", "path"),
        ("https://contoso.example?a=hunter2", "query"),
        ("https://contoso.example/?", "query"),
        ("https://contoso.example#hunter2", "query or fragment"),
        (" https://contoso.example", "white space"),
        ("https://contoso.example\n", "white space"),
        ("https://con\ttoso.example", "white space"),
        ("https://contoso.example:0", "port"),
        ("https://contoso.example:65536", "port"),
        ("https://contoso.example:https", "port"),
        ("https://contoso.example:", "port"),
        ("https://b\u00fccher.example", "host"),
        ("https://\uff41.example", "host"),
        ("https://a..b", "host"),
        ("https://xn--.example", "host"),
        ("https://contoso.xn--a.example", "host"),  # which stands for nothing in any script
        ("https://%41.example", "host"),
        ("https://[fe80::1%25eth0]", "host"),
        ("https://:443", "host"),
    ],
)
def test_bad_endpoints_are_refused_with_the_fix(text: str, fix: str) -> None:
    with pytest.raises(ValueError, match=fix) as caught:
        check_endpoint(text)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_an_endpoint_is_text() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        check_endpoint(b"https://contoso.example")  # type: ignore[arg-type]


# What answers mean


@pytest.mark.promise("R35")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"<html>",
        b'{"a":1',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    # A second collection in the same process, as mutmut's, would escape each backslash once more.
    ids=lambda body: repr(body[:12]).replace("\\", "%"),
)
async def test_a_success_without_a_json_object_is_malformed(body: bytes) -> None:
    async with served(answer(200, body, ("x-ms-request-id", "id-1"))) as server:
        error = await fail(server.url)
    assert told(error) == ("malformed-answer", f"{MALFORMED}it is not a JSON object in UTF-8. {NOT_CHANGED}")
    assert (error.permanent, error.status_code, error.request_id) == (False, 200, "id-1")
    assert len(server.requests) == 1


@pytest.mark.promise("R35")
async def test_the_content_type_does_not_matter() -> None:
    async with served(answer(200, b'{"a":1,"a":2}', ("Content-Type", "text/html"))) as server:
        assert read_object(await post(server.url)) == {"a": 2}


@pytest.mark.promise("R35")
@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\0e.-untrfals', max_size=60).map(str.encode))
def test_reading_an_object_raises_one_type(body: bytes) -> None:
    try:
        assert isinstance(read_object(Answer(200, (), body)), dict)
    except ServiceError as error:
        assert not error.permanent  # noqa: PT017 - either outcome is good
    assert error_from(Answer(500, (), body)).status_code == 500


def test_the_body_of_an_error_is_read() -> None:
    body = json.dumps({"error": {"code": "TooManyRequests", "message": "Slow down."}}).encode()
    error = error_from(Answer(429, (("retry-after", "3"),), body))
    assert (error.code, error.retry_after) == ("TooManyRequests", 3.0)
    assert str(error) == (
        "the service answered 429 Too Many Requests (TooManyRequests): try again in 3 seconds. It said: Slow down."
    )


@pytest.mark.parametrize(
    "body", [{"error": "text"}, {"error": {"code": 1, "message": []}}, {"error": None}, [], {"error": {"code": ""}}]
)
def test_other_bodies_of_an_error_say_nothing(body: Any) -> None:
    error = error_from(Answer(599, (), json.dumps(body).encode()))
    assert (error.code, str(error)) == (None, "the service answered 599: try again later")


ELSEWHERE = "it points to another address, and redirects are never followed: correct the endpoint"
NOT_ACCEPTED = "the service does not accept the credential: check the access key, or sign in to Entra again"


@pytest.mark.parametrize(
    ("status", "name", "advice", "permanent"),
    [
        (199, "199", "correct the request", True),
        (300, "300 Multiple Choices", ELSEWHERE, True),
        (399, "399", ELSEWHERE, True),
        (400, "400 Bad Request", "correct the request", True),
        (401, "401 Unauthorized", NOT_ACCEPTED, True),
        (403, "403 Forbidden", "give the credential the right to do this on the resource", True),
        (404, "404 Not Found", "check the endpoint and the identity", True),
        (408, "408 Request Timeout", "try again later", False),
        (409, "409 Conflict", "correct the request", True),
        (429, "429 Too Many Requests", "try again later", False),
        (499, "499", "correct the request", True),
        (500, "500 Internal Server Error", "try again later", False),
    ],
)
def test_each_status_says_what_to_do(status: int, name: str, advice: str, permanent: bool) -> None:
    error = error_from(Answer(status))
    assert told(error) == ("refused", f"the service answered {name}: {advice}")
    assert (error.permanent, error.status_code) == (permanent, status)


@pytest.mark.parametrize("status", [199, 200, 299, 300])
def test_a_success_is_one_of_the_two_hundreds(status: int) -> None:
    assert Answer(status).is_success == (status in {200, 299})


def test_what_the_service_says_is_cut_to_length() -> None:
    body = {"error": {"code": "c" * 200, "message": "m" * 2000}}
    error = error_from(Answer(418, (("ms-cv", "i" * 200),), json.dumps(body).encode()))
    cut = "c" * 125 + "…"
    assert (error.code, error.request_id) == (cut, "i" * 125 + "…")
    assert str(error).startswith(f"the service answered 418 I'm a Teapot ({cut}): correct the request. It said: mmm")
    assert (str(error)[-4:], len(str(error).encode())) == ("mmm…", 900)


@pytest.mark.parametrize("name", ["x-ms-request-id", "ms-cv", "x-ms-client-request-id"])
def test_the_request_id_is_found(name: str) -> None:
    """The first of the three that says anything."""
    named = (("x-other", "other"), ("x-ms-client-request-id", "ours"), (name, "abc/1.0"))
    assert error_from(Answer(500, named[:1] + named[2:])).request_id == "abc/1.0"
    assert error_from(Answer(500, named)).request_id == ("ours" if name == "x-ms-client-request-id" else "abc/1.0")
    assert error_from(Answer(500, (("x-ms-request-id", ""), *named[1:2]))).request_id == "ours"
    assert error_from(Answer(500, ((name, f"see {SECRET}"),), secrets=(SECRET,))).request_id == "see [redacted]"
    assert error_from(Answer(500)).request_id is None


@pytest.mark.parametrize("where", ["code", "message", "id"])
async def test_a_service_that_echoes_the_secret_is_not_repeated(where: str) -> None:
    """Nothing of an error or its traceback shows what the request carried, whatever the service says."""
    said = {"code": "c", "message": "m", "id": "i"} | {where: f"a\x00b {SECRET} {JWT} \u202e {'x' * 5000}"}
    body = {"error": {"code": said["code"], "message": said["message"]}}
    header_safe = said["id"].encode("ascii", "ignore").replace(b"\x00", b"").decode()
    async with served(answer(400, body, ("x-ms-request-id", header_safe))) as server:
        error = await fail(server.url)
    shown = f"{error} {vars(error)!r}"
    assert JWT not in shown
    assert "[redacted]" in shown


async def sign(request: Any) -> None:
    request.headers["Authorization"] = f"HMAC-SHA256 SignedHeaders=x-ms-date;host&Signature={SECRET}"


@pytest.mark.parametrize("authorize", [authorize, sign])
async def test_no_part_of_what_was_sent_is_repeated(authorize: Any) -> None:
    """Not the token or the signature alone, nor a secret of the body, by the service or by an HTTP library."""
    said = f"{SECRET} and pass phrase"
    body = {"error": {"code": "c", "message": said}}
    call = Call("POST", "https://contoso.example/", b"{}", secrets=("pass phrase",))

    def break_off(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(said)

    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(400, json=body))) as client:
        error = error_from(await send(client, call, authorize, FAST))
    assert str(error).endswith("It said: [redacted] and [redacted]")
    async with httpx.AsyncClient(transport=httpx.MockTransport(break_off)) as client:
        with pytest.raises(ServiceError) as caught:
            await send(client, call, authorize, FAST)
    failed = "the request failed: try again later (ReadError: [redacted] and [redacted])"
    assert str(caught.value) == f"contoso.example: {failed}"


async def test_an_http_library_that_quotes_the_header_is_not_repeated() -> None:
    """h11 shows a header value that it refuses to send."""

    async def break_header(request: Any) -> None:
        request.headers["Authorization"] = f"Bearer {SECRET}\n"

    async with served(OK) as server, client_factory(None)() as client:
        with pytest.raises(ServiceError) as caught:
            await send(client, Call("GET", f"{server.url}/"), break_header, FAST)
    assert caught.value.permanent
    assert told(caught.value) == (
        "unreachable",
        "127.0.0.1: the request cannot be sent: the credential holds what no HTTP header can carry",
    )
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert server.requests == []


def test_an_answer_shows_neither_body_nor_secrets() -> None:
    assert "hunter2" not in repr(Answer(200, (), b"hunter2", "", ("hunter2",)))


@pytest.mark.parametrize(
    ("text", "secrets", "wanted"),
    [
        ("plain", (), "plain"),
        ("a\r\n\tb\x00c\x1b[31m\u200bd", (), "a b c [31m d"),
        ("key hunter2!", ("hunter2", ""), "key [redacted]!"),
        ("a%2Bb%2F%22 a%2Bb/%22", ('a+b/"',), "[redacted] [redacted]"),
        (r'"a+b/\"c"', ('a+b/"c',), '"[redacted]"'),
        ("abcdef abc", ("abc", "abcdef"), "[redacted] [redacted]"),
        (f"token={JWT}.", (), "token=[redacted]"),
        (f"cut {JWT[:30]}", (), "cut [redacted]"),
        ("see contoso.communication.azure.com", (), "see contoso.communication.azure.com"),
        (f"{'a' * 16}.{'b' * 16}.{'c' * 16}", (), "[redacted]"),
        ("lone \ud800 surrogate", (), "lone surrogate"),
    ],
)
def test_redaction(text: str, secrets: tuple[str, ...], wanted: str) -> None:
    assert redact(text, *secrets) == wanted


def test_redaction_cuts_at_a_kilobyte_of_utf_8() -> None:
    assert redact("a" * 1024) == "a" * 1024
    cut = redact("\u20ac" * 1024)
    assert cut.endswith("…")
    assert len(cut.encode()) <= 1024


@given(st.text(), st.text(), st.text(min_size=8))
def test_a_secret_never_passes(before: str, after: str, secret: str) -> None:
    assert secret not in redact(f"{before}{secret}{after}", secret, limit=10**6) or secret in "[redacted]…"


# Cancellation


@pytest.mark.promise("R38")
# Cancelled while it writes a body, httpx leaves the generator that held the bytes to the garbage collector.
@pytest.mark.filterwarnings(r"ignore:Async generator 'httpx2?._content:ResourceWarning")
@pytest.mark.parametrize("package", [httpx, httpx2])
@pytest.mark.once
async def test_calls_cancelled_anywhere_leave_the_client_usable(package: Any) -> None:
    """After hundreds of them, the next one succeeds and no connection is left over."""
    limits = package.Limits(max_connections=2)
    async with served(hesitating(OK)) as server, package.AsyncClient(limits=limits, timeout=30) as client:
        call = partial(send, client, Call("POST", f"{server.url}/", b"{}"), authorize, FAST)
        await cancel_everywhere(call, server)
        assert (await call()).status == 200
        with anyio.fail_after(30):
            while server.open > 2:  # noqa: ASYNC110 - the server learns of a closed connection when it reads
                await anyio.sleep(0.001)


@pytest.mark.promise("R38")
@pytest.mark.parametrize("behaviour", [silence(), silence(OK_HEAD), drip(OK_HEAD)], ids=["head", "body", "drip"])
async def test_cancelling_closes_the_connection(behaviour: Behaviour) -> None:
    """The connection of a cancelled call is gone while the client is still open."""
    async with served(behaviour) as server, client_factory(None)() as client:
        async with anyio.create_task_group() as group:
            group.start_soon(send, client, Call("GET", f"{server.url}/"), authorize, Limits())
            while not server.requests:  # noqa: ASYNC110 - the server tells
                await anyio.sleep(0.001)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert server.connections == 1
        with anyio.fail_after(30):
            while server.open:  # noqa: ASYNC110 - the server learns of a closed connection when it reads
                await anyio.sleep(0.001)


def test_the_default_limits_are_those_of_the_documentation() -> None:
    assert Limits() == Limits(timeout=30.0, tries=3, backoff=0.8)
