"""The emulator, over real TLS: what it answers, what it refuses, how it misbehaves on order, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import logging
import os
import re
import socket
import struct
import sys
import time
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import jwt
import pytest
import requests
from anyio import from_thread, to_thread
from anyio.lowlevel import checkpoint
from anyio.streams.buffered import BufferedByteReceiveStream
from emulated import Clock, client_of

from anyio_acs_credential import AccessKeyAuth
from anyio_acs_credential.emulator import Emulator, RequestRecord, open_emulator
from anyio_acs_credential.emulator._faults import Fault

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable

VERSION = "api-version=2023-10-01"
CHAT = "/chat/threads?api-version=2024-03-07"


@asynccontextmanager
async def running(**settings: Any) -> AsyncGenerator[tuple[Emulator, httpx.AsyncClient]]:
    """An emulator, and a client that signs with its access key."""
    async with open_emulator(**settings) as emulator:
        auth = AccessKeyAuth(emulator.access_key, clock=settings.get("clock", time))
        async with client_of(emulator, auth=auth) as client:
            yield emulator, client


async def create(client: httpx.AsyncClient, *scopes: str) -> tuple[str, str]:
    """A new user's id, percent-encoded as in a path, and a token."""
    answer = await client.post(f"/identities?{VERSION}", json={"createTokenWithScopes": scopes or ["chat"]})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    return body["identity"]["id"].replace(":", "%3A"), body["accessToken"]["token"]


async def chat(client: httpx.AsyncClient, token: str, method: str = "GET") -> httpx.Response:
    headers = [(b"Authorization", f"Bearer {token}".encode("latin-1"))]
    return await client.request(method, CHAT, headers=headers, auth=unchanged)


def unchanged(request: httpx.Request) -> httpx.Request:
    """Instead of signing."""
    return request


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    body = answer.json()
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"]


# Identities and their tokens


async def test_a_user_lives_from_creation_to_deletion() -> None:
    """A user is created, given tokens that the chat service takes, revoked and deleted."""
    async with running() as (_, client):
        user, first = await create(client)
        assert (await chat(client, first)).json() == {"value": []}
        issued = await client.post(f"/identities/{user}/:issueAccessToken?{VERSION}", json={"scopes": ["chat"]})
        assert issued.status_code == 200
        second = issued.json()["token"]
        assert second != first
        assert (await client.post(f"/identities/{user}/:revokeAccessTokens?{VERSION}")).status_code == 204
        assert error(await chat(client, second)) == (401, "Unauthorized")
        assert (await client.delete(f"/identities/{user}?{VERSION}")).status_code == 204
        for operation in (":issueAccessToken", ":revokeAccessTokens"):
            url = f"/identities/{user}/{operation}?{VERSION}"
            assert error(await client.post(url, json={"scopes": ["chat"]})) == (404, "IdentityNotFound")
        assert error(await client.delete(f"/identities/{user}?{VERSION}")) == (404, "IdentityNotFound")


async def test_a_user_may_be_created_without_a_token() -> None:
    async with running() as (_, client):
        answer = await client.post(f"/identities?{VERSION}")
        assert answer.status_code == 201
        assert list(answer.json()) == ["identity"]
        assert re.fullmatch(r"8:acs:[0-9a-f-]{36}_[0-9a-f-]{36}", answer.json()["identity"]["id"])


