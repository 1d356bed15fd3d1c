"""MSAL's requests, over servers that misbehave, within the limits of every request of ours."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import pytest
from entra_users import SCOPE, device_code, discovery, server_context, threads_in_msal, tokens, trusting
from servers import answer, drip, flood, head, reset, send_bytes, serve, silence, unused_port

from anyio_acs_credential import ServiceError, SignInRequiredError
from anyio_acs_credential._http.retries import Limits
from anyio_acs_credential._tokens.service_clock import ServiceClock
from anyio_acs_credential.entra import DeviceCodeCredential, OnBehalfOfCredential, _transport
from anyio_acs_credential.entra._msal_thread import MsalThread
from anyio_acs_credential.entra._transport import Relay, Response, Transport, _with

if TYPE_CHECKING:
    from servers import Behaviour


def at(url: str) -> OnBehalfOfCredential:
    return OnBehalfOfCredential(
        "app", user_assertion="an-assertion", client_secret="s3cret", authority=f"{url}/tenant", verify=trusting()
    )


OK = head(200, ("Content-Length", "1000000000"))
FAULTS: dict[str, Behaviour] = {
    "reset": reset(),
    "reset in the body": reset(OK + b"{"),
    "cut short": send_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"),
    "no HTTP": send_bytes(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "headers without end": flood(b"HTTP/1.1 200 OK\r\n", b"X: " + b"a" * 8000 + b"\r\n"),
    "a body without end": flood(OK, b" " * 65536),
    "gzip": answer(200, b"\x1f\x8b", ("Content-Encoding", "gzip")),
    "empty": answer(200, b""),
    "null": answer(200, b"null"),
    "NaN": answer(200, b'{"expires_in": NaN}'),
    "not UTF-8": answer(200, b'{"a": "\xff"}'),
    "a proxy's page": answer(403, b"<html>"),
}


@pytest.mark.promise("R28", "R29", "R35")
@pytest.mark.parametrize("where", ["discovery", "token"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_one_typed_error_that_passes(fault: str, where: str) -> None:
    """And the next attempt, once the authority is well, succeeds."""
    script = [FAULTS[fault], discovery(), tokens()] if where == "discovery" else [discovery(), FAULTS[fault], tokens()]
    async with serve(*script, tls=server_context()) as server:
        credential = at(server.url)
        with pytest.raises(ServiceError) as raised:
            await credential.get_token(SCOPE)
        assert not raised.value.permanent
        assert server.sent < 10_000_000
        assert (await credential.get_token(SCOPE)).token == "opaque-access-token"
        assert threads_in_msal() == 0


@pytest.mark.promise("R28")
@pytest.mark.parametrize("fault", [silence(), silence(OK), drip(OK), drip(b"HTTP/1.1 200 OK\r\nX: ")])
async def test_the_deadline_holds(fault: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly an answer trickles in, where MSAL itself would wait for ever."""
    monkeypatch.setattr(_transport, "_LIMITS", Limits(timeout=0.2, tries=1))
    async with serve(fault, tls=server_context()) as server:
        with anyio.fail_after(20), pytest.raises(ServiceError, match=r"no whole answer within 0\.2 seconds"):
            await at(server.url).get_token(SCOPE)


@pytest.mark.promise("R28")
async def test_nobody_there_is_an_error_that_passes() -> None:
    with pytest.raises(ServiceError) as raised:
        await at(f"https://127.0.0.1:{unused_port()}").get_token(SCOPE)
    assert not raised.value.permanent


@pytest.mark.promise("R32")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """MSAL's own HTTP would send the assertion, or the refresh token, to wherever it points."""
    async with serve(answer(200, {}), tls=server_context()) as target:
        away = answer(status, None, ("Location", f"{target.url}/token"))
        async with serve(discovery(), away, tls=server_context()) as server:
            with pytest.raises(ServiceError, match="redirects are never followed") as raised:
                await at(server.url).get_token(SCOPE)
            assert raised.value.permanent
        assert target.connections == 0


@pytest.mark.promise("R34")
async def test_an_authority_without_a_good_certificate_is_sent_nothing() -> None:
    async with serve(discovery(), tls=server_context()) as server:
        credential = DeviceCodeCredential("app", authority=f"{server.url}/tenant")
        with pytest.raises(ServiceError, match="no secure connection") as raised:
            await credential.sign_in(SCOPE)
        assert not raised.value.permanent  # it may be a portal's, to which a person has yet to log in
        assert server.requests == []


async def test_a_token_endpoint_without_tls_is_sent_nothing() -> None:
    """Wherever the discovery document points."""
    away = discovery(device_authorization_endpoint="http://entra.example/devicecode")
    async with serve(away, device_code(), tls=server_context()) as server:
        credential = DeviceCodeCredential("app", authority=f"{server.url}/tenant", verify=trusting())
        with pytest.raises(ServiceError, match="not sent without TLS"):
            await credential.sign_in(SCOPE)
        assert len(server.requests) == 1


async def test_what_is_sent() -> None:
    async with serve(discovery(), tokens(), tls=server_context()) as server:
        await at(server.url).get_token(SCOPE)
        first, second = server.requests
    assert (first.method, first.target) == ("GET", "/tenant/.well-known/openid-configuration")
    assert (second.method, second.target) == ("POST", "/tenant/token")
    assert second.headers["content-type"] == "application/x-www-form-urlencoded"
    assert second.headers["accept-encoding"] == "identity"
    assert second.headers["x-client-sku"] == "MSAL.Python"


async def test_a_refusal_reaches_msal() -> None:
    refusal = answer(401, {"error": "invalid_grant", "error_description": "AADSTS1"})
    async with serve(discovery(), refusal, tls=server_context()) as server:
        with pytest.raises(SignInRequiredError, match="AADSTS1"):
            await at(server.url).get_token(SCOPE)


@pytest.mark.parametrize(
    ("url", "params", "expected"),
    [
        ("https://a/b", None, "https://a/b"),
        ("https://a/b", {"c": "d e"}, "https://a/b?c=d+e"),
        ("https://a/b?x=1", {"c": "d"}, "https://a/b?x=1&c=d"),
    ],
)
def test_parameters_go_into_the_address(url: str, params: Any, expected: str) -> None:
    assert _with(url, params) == expected


def test_an_answer_is_what_msal_documents() -> None:
    Response(200, "{}", {}).raise_for_status()
    with pytest.raises(ServiceError, match="404"):
        Response(404, "canary", {}).raise_for_status()
    assert "canary" not in repr(Response(200, "canary", {}))
    assert _transport.Relay().close() is None  # type: ignore[func-returns-value]


async def test_a_transport_that_is_closed_sends_nothing() -> None:
    """As one is whose caller was cancelled by asyncio, while MSAL goes on in its thread."""
    transport = Transport(None, ServiceClock("Entra"))
    await transport.aclose()
    with pytest.raises(ServiceError, match="closed or cancelled while it was at work"):
        await anyio.to_thread.run_sync(transport.request, "GET", "https://contoso.example", {}, None)


@pytest.mark.promise("R38")
async def test_a_request_of_a_caller_that_was_cancelled_before_is_not_sent() -> None:
    """MSAL was still at work in its thread. The event loop turns in no circle then, and the caller is cancelled."""
    arrived, go_on = threading.Event(), threading.Event()

    def call(relay: Relay) -> Response:
        arrived.set()
        assert go_on.wait(40)
        return relay.get(server.url)

    async with serve(answer(200, {})) as server:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(MsalThread(Relay, httpx.AsyncClient).run, call)
                assert await anyio.to_thread.run_sync(arrived.wait, 40)
                scope.cancel()
                with anyio.CancelScope(shield=True):
                    await anyio.wait_all_tasks_blocked()
                    go_on.set()
        assert scope.cancelled_caught
        assert server.connections == 0