async def test_a_token_has_the_claims_of_the_service() -> None:
    """The claims are those that the service's tokens have, and the expiry is written as .NET writes it."""
    clock = Clock(1_800_000_000.25)
    async with running(clock=clock) as (_, client):
        body = {"createTokenWithScopes": ["chat", "voip"], "expiresInMinutes": 60}
        answer = (await client.post(f"/identities?{VERSION}", json=body)).json()
    token = answer["accessToken"]["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert f"8:{claims['skypeid']}" == answer["identity"]["id"]
    assert claims["acsScope"] == "chat,voip"
    assert (claims["csi"], claims["iat"], claims["exp"]) == ("1800000000", 1_800_000_000, 1_800_003_600)
    assert claims["resourceId"] in claims["skypeid"]
    assert isinstance(claims["scp"], int)
    assert jwt.get_unverified_header(token).keys() == {"alg", "kid", "x5t", "typ"}
    expires_on = answer["accessToken"]["expiresOn"]
    assert expires_on.endswith(".2500000+00:00")
    assert datetime.fromisoformat(expires_on).timestamp() == 1_800_003_600.25


async def test_a_token_lives_a_day_unless_the_request_says_otherwise() -> None:
    async with running(clock=Clock(1_800_000_000)) as (_, client):
        _, token = await create(client)
    assert jwt.decode(token, options={"verify_signature": False})["exp"] == 1_800_086_400


async def test_token_lifetime_overrides_what_requests_ask() -> None:
    """With `token_lifetime`, tokens are shorter than the service would make them."""
    clock = Clock(1_800_000_000)
    async with running(clock=clock, token_lifetime=5) as (_, client):
        body = {"createTokenWithScopes": ["chat"], "expiresInMinutes": 1}
        token = (await client.post(f"/identities?{VERSION}", json=body)).json()["accessToken"]["token"]
        clock.now += 4.9
        assert (await chat(client, token)).status_code == 200
        clock.now += 0.1
        assert error(await chat(client, token)) == (401, "Unauthorized")


async def test_a_token_issued_in_the_second_of_a_revocation_is_good() -> None:
    """Revoking ends what was issued before and nothing else, though the clock has not moved."""
    async with running(clock=Clock(1_800_000_000)) as (_, client):
        user, before = await create(client)
        await client.post(f"/identities/{user}/:revokeAccessTokens?{VERSION}")
        issued = await client.post(f"/identities/{user}/:issueAccessToken?{VERSION}", json={"scopes": ["chat"]})
        assert (await chat(client, before)).status_code == 401
        assert (await chat(client, issued.json()["token"])).status_code == 200


WRONG_BODIES = (
    b"{",
    b"[" * 100_000,
    b"\xff",
    b"[]",
    b"{}",
    b'{"scopes": []}',
    b'{"scopes": "chat"}',
    b'{"scopes": ["fax"]}',
    b'{"scopes": [["chat"]]}',
    b'{"scopes": ["chat"], "expiresInMinutes": 59}',
    b'{"scopes": ["chat"], "expiresInMinutes": 1441}',
    b'{"scopes": ["chat"], "expiresInMinutes": 60.5}',
    b'{"scopes": ["chat"], "expiresInMinutes": true}',
)


async def test_a_wrong_body_is_a_bad_request() -> None:
    async with running() as (_, client):
        user, _token = await create(client)
        for body in WRONG_BODIES:
            answer = await client.post(f"/identities/{user}/:issueAccessToken?{VERSION}", content=body)
            assert error(answer) == (400, "InvalidRequest"), body[:60]


async def test_the_version_of_the_api_is_required() -> None:
    """Both services ask for one that they know."""
    wrong = {"": "MissingApiVersionParameter", "?api-version=1999-01-01": "UnsupportedApiVersionValue"}
    async with running() as (_, client):
        _, token = await create(client)
        for query, code in wrong.items():
            assert error(await client.post(f"/identities{query}")) == (400, code)
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.get(f"/chat/threads{query}", headers=headers, auth=unchanged)
            assert error(answer) == (400, code)


async def test_unknown_paths_and_methods_are_refused_in_the_services_form() -> None:
    async with running() as (_, client):
        assert error(await client.get("/nowhere")) == (404, "NotFound")
        assert error(await client.get(f"/identities?{VERSION}")) == (405, "MethodNotAllowed")


async def test_a_websocket_is_refused() -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    async with running() as (_, client):
        answer = await client.get("/chat/threads", headers={**headers, "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="})
        assert answer.status_code == 403


async def test_every_answer_has_an_id() -> None:
    async with running() as (_, client):
        answers = [await client.get("/nowhere") for _ in range(2)]
    assert len({answer.headers["x-ms-request-id"] for answer in answers}) == 2
    assert all(answer.headers["ms-cv"].endswith(".0") for answer in answers)


# Signatures


def _set(header: str, value: str) -> Callable[[httpx.Request], None]:
    return lambda request: request.headers.update({header: value})


def _drop(header: str) -> Callable[[httpx.Request], None]:
    def change(request: httpx.Request) -> None:
        del request.headers[header]

    return change


def _other_date(request: httpx.Request) -> None:
    request.headers["x-ms-date"] = formatdate(time.time() + 60, usegmt=True)


def _other_query(request: httpx.Request) -> None:
    request.url = request.url.copy_add_param("x", "1")


def _other_path(request: httpx.Request) -> None:
    request.url = request.url.copy_with(path="/identities/x/:revokeAccessTokens")


def _other_signature(request: httpx.Request) -> None:
    request.headers["authorization"] = request.headers["authorization"][:-4] + "AAA="


TAMPERING = {
    "no signature": _drop("authorization"),
    "no date": _drop("x-ms-date"),
    "no hash": _drop("x-ms-content-sha256"),
    "no real date": _set("x-ms-date", "yesterday"),
    "another date": _other_date,
    "another host": _set("host", "localhost"),
    "another hash": _set("x-ms-content-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    "another signature": _other_signature,
    "another query": _other_query,
    "another path": _other_path,
}


async def test_a_request_that_was_not_signed_as_it_arrived_is_denied() -> None:
    """The signature covers path, query, host, date and body, to the byte."""
    async with running() as (emulator, client):
        for name, change in TAMPERING.items():
            request = client.build_request("POST", f"/identities?{VERSION}", json={})
            signed = next(AccessKeyAuth(emulator.access_key).sync_auth_flow(request))
            change(signed)
            answer = await client.send(signed, auth=unchanged)
            assert error(answer) == (401, "Denied"), name
            assert answer.headers["www-authenticate"] == "HMAC-SHA256"


async def test_a_request_signed_for_another_method_is_denied() -> None:
    async with running() as (emulator, client):
        user, _token = await create(client)
        request = client.build_request("POST", f"/identities/{user}?{VERSION}")
        signed = next(AccessKeyAuth(emulator.access_key).sync_auth_flow(request))
        signed.method = "DELETE"
        assert error(await client.send(signed, auth=unchanged)) == (401, "Denied")


async def test_another_key_is_denied() -> None:
    async with running() as (emulator, client):
        other = AccessKeyAuth(base64.b64encode(b"x" * 64).decode())
        assert error(await client.post(f"/identities?{VERSION}", auth=other)) == (401, "Denied")
        async with open_emulator() as second:
            assert second.access_key != emulator.access_key


async def test_a_signature_is_good_for_five_minutes() -> None:
    """Older ones, and those from the future, are denied."""
    async with running(clock=Clock(1_800_000_000)) as (emulator, client):
        for age, status in ((-301, 401), (-299, 201), (299, 201), (301, 401)):
            auth = AccessKeyAuth(emulator.access_key, clock=Clock(1_800_000_000 - age))
            request = next(auth.auth_flow(client.build_request("POST", f"/identities?{VERSION}")))
            assert (await client.send(request, auth=None)).status_code == status  # the flow would sign anew


async def test_the_path_is_signed_as_it_is_sent() -> None:
    """Percent-encoding is not undone before the signature is checked."""
    async with running() as (_, client):
        user, _token = await create(client)
        for form in (user, user.replace("%3A", ":"), user.replace("%3A", "%3a")):
            url = f"/identities/{form}/:issueAccessToken?{VERSION}&x=%20+%7e"
            assert (await client.post(url, json={"scopes": ["chat"]})).status_code == 200


# Access tokens at the chat service


def _forged(token: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


def _altered(token: str) -> str:
    head, _, signature = token.split(".")
    payload = base64.urlsafe_b64encode(json.dumps({"exp": 9e9}).encode()).rstrip(b"=").decode()
    return f"{head}.{payload}.{signature}"


async def test_a_token_that_the_service_did_not_sign_is_refused() -> None:
    async with running() as (_, client):
        _, token = await create(client)
        for wrong in ("rubbish", "a.b.c", "\xff", _forged(token), _altered(token), token + "x"):
            answer = await chat(client, wrong)
            assert error(answer) == (401, "Unauthorized"), wrong
            assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


async def test_a_missing_token_and_another_scheme_are_refused() -> None:
    """Without a token, the challenge names the scheme and no error (RFC 6750, section 3.1)."""
    async with running() as (_, client):
        none = await client.get(CHAT, auth=unchanged)
        assert (error(none), none.headers["www-authenticate"]) == ((401, "Unauthorized"), "Bearer")
        assert error(await client.get(CHAT)) == (401, "Unauthorized")
        empty = await client.get(CHAT, headers={"Authorization": "Bearer"}, auth=unchanged)
        assert error(empty) == (401, "Unauthorized")


async def test_a_deleted_users_token_and_an_expired_one_are_refused() -> None:
    clock = Clock(1_800_000_000)
    async with running(clock=clock) as (_, client):
        user, token = await create(client)
        await client.delete(f"/identities/{user}?{VERSION}")
        assert "does not exist" in (await chat(client, token)).text
        _, token = await create(client)
        clock.now += 86400
        assert "has expired" in (await chat(client, token)).text


async def test_another_emulators_token_is_refused() -> None:
    async with running() as (_, client), running() as (_, other):
        _, token = await create(other)
        assert error(await chat(client, token)) == (401, "Unauthorized")


async def test_a_token_needs_the_scope() -> None:
    """Threads are created with `chat`, seen with any of the chat scopes, and hidden from the others."""
    async with running() as (_, client):
        for scope, listed, created in (("chat", 200, 201), ("chat.join", 200, 403), ("voip", 403, 403)):
            _, token = await create(client, scope)
            assert (await chat(client, token)).status_code == listed
            answer = await chat(client, token, "POST")
            assert answer.status_code == created
        assert error(answer) == (403, "Forbidden")
        assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="chat"'


async def test_a_thread_names_its_creator() -> None:
    async with running() as (_, client):
        user, token = await create(client)
        thread = (await chat(client, token, "POST")).json()["chatThread"]
        assert thread["createdByCommunicationIdentifier"]["rawId"] == user.replace("%3A", ":")


# Faults


async def test_a_failure_is_answered_a_number_of_times() -> None:
    """The requests that fit fail, others do not, and what failed did nothing."""
    async with running() as (emulator, client):
        emulator.fail("POST /identities$", status=429, retry_after=7, times=2)
        for _ in range(2):
            answer = await client.post(f"/identities?{VERSION}")
            assert (error(answer), answer.headers["retry-after"]) == ((429, "TooManyRequests"), "7")
            assert (await client.get("/nowhere")).status_code == 404
        assert (await client.post(f"/identities?{VERSION}")).status_code == 201
        emulator.fail("GET /chat/threads", status=599)
        answer = await client.get("/chat/threads")
        assert error(answer) == (599, "Error")
        assert "retry-after" not in answer.headers


async def test_a_failure_lasts_for_a_span_of_time() -> None:
    clock = Clock(1_800_000_000)
    async with running(clock=clock) as (emulator, client):
        emulator.fail("identities", seconds=30)
        clock.now += 29.9
        assert (await client.post(f"/identities?{VERSION}")).status_code == 503
        clock.now += 0.1
        assert (await client.post(f"/identities?{VERSION}")).status_code == 201


async def test_the_newest_fault_counts_until_all_are_healed() -> None:
    async with running() as (emulator, client):
        emulator.fail("GET /chat/threads", status=500)
        emulator.fail("GET /chat/threads", status=502, times=1)
        assert [(await client.get("/chat/threads")).status_code for _ in range(3)] == [502, 500, 500]
        emulator.heal()
        assert (await client.get("/chat/threads")).status_code == 401


async def test_an_answer_is_late() -> None:
    async with running() as (emulator, client):
        emulator.delay("GET /chat/threads", 0.1, times=1)
        began = anyio.current_time()
        assert (await client.get("/chat/threads")).status_code == 401
        assert anyio.current_time() - began >= 0.1


async def test_a_hanging_request_waits_until_its_client_gives_up() -> None:
    """There is no answer, the connection stays, and the next request is answered."""
    async with running() as (emulator, client):
        await client.get("/chat/threads")
        emulator.hang("GET /chat/threads", times=1)
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/chat/threads", timeout=0.5)
        assert (await client.get("/chat/threads")).status_code == 401
        assert [record.status for record in emulator.requests] == [401, None, 401]


async def test_a_connection_is_cut_without_an_answer() -> None:
    async with running() as (emulator, client):
        emulator.reset("GET /chat/threads", times=1)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/chat/threads")
        assert (await client.get("/chat/threads")).status_code == 401
        assert [record.status for record in emulator.requests] == [None, 401]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"target": "("}, "re.escape"),
        ({"status": 200}, "400 to 599"),
        ({"times": 0}, "1 or more"),
        ({"seconds": -1}, "not negative"),
        ({"delay": float("nan")}, "finite"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Fault(**{"target": "", "action": "fail", **wrong})


async def test_requests_are_recorded() -> None:
    """Each record has the method, the decoded path without its query, the status and the emulator's time."""
    async with running(clock=Clock(1_800_000_000)) as (emulator, client):
        await client.delete(f"/identities/8%3Aacs%3Ax?{VERSION}")
        assert emulator.requests == (RequestRecord("DELETE", "/identities/8:acs:x", 404, 1_800_000_000),)


# Its life


async def test_it_leaves_nothing_behind() -> None:
    """When the block has ended, no task, no file and no listener is left."""
    before = len(anyio.get_running_tasks())
    async with open_emulator() as emulator:
        assert (await anyio.Path(emulator.ca_file).read_text()).startswith("-----BEGIN CERTIFICATE-----")
        port = httpx.URL(emulator.endpoint).port
        assert port
    assert len(anyio.get_running_tasks()) == before
    assert not Path(emulator.ca_file).parent.exists()
    with pytest.raises(OSError, match=r"."):
        await anyio.connect_tcp("127.0.0.1", port)


async def test_it_says_where_it_is_and_hides_its_key() -> None:
    async with open_emulator() as emulator:
        assert emulator.connection_string == f"endpoint={emulator.endpoint}/;accesskey={emulator.access_key}"
        assert emulator.authority.startswith(f"{emulator.endpoint}/")
        assert len(emulator.client_id) == 36
        assert repr(emulator) == f"<Emulator at {emulator.endpoint}>"
        assert emulator.access_key not in repr(vars(emulator))


async def test_leaving_does_not_wait_for_requests_or_idle_clients() -> None:
    """A request that hangs is cut, and a client that reads no more is not waited for."""
    clock = Clock(1_800_000_000)
    caught: list[Exception] = []

    async def ask(client: httpx.AsyncClient) -> None:
        try:
            await client.get("/chat/threads", timeout=None)
        except httpx.TransportError as gone:
            caught.append(gone)

    async with anyio.create_task_group() as group:
        async with open_emulator(clock=clock) as emulator:
            idle = httpx.AsyncClient(base_url=emulator.endpoint, verify=emulator.ssl_context)
            hanging = httpx.AsyncClient(base_url=emulator.endpoint, verify=emulator.ssl_context)
            await idle.get("/chat/threads")
            emulator.hang("GET /chat/threads")
            clock.asked = anyio.Event()
            group.start_soon(ask, hanging)
            await clock.asked.wait()
            began = anyio.current_time()
        assert anyio.current_time() - began < 2
    assert len(caught) == 1
    await idle.aclose()
    await hanging.aclose()


async def test_what_the_block_raises_comes_out_as_the_same_object() -> None:
    for raised in (ValueError(), ExceptionGroup("mine", [ValueError()]), StopAsyncIteration(), KeyboardInterrupt()):
        with pytest.raises(type(raised)) as caught:
            async with open_emulator():
                raise raised
        assert caught.value is raised


async def test_a_cancelled_block_is_served_while_it_cleans_up() -> None:
    """Cancelling ends the block at once; what it shields can still talk to the emulator."""
    status = 0
    with anyio.CancelScope() as scope:
        async with running() as (_, client):
            scope.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    status = (await client.get("/nowhere")).status_code
    assert scope.cancelled_caught
    assert status == 404


async def test_it_may_be_cancelled_while_it_starts() -> None:
    """Wherever the cancellation falls, entering ends and nothing is left."""
    before = len(anyio.get_running_tasks())

    async def open_and_wait(scope: anyio.CancelScope) -> None:
        with scope:
            async with open_emulator():
                await anyio.sleep_forever()

    for turns in range(12):
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()
            group.start_soon(open_and_wait, scope)
            for _ in range(turns):
                await checkpoint()
            scope.cancel()
    assert len(anyio.get_running_tasks()) == before


async def test_leaving_does_not_wait_for_a_client_that_does_not_say_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle connection is closed without waiting for the client's part of TLS's closing handshake."""
    monkeypatch.setattr("anyio_acs_credential.emulator._server._Config.keep_alive_timeout", 0.01)

    def connect(emulator: Emulator) -> ssl.SSLSocket:
        connection = socket.create_connection(("127.0.0.1", httpx.URL(emulator.endpoint).port), timeout=40)
        encrypted = emulator.ssl_context.wrap_socket(connection, server_hostname="127.0.0.1")
        assert encrypted.recv(1) == b""
        return encrypted

    with anyio.fail_after(30):
        async with open_emulator() as emulator:
            encrypted = await to_thread.run_sync(connect, emulator)
    encrypted.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncios_own_cancellation_ends_it() -> None:
    opened = asyncio.Event()

    async def hold() -> None:
        async with open_emulator():
            opened.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_failure_of_the_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server dies, the block is cancelled and an error says so."""

    async def die(*_: Any, task_status: Any, **__: Any) -> None:
        task_status.started()
        await checkpoint()
        raise ValueError("boom")

    monkeypatch.setattr("anyio_acs_credential.emulator._server.serve", die)
    with pytest.raises(RuntimeError, match="report it"):
        async with open_emulator():
            await anyio.sleep_forever()


async def test_it_runs_off_the_main_thread(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """No signal handler is needed, so any thread with an event loop will do."""

    async def visit() -> int:
        async with running() as (_, client):
            return (await client.get("/nowhere")).status_code

    name, options = anyio_backend
    run = partial(anyio.run, visit, backend=name, backend_options=options)
    assert await to_thread.run_sync(run) == 404


async def test_a_port_may_be_chosen_and_must_be_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} .* 0 for a free one"):
            async with open_emulator(port=port):
                raise AssertionError("opened")
    async with running(port=port) as (emulator, client):
        assert emulator.endpoint.endswith(f":{port}")
        assert (await client.get("/nowhere")).status_code == 404


WRONG_SETTINGS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"port": "443"}, TypeError, "port is a whole number"),
    ({"port": 65536}, ValueError, "from 0"),
    ({"token_lifetime": "60"}, TypeError, "seconds or None"),
    ({"token_lifetime": True}, TypeError, "seconds or None"),
    ({"token_lifetime": 0.5}, ValueError, "1 second or more"),
    ({"token_lifetime": float("nan")}, ValueError, "finite"),
    ({"clock": time.time}, TypeError, "the time module"),
]


async def test_a_wrong_setting_is_refused() -> None:
    """The error says what would be right."""
    for settings, wrong, says in WRONG_SETTINGS:
        with pytest.raises(wrong, match=says):
            async with open_emulator(**settings):
                raise AssertionError("opened")


# Rude clients


def _speak_plain_http(emulator: Emulator) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(emulator.endpoint).port), timeout=40) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(1000) == b""


def _knock(emulator: Emulator) -> None:
    socket.create_connection(("127.0.0.1", httpx.URL(emulator.endpoint).port), timeout=40).close()


def _knock_and_reset(emulator: Emulator) -> None:
    connection = socket.create_connection(("127.0.0.1", httpx.URL(emulator.endpoint).port), timeout=40)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _distrust(emulator: Emulator) -> None:
    with pytest.raises(httpx.ConnectError):
        httpx.get(emulator.endpoint, trust_env=False)


def _break_encryption(emulator: Emulator) -> None:
    connection = socket.create_connection(("127.0.0.1", httpx.URL(emulator.endpoint).port), timeout=40)
    with emulator.ssl_context.wrap_socket(connection, server_hostname="127.0.0.1") as encrypted:
        with socket.socket(fileno=os.dup(encrypted.fileno())) as raw:
            raw.sendall(b"this is no TLS record")
        with pytest.raises(OSError, match=r"."):
            encrypted.recv(1000)


async def test_a_rude_client_disturbs_nobody(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Broken TLS ends its own connection, silently; the server goes on."""
    async with running() as (emulator, client):
        for visit in (_speak_plain_http, _knock, _knock_and_reset, _distrust, _break_encryption):
            await to_thread.run_sync(visit, emulator)
            assert (await client.get("/nowhere")).status_code == 404
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


# The official client, and the packages it needs


async def test_the_official_client_works_unchanged() -> None:
    """azure-communication-identity creates, gives tokens, revokes and deletes."""
    identity = pytest.importorskip("azure.communication.identity")

    def use(emulator: Emulator) -> str:
        make = identity.CommunicationIdentityClient.from_connection_string
        official = make(emulator.connection_string, connection_verify=emulator.ca_file)
        with official._identity_service_client:
            user = official.create_user()
            assert official.get_token(user, scopes=["voip"]).token
            official.revoke_tokens(user)
            other, token = official.create_user_and_token(scopes=["chat"])
            assert from_thread.run(check, token.token) == 200
            official.revoke_tokens(other)
            assert from_thread.run(check, token.token) == 401
            official.delete_user(user)
            return str(token.expires_on)

    async with running() as (emulator, client):

        async def check(token: str) -> int:
            return (await chat(client, token)).status_code

        expires_on = await to_thread.run_sync(use, emulator)
        assert datetime.fromisoformat(expires_on).timestamp() > time.time()


@pytest.mark.once
async def test_clients_that_leave_at_once_disturb_nobody() -> None:
    """A client that closes the connection with the answer's last byte, as requests does, ends no other's."""
    async with open_emulator() as emulator:

        def visit() -> None:
            with requests.Session() as session:
                session.trust_env = False
                for _ in range(50):
                    url = f"{emulator.endpoint}/chat/threads"
                    session.get(url, headers={"Connection": "close"}, verify=emulator.ca_file, timeout=40)

        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(to_thread.run_sync, visit)
        assert len(emulator.requests) == 100


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("anyio_acs_credential.emulator")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "anycorn", None)
    with pytest.raises(ImportError, match=r'needs anycorn.*pip install "anyio-acs-credential\[emulator\]"'):
        __import__("anyio_acs_credential.emulator")


def test_public_names_are_the_packages() -> None:
    for public in (Emulator, RequestRecord, open_emulator):
        assert public.__module__ == "anyio_acs_credential.emulator"
    assert not hasattr(sys.modules["anyio_acs_credential.emulator"], "Fault")


def test_only_open_emulator_makes_one() -> None:
    """So no signature shows what an emulator is made of."""
    assert not inspect.signature(Emulator).parameters
    with pytest.raises(TypeError, match=r"write async with open_emulator\(\) as emulator"):
        Emulator()


async def test_a_request_that_is_refused_at_once_is_read_all_the_same() -> None:
    """So the connection is there for the next one, which the client sends on it."""
    async with open_emulator() as emulator:
        url = httpx.URL(emulator.endpoint)
        one_way = anyio.connect_tcp(
            url.host,
            url.port or 443,
            ssl_context=emulator.ssl_context,
            tls_standard_compatible=False,  # it does not wait until the emulator says goodbye as well
        )
        async with await one_way as stream:
            head = f"POST /identities?api-version=2023-10-01 HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 2\r\n\r\n"
            received = BufferedByteReceiveStream(stream)
            for _ in range(2):
                await stream.send(head.encode())
                await anyio.wait_all_tasks_blocked()
                await stream.send(b"{}")
                with anyio.fail_after(40):
                    answer = await received.receive_until(b"\r\n\r\n", 9999)
                    length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
                    assert answer.startswith(b"HTTP/1.1 401 ")
                    assert length
                    await received.receive_exactly(int(length[1]))
