"""The credential in Azure's own clients, over real TLS on loopback."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import ssl
import sys
import threading
from base64 import urlsafe_b64encode
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx
import pytest
import trustme
from acs_users import a_user
from azure.core import AsyncPipelineClient
from azure.core.credentials import AccessToken as AzureAccessToken
from azure.core.credentials import AccessTokenInfo as AzureAccessTokenInfo
from azure.core.credentials import SupportsTokenInfo, TokenCredential
from azure.core.credentials_async import AsyncSupportsTokenInfo, AsyncTokenCredential
from azure.core.pipeline import PipelineContext, PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    AsyncHTTPPolicy,
    AsyncRedirectPolicy,
    AsyncRetryPolicy,
    SensitiveHeaderCleanupPolicy,
)
from azure.core.pipeline.transport import HttpRequest as LegacyRequest
from azure.core.rest import AsyncHttpResponse, HttpRequest
from servers import answer, head, serve
from test_thread_waiting import Asking, until, waiting

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosedError,
    CredentialNotEnteredError,
    CredentialUsageError,
    TokenRefreshError,
)
from anyio_acs_credential._loops.home import Home
from anyio_acs_credential._tokens.token_source import TokenSource
from anyio_acs_credential.azure import RejectedTokenPolicy, as_sync_token_credential, as_token_credential
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.testing import ScriptedSource, make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from anyio.abc import ByteStream
    from servers import Behaviour, Server

THREADS = "/chat/threads?api-version=2024-03-07"
CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'
CHALLENGE = {
    "WWW-Authenticate": f'Bearer realm="", error="insufficient_claims", '
    f'claims="{urlsafe_b64encode(CLAIMS.encode()).decode().rstrip("=")}"'
}
JSON = {"Content-Type": "application/json"}
LATER = 4_102_444_800
POSITIONS = ["before the token", "behind the token", "before all"]
REQUESTS = [pytest.param(HttpRequest, id="rest"), pytest.param(LegacyRequest, id="legacy")]


@pytest.fixture(params=[("asyncio", {}), ("trio", {})], ids=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def transport(anyio_backend_name: str) -> Any:
    """azure-core's transport for the event loop, which is told at each request whom to trust."""
    if anyio_backend_name == "trio":
        from azure.core.pipeline.transport import TrioRequestsTransport

        return TrioRequestsTransport
    from azure.core.pipeline.transport import AioHttpTransport

    return AioHttpTransport


def a_client(
    service: Emulator | SimpleNamespace,
    credential: CommunicationTokenCredential,
    transport: Any,
    position: str = POSITIONS[0],
) -> AsyncPipelineClient[HttpRequest, AsyncHttpResponse]:
    """A client of azure-core with the policies that generated ones have, and ours at one of the places that it may."""
    bearer = AsyncBearerTokenCredentialPolicy[HttpRequest, AsyncHttpResponse](as_token_credential(credential), "scope")
    redirect = AsyncRedirectPolicy[HttpRequest, AsyncHttpResponse]()
    retry = AsyncRetryPolicy[HttpRequest, AsyncHttpResponse]()
    ours = RejectedTokenPolicy(credential)
    place = {POSITIONS[0]: 2, POSITIONS[1]: 3, POSITIONS[2]: 0}[position]
    policies: list[Any] = [redirect, retry, bearer, SensitiveHeaderCleanupPolicy()]
    policies.insert(place, ours)
    return AsyncPipelineClient(
        service.endpoint, policies=policies, transport=transport(connection_verify=service.ca_file)
    )


def a_chat_client(emulator: Emulator, credential: CommunicationTokenCredential, transport: Any) -> Any:
    chat = pytest.importorskip("azure.communication.chat.aio")
    return chat.ChatClient(
        emulator.endpoint,
        as_token_credential(credential),
        per_retry_policies=[RejectedTokenPolicy(credential)],
        transport=transport(connection_verify=emulator.ca_file),
    )


def count(emulator: Emulator, part: str) -> int:
    return sum(part in record.path for record in emulator.requests)


# Azure's own clients


async def test_the_chat_client_sends_the_newest_token(transport: Any) -> None:
    """A token that is replaced here is never sent again, though the old one had been valid for long.

    It answers openai/openai-python#350.
    """
    async with (
        a_user() as (emulator, credential, identity, user),
        a_chat_client(emulator, credential, transport) as chat,
    ):
        assert (await chat.create_chat_thread("Lunch")).chat_thread.topic == "Lunch"
        await identity.revoke_tokens(user)
        await credential.refresh()
        assert (await chat.create_chat_thread("Dinner")).chat_thread.topic == "Dinner"
        assert [record.status for record in emulator.requests if "/chat/" in record.path] == [201, 201]


@pytest.mark.promise("R50")
async def test_a_revocation_costs_the_chat_client_no_call(transport: Any) -> None:
    """After a 401 one new token is fetched for all, and every call succeeds with it."""
    async with (
        a_user() as (emulator, credential, identity, user),
        a_chat_client(emulator, credential, transport) as chat,
    ):
        await identity.revoke_tokens(user)
        topics: list[str] = []

        async def create(topic: str) -> None:
            topics.append((await chat.create_chat_thread(topic)).chat_thread.topic)

        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(create, str(number))
        assert sorted(topics) == ["0", "1", "2", "3", "4"]
        assert count(emulator, "issueAccessToken") == 2


async def test_the_chat_client_pages_through_a_revocation(transport: Any) -> None:
    """What the client sends as it is iterated over passes the policy as well."""
    async with (
        a_user() as (emulator, credential, identity, user),
        a_chat_client(emulator, credential, transport) as chat,
    ):
        await identity.revoke_tokens(user)
        assert [thread async for thread in chat.list_chat_threads()] == []
        assert count(emulator, "/chat/") == 2


async def test_the_chat_client_meets_a_claims_challenge(transport: Any) -> None:
    """The claims reach the Entra token credential, and the token that meets them is sent: one more try, not two."""
    asked: list[str | None] = []

    class Entra:
        async def get_token(self, *scopes: str, claims: str | None = None) -> AccessToken:
            asked.append(claims)
            return AccessToken.from_jwt(emulator.issue_entra_token(*scopes))

    async with open_emulator() as emulator, httpx.AsyncClient(verify=emulator.ssl_context) as http:
        credential = CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint, token_credential=Entra(), http_client=http
        )
        async with credential, a_chat_client(emulator, credential, transport) as chat:
            await credential.get_token()
            emulator.answer("/chat/", status=401, headers=CHALLENGE, times=1)
            assert (await chat.create_chat_thread("Lunch")).chat_thread.topic == "Lunch"
        assert [record.status for record in emulator.requests if "/chat/" in record.path] == [401, 201]
    assert [claims and json.loads(claims) for claims in asked] == [None, json.loads(CLAIMS)]


async def test_the_call_automation_client(transport: Any) -> None:
    """It takes what `as_token_credential` gives, and its calls outlive a token that is turned down."""
    automation = pytest.importorskip("azure.communication.callautomation.aio")
    async with a_user() as (emulator, credential, _, _):
        client = automation.CallAutomationClient(
            emulator.endpoint,
            as_token_credential(credential),
            per_retry_policies=[RejectedTokenPolicy(credential)],
            transport=transport(connection_verify=emulator.ca_file),
        )
        emulator.answer("GET /calling/callConnections/1$", body='{"callConnectionId": "1"}', headers=JSON)
        emulator.fail("/calling/", status=401, times=1)
        async with client:
            assert (await client.get_call_connection("1").get_call_properties()).call_connection_id == "1"
        assert [record.status for record in emulator.requests if "/calling/" in record.path] == [401, 200]
        assert count(emulator, "issueAccessToken") == 2


# The policy


@pytest.mark.parametrize("request_class", REQUESTS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_401_is_tried_once_more(*, transport: Any, request_class: Any, position: str, stream: bool) -> None:
    """Wherever the policy stands, for both kinds of azure-core's requests, with an answer that is streamed or not."""
    async with (
        a_user() as (emulator, credential, identity, user),
        a_client(emulator, credential, transport, position) as client,
    ):
        await identity.revoke_tokens(user)
        request = request_class("POST", emulator.endpoint + THREADS, headers=JSON, data=b'{"topic": "Lunch"}')
        result = await client._pipeline.run(request, stream=stream)
        reply: Any = result.http_response
        assert reply.status_code == 201
        content = b"".join([part async for part in reply.stream_download(client._pipeline)]) if stream else reply.body()
        assert json.loads(content)["chatThread"]["topic"] == "Lunch"
        assert count(emulator, "issueAccessToken") == 2
        assert count(emulator, "/chat/") == 2


@pytest.mark.parametrize("position", POSITIONS[:2])
async def test_a_claims_challenge_is_left_to_azure_core(transport: Any, position: str) -> None:
    """Its own policy meets it, with one new token; where that does not help, the 401 is the answer."""
    async with (
        a_user() as (emulator, credential, _, _),
        a_client(emulator, credential, transport, position) as client,
    ):
        emulator.answer("/chat/", status=401, headers=CHALLENGE)
        reply = await client.send_request(HttpRequest("GET", emulator.endpoint + THREADS))
        assert reply.status_code == 401
        assert count(emulator, "/chat/") == 2
        assert count(emulator, "issueAccessToken") == 2


@pytest.mark.parametrize("position", POSITIONS)
async def test_a_service_that_refuses_every_token_gets_two_requests(transport: Any, position: str) -> None:
    """The second 401 is the answer: a request is sent once more and not again."""
    async with (
        a_user() as (emulator, credential, _, _),
        a_client(emulator, credential, transport, position) as client,
    ):
        emulator.fail("/chat/", status=401)
        reply = await client.send_request(HttpRequest("GET", emulator.endpoint + THREADS))
        assert reply.status_code == 401
        assert count(emulator, "/chat/") == 2


@pytest.mark.promise("R51")
async def test_a_403_never_invalidates(transport: Any) -> None:
    """What is forbidden stays forbidden with another token: nothing is fetched."""
    async with a_user() as (emulator, credential, _, _), a_client(emulator, credential, transport) as client:
        emulator.fail("/chat/", status=403)
        assert (await client.send_request(HttpRequest("GET", emulator.endpoint + THREADS))).status_code == 403
        assert count(emulator, "issueAccessToken") == 1
        assert count(emulator, "/chat/") == 1


@asynccontextmanager
async def a_server(tmp_path: Path, *script: Behaviour) -> AsyncGenerator[tuple[Server, SimpleNamespace]]:
    """A server that plays a script, and where a client finds it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serve(*script, tls=context) as server:
        yield server, SimpleNamespace(endpoint=server.url, ca_file=str(tmp_path / "ca.pem"))


async def unfinished_401(_server: Server, stream: ByteStream) -> None:
    """Keep the rest of the answer, and the connection."""
    await stream.send(head(401, ("Content-Length", "100")) + b"x")


async def connections_fall_to(number: int, server: Server) -> None:
    with anyio.fail_after(40):
        while server.open > number:  # noqa: ASYNC110 - there is no event for it
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("request_class", REQUESTS)
async def test_an_answer_that_is_replaced_is_closed(transport: Any, request_class: Any, tmp_path: Path) -> None:
    """A streamed 401 that nobody is going to read keeps no connection."""
    source = ScriptedSource(3600)
    async with (
        a_server(tmp_path, unfinished_401, answer(200)) as (server, service),
        CommunicationTokenCredential(token_refresher=source) as credential,
        a_client(service, credential, transport) as client,
    ):
        result = await client._pipeline.run(request_class("GET", server.url), stream=True)
        reply: Any = result.http_response
        assert (reply.status_code, [part async for part in reply.stream_download(client._pipeline)]) == (200, [])
        assert server.connections == 2
        await connections_fall_to(1, server)


@pytest.mark.parametrize("request_class", REQUESTS)
async def test_a_cancelled_request_keeps_no_connection(transport: Any, request_class: Any, tmp_path: Path) -> None:
    """Cancelled while the next token is fetched, it closes its answer; the fetch goes on."""
    asked, answered = anyio.Event(), anyio.Event()

    async def slow() -> str:
        asked.set()
        await answered.wait()
        return make_jwt(newer=True)

    async with (
        a_server(tmp_path, unfinished_401) as (server, service),
        CommunicationTokenCredential(token_refresher=ScriptedSource(3600, slow)) as credential,
        a_client(service, credential, transport) as client,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(partial(client._pipeline.run, request_class("GET", server.url), stream=True))
            await asked.wait()
            assert server.open == 1
            group.cancel_scope.cancel()
        await connections_fall_to(0, server)
        answered.set()
        assert (await credential.refresh()).claims["newer"]


class ByHttpx(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Sends requests with httpx, and gives its answers in a form of a program's own."""

    def __init__(self, client: httpx.AsyncClient, form: Callable[[httpx.Response], object]) -> None:
        super().__init__()
        self._client, self._form = client, form

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        url, headers = request.http_request.url, dict(request.http_request.headers)
        answer = await self._client.send(self._client.build_request("GET", url, headers=headers), stream=True)
        form: Any = self._form(answer)
        return PipelineResponse(request.http_request, form, request.context)


def of_the_protocol(answer: httpx.Response) -> object:
    """What `azure.core.rest.AsyncHttpResponse` asks for, and nothing that azure-core's own answers have beside it."""
    return SimpleNamespace(status_code=answer.status_code, headers=answer.headers, close=answer.aclose)


def of_the_older_kind(answer: httpx.Response) -> object:
    return SimpleNamespace(status_code=answer.status_code, headers=answer.headers, internal_response=answer)


FORMS = pytest.mark.parametrize("form", [of_the_protocol, of_the_older_kind])


@asynccontextmanager
async def by_httpx(
    credential: CommunicationTokenCredential, form: Callable[[httpx.Response], object]
) -> AsyncGenerator[Callable[[str], Coroutine[Any, Any, Any]]]:
    async with httpx.AsyncClient() as client:
        policy = RejectedTokenPolicy(credential)
        policy.next = ByHttpx(client, form)

        async def get(url: str) -> Any:
            headers = {"Authorization": f"Bearer {(await credential.get_token()).token}"}
            sent = await policy.send(PipelineRequest(HttpRequest("GET", url, headers=headers), PipelineContext(None)))
            return sent.http_response

        yield get


@FORMS
async def test_an_answer_that_is_not_azure_cores_is_closed(form: Callable[[httpx.Response], object]) -> None:
    """A transport of a program's own gives what it likes: its answers are closed by what they have."""
    async with (
        serve(unfinished_401, answer(200)) as server,
        CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as credential,
        by_httpx(credential, form) as get,
    ):
        assert (await get(server.url)).status_code == 200
        assert server.connections == 2
        await connections_fall_to(1, server)


@FORMS
async def test_a_cancellation_closes_any_answer_and_stays_one(form: Callable[[httpx.Response], object]) -> None:
    """No error of the closing takes its place."""
    source = ScriptedSource(3600, anyio.sleep_forever)
    async with (
        serve(unfinished_401) as server,
        CommunicationTokenCredential(token_refresher=source) as credential,
        by_httpx(credential, form) as get,
    ):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(get, server.url)
                with anyio.fail_after(40):
                    while source.calls < 2:  # noqa: ASYNC110 - there is no event for it
                        await anyio.lowlevel.checkpoint()
                scope.cancel()
        assert scope.cancelled_caught
        await connections_fall_to(0, server)


def refuse() -> None:
    raise OSError("already gone")


@pytest.mark.parametrize("has", [{}, {"close": refuse}, {"internal_response": BytesIO()}])
async def test_an_answer_that_cannot_be_closed_costs_nothing(has: dict[str, object]) -> None:
    """The request is sent again all the same."""
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as credential:
        held = await credential.get_token()
        policy, service = RejectedTokenPolicy(credential), Refusing(has)
        policy.next = service
        headers = {"Authorization": f"Bearer {held.token}"}
        await policy.send(PipelineRequest(HttpRequest("GET", "https://x", headers=headers), PipelineContext(None)))
        assert service.sent == [f"Bearer {held.token}", f"Bearer {credential.get_token_nowait().token}"]


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"data": {"topic": "lunch", "guests": ["a", "b"]}}, b"topic=lunch&guests=a&guests=b"),
        ({"content": "lunch"}, b"lunch"),
        ({"json": [1]}, b"[1]"),
    ],
)
async def test_what_lasts_is_sent_again(transport: Any, body: Any, sent: bytes, tmp_path: Path) -> None:
    """A form is as whole after the first request as before it."""
    async with (
        a_server(tmp_path, answer(401), answer(200)) as (server, service),
        CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as credential,
        a_client(service, credential, transport) as client,
    ):
        assert (await client.send_request(HttpRequest("POST", server.url, **body))).status_code == 200
        assert [request.body for request in server.requests] == [sent, sent]


@pytest.mark.parametrize("kind", ["files", "form"])
async def test_parts_that_last_are_sent_again(transport: Any, kind: str, tmp_path: Path) -> None:
    """So are the files of a form whose content is at hand, and the older request's form, which azure-core has there."""
    async with (
        a_server(tmp_path, answer(401), answer(200)) as (server, service),
        CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as credential,
        a_client(service, credential, transport) as client,
    ):
        request: Any = HttpRequest("POST", server.url, files={"topic": ("a.txt", b"lunch", "text/plain")})
        if kind == "form":
            request = LegacyRequest("POST", server.url)
            request.set_formdata_body({"topic": "lunch"})
        assert (await client._pipeline.run(request)).http_response.status_code == 200
        assert [b"lunch" in request.body for request in server.requests] == [True, True]


@pytest.mark.parametrize("body", ["stream", "file", "files"])
async def test_what_is_used_up_is_not_sent_again(transport: Any, body: str, tmp_path: Path) -> None:
    """A stream, or a body with open files in it, cannot be repeated: the 401 is the answer, the token is reported."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"lunch"

    bodies: dict[str, Any] = {
        "stream": {"content": parts()},
        "file": {"content": BytesIO(b"lunch")},
        "files": {"files": {"topic": BytesIO(b"lunch")}},
    }
    source = ScriptedSource(3600)
    async with (
        a_server(tmp_path, answer(401)) as (server, service),
        CommunicationTokenCredential(token_refresher=source) as credential,
        a_client(service, credential, transport) as client,
    ):
        assert (await client.send_request(HttpRequest("POST", server.url, **bodies[body]))).status_code == 401
        assert [b"lunch" in request.body for request in server.requests] == [True]
        newer = credential.get_token_nowait()
        assert (await client.send_request(HttpRequest("GET", server.url))).status_code == 401
        assert server.requests[1].headers["authorization"] == f"Bearer {newer.token}"
    assert source.calls == 2


@pytest.mark.parametrize("body", [{"topic": BytesIO(b"lunch")}, {"topic": ["lunch", BytesIO(b"lunch")]}, [iter(())]])
async def test_a_form_with_a_file_in_it_is_not_sent_again(body: Any) -> None:
    """azure-core's older request takes one."""
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as credential:
        held = await credential.get_token()
        policy, service = RejectedTokenPolicy(credential), Refusing()
        policy.next = service
        headers = {"Authorization": f"Bearer {held.token}"}
        request: Any = LegacyRequest("POST", "https://contoso.example/", headers=headers, data=body)
        await policy.send(PipelineRequest(request, PipelineContext(None)))
        assert service.sent == [f"Bearer {held.token}"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_401_stays_where_refreshing_fails(*, transport: Any, stream: bool) -> None:
    """The service's answer is what the program gets, to read as well, and the held token stays."""
    async with (
        a_user() as (emulator, credential, identity, user),
        a_client(emulator, credential, transport) as client,
    ):
        held = await credential.get_token()
        await identity.revoke_tokens(user)
        emulator.fail("issueAccessToken", status=403)
        reply = await client.send_request(HttpRequest("GET", emulator.endpoint + THREADS), stream=stream)
        assert reply.status_code == 401
        assert "error" in json.loads(await reply.read())
        assert await credential.get_token() is held


async def test_a_static_credential_is_left_with_its_401(transport: Any) -> None:
    """There is no other token to try with."""
    async with open_emulator() as emulator:
        credential = CommunicationTokenCredential(make_jwt())
        async with a_client(emulator, credential, transport) as client:
            assert (await client.send_request(HttpRequest("GET", emulator.endpoint + THREADS))).status_code == 401
        assert count(emulator, "/chat/") == 1


@pytest.mark.parametrize("cleaned", [True, False])
async def test_another_hosts_401_says_nothing_about_the_token(*, transport: Any, cleaned: bool) -> None:
    """After a redirect to another host its 401 is the answer, also if a careless pipeline sent it the token."""
    async with a_user() as (emulator, credential, _, _), open_emulator() as elsewhere:
        emulator.answer("/chat/", status=307, headers={"Location": elsewhere.endpoint + THREADS})
        bearer = AsyncBearerTokenCredentialPolicy[HttpRequest, AsyncHttpResponse](as_token_credential(credential))
        policies: list[Any] = [
            AsyncRedirectPolicy(),
            RejectedTokenPolicy(credential),
            bearer,
            SensitiveHeaderCleanupPolicy(disable_redirect_cleanup=not cleaned),
            Verified(elsewhere),
        ]
        client = AsyncPipelineClient[HttpRequest, AsyncHttpResponse](
            emulator.endpoint, policies=policies, transport=transport(connection_verify=emulator.ca_file)
        )
        async with client:
            reply = await client.send_request(HttpRequest("GET", emulator.endpoint + THREADS))
        assert reply.status_code == 401
        assert ("missing" in json.loads(reply.text())["error"]["message"]) is cleaned
        assert (count(emulator, "/chat/"), count(elsewhere, "/chat/")) == (1, 1)
        assert count(emulator, "issueAccessToken") == 1


class Verified(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Trusts the other emulator where a request goes there."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self._emulator = emulator

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        if request.http_request.url.startswith(self._emulator.endpoint):
            request.context.options["connection_verify"] = self._emulator.ca_file
        return await self.next.send(request)


class Refusing(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Answers a request with 401, as no machine of ours can from an address that is not loopback."""

    def __init__(self, has: Mapping[str, object] = MappingProxyType({})) -> None:
        super().__init__()
        self._has = has
        self.sent: list[str | None] = []

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        self.sent.append(request.http_request.headers.get("Authorization"))
        reply: Any = SimpleNamespace(status_code=401, headers={}, **self._has)
        return PipelineResponse(request.http_request, reply, request.context)


@pytest.mark.promise("R33")
@pytest.mark.parametrize(
    ("url", "header", "tries"),
    [
        ("https://contoso.example/", "Bearer old", 2),
        ("http://127.0.0.1/", "Bearer old", 2),
        ("http://contoso.example/", "Bearer old", 1),
        ("https://contoso.example/", "HMAC-SHA256 SignedHeaders=x", 1),
        ("https://contoso.example/", None, 1),
    ],
)
async def test_which_401s_count(url: str, header: str | None, tries: int) -> None:
    """A 401 that came by plain http from another machine, or answers another kind of authorization, is left."""
    source = ScriptedSource(3600)
    async with CommunicationTokenCredential(token_refresher=source) as credential:
        held = await credential.get_token()
        policy, service = RejectedTokenPolicy(credential), Refusing()
        policy.next = service
        headers = {} if header is None else {"Authorization": header}
        request = PipelineRequest(HttpRequest("GET", url, headers=headers), PipelineContext(None))
        await policy.send(request)
        assert service.sent == [header, f"Bearer {held.token}"][:tries]
    assert source.calls == 1


# The credential in azure-core's types


async def test_its_types_are_azure_cores() -> None:
    """It is one of both kinds of credentials, and what it gives are azure-core's own tokens."""
    ours = CommunicationTokenCredential(AccessToken("t", LATER))
    credential = as_token_credential(ours)
    assert isinstance(credential, AsyncTokenCredential)
    assert isinstance(credential, AsyncSupportsTokenInfo)
    token = await credential.get_token("scope", claims=CLAIMS, tenant_id="t", enable_cae=True, further=1)
    assert isinstance(token, AzureAccessToken)
    assert token == ("t", LATER)
    info = await credential.get_token_info("scope", options={"claims": CLAIMS})
    assert isinstance(info, AzureAccessTokenInfo)
    assert (info.token, info.expires_on, info.token_type, info.refresh_on) == ("t", LATER, "Bearer", 1)


async def test_claims_reach_the_credential() -> None:
    """Both ways of asking for a token pass them on, and they want a new one."""
    source = ScriptedSource(3600)
    for asked in ({"claims": CLAIMS}, {"options": {"claims": CLAIMS}}):
        async with CommunicationTokenCredential(token_refresher=source) as ours:
            credential: Any = as_token_credential(ours)
            get = credential.get_token if "claims" in asked else credential.get_token_info
            first = await get()
            assert (await get()).token == first.token
            assert (await get(**asked)).token != first.token
    assert source.calls == 4


async def test_closing_it_leaves_the_credential_open() -> None:
    """Clients that close what they are given take it from nobody else.

    It answers microsoft/kiota-python#732.
    """
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as ours:
        credential = as_token_credential(ours)
        async with credential as entered:
            assert entered is credential
        await credential.close()
        assert (await credential.get_token()).token == (await ours.get_token()).token


async def test_it_raises_as_the_credential_does() -> None:
    credential = as_token_credential(CommunicationTokenCredential(token_refresher=ScriptedSource(3600)))
    with pytest.raises(CredentialNotEnteredError):
        await credential.get_token()


@pytest.mark.promise("R52")
async def test_its_tokens_stay_hidden() -> None:
    """azure-core's own types would show them in a repr and put them into a pickle."""
    secret = make_jwt()
    credential: Any = as_token_credential(CommunicationTokenCredential(secret))
    for token in (await credential.get_token(), await credential.get_token_info()):
        shown = f"{token} {token!r} {[token]}"
        assert secret not in shown
        assert f"(<hidden>, expires_on={token.expires_on})" in shown
        assert copy.copy(token) is copy.deepcopy(token) is token
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="secret"):
                pickle.dumps(token, protocol)


@pytest.mark.parametrize("given", [None, "token", AccessToken("t", LATER)], ids=["None", "text", "token"])
@pytest.mark.parametrize("wrap", [as_token_credential, as_sync_token_credential, RejectedTokenPolicy])
def test_wrong_arguments(wrap: Any, given: Any) -> None:
    """They are refused where they are given."""
    with pytest.raises(TypeError, match=f"CommunicationTokenCredential, not {type(given).__name__}"):
        wrap(given)


def test_without_azure_core_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "anyio_acs_credential.azure")
    monkeypatch.setitem(sys.modules, "azure.core", None)
    with pytest.raises(ImportError, match=r'need azure\.core.*pip install "anyio-acs-credential\[azure\]"'):
        __import__("anyio_acs_credential.azure")


# Azure's synchronous clients, in other threads


async def in_thread(call: Callable[[], Any]) -> Any:
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)


async def test_a_synchronous_chat_client_in_another_thread() -> None:
    """It sends the token that is held, and after a revocation the next."""
    chat = pytest.importorskip("azure.communication.chat")
    async with a_user() as (emulator, credential, identity, user):
        client = chat.ChatClient(
            emulator.endpoint, as_sync_token_credential(credential), connection_verify=emulator.ca_file
        )
        with client:
            thread = await in_thread(lambda: client.create_chat_thread("Lunch"))
            assert thread.chat_thread.topic == "Lunch"
            await identity.revoke_tokens(user)
            await credential.refresh()
            assert (await in_thread(lambda: client.create_chat_thread("Dinner"))).chat_thread.topic == "Dinner"
        assert credential.get_token_nowait().token  # what the client closes is not the credential


async def test_the_synchronous_credentials_types_are_azure_cores() -> None:
    """Both of its methods; what they give stays hidden."""
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as credential:
        wrapped = as_sync_token_credential(credential)
        with cast("AbstractContextManager[object]", wrapped):
            token = await in_thread(lambda: wrapped.get_token("any", tenant_id="t", enable_cae=True))
            info = await in_thread(lambda: cast("SupportsTokenInfo", wrapped).get_token_info("any"))
        assert isinstance(wrapped, TokenCredential)
        assert isinstance(wrapped, SupportsTokenInfo)
        assert (type(token).__bases__[-1], type(info).__bases__[-1]) == (AzureAccessToken, AzureAccessTokenInfo)
        assert token.token == info.token == (await credential.get_token()).token
        assert info.refresh_on is not None
        assert 0 < info.refresh_on < LATER
        assert "hidden" in repr(token) + repr(info)
        with pytest.raises(CredentialUsageError, match="event loop's own thread"):
            wrapped.get_token()


async def test_claims_from_a_thread_ask_for_another_token() -> None:
    """As `get_token(claims=...)` does; a static credential has only one."""
    source = ScriptedSource(3600)
    async with CommunicationTokenCredential(token_refresher=source) as credential:
        held = await credential.get_token()
        wrapped = as_sync_token_credential(credential)
        other = await in_thread(lambda: wrapped.get_token(claims=CLAIMS))
        assert other.token != held.token
        assert (source.calls, (await credential.get_token()).token) == (2, other.token)
    static = as_sync_token_credential(CommunicationTokenCredential(held))
    assert (await in_thread(lambda: static.get_token(claims=CLAIMS))).token == held.token


class Challenged(TokenSource):
    """A source that notes the claims that it is asked with, and plays a script."""

    def __init__(self, *script: Any) -> None:
        self.asked: list[str | None] = []
        self.script = ScriptedSource(*script)

    async def __call__(self, claims: str | None = None) -> Any:
        self.asked.append(claims)
        return await self.script()

    def secrets(self) -> list[str]:
        return []

    def watch_exchanges(self, watch: object) -> None:
        raise NotImplementedError


def challenge(credential: CommunicationTokenCredential, claims: str = CLAIMS) -> Asking:
    wrapped = as_sync_token_credential(credential)
    return Asking(lambda: cast("AccessToken", wrapped.get_token(claims=claims)))


async def test_claims_from_a_thread_cost_one_round() -> None:
    """Where no token is held, none is fetched beforehand; threads with the same claims share theirs."""
    gate = anyio.Event()

    async def slow() -> str:
        await gate.wait()
        return make_jwt(3600)

    source = Challenged(slow)
    async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
        asking = [challenge(credential) for _ in range(3)]
        await waiting(credential, 3)
        gate.set()
        tokens = [cast("AccessToken", await each.over()).token for each in asking]
        assert tokens == [credential.get_token_nowait().token] * 3
    assert source.asked == [CLAIMS]


async def test_claims_from_a_thread_wait_for_the_round_in_flight() -> None:
    """It is for other claims, or for none; the next is for these."""
    gate = anyio.Event()

    async def slow() -> str:
        await gate.wait()
        return make_jwt(3600, jti=1)

    source = Challenged(slow, make_jwt(3600, jti=2))
    async with CommunicationTokenCredential(token_refresher=source) as credential:
        await until(lambda: source.asked == [None])
        asking = challenge(credential)
        await waiting(credential, 1)
        gate.set()
        got = cast("AccessToken", await asking.over())
        held = credential.get_token_nowait()
        assert (got.token, held.claims["jti"]) == (held.token, 2)
    assert source.asked == [None, CLAIMS]


async def test_claims_from_a_thread_that_cannot_be_met() -> None:
    """The thread gets the error of its round, and of its own credential where the source asks it in a thread."""

    async def ask_itself() -> object:
        return await in_thread(lambda: as_sync_token_credential(credential).get_token(claims=CLAIMS))

    source = Challenged(OSError("down"), ask_itself)
    async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
        got = await challenge(credential).over()
        assert isinstance(got, TokenRefreshError)
        assert isinstance(got.__cause__, OSError)
        with pytest.raises(TokenRefreshError) as caught:
            await credential.refresh()
        assert isinstance(caught.value.__cause__, CredentialUsageError)
        assert "asked its own credential" in str(caught.value.__cause__)


@pytest.mark.parametrize("source", [Challenged, ScriptedSource])
async def test_claims_from_a_thread_as_the_credential_closes(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits is told, and so is one whose request comes to the event loop after the last round."""
    posted, post = threading.Event(), Home.post

    def tell(home: Home, callback: Callable[[], object]) -> None:
        post(home, callback)
        posted.set()

    async with CommunicationTokenCredential(token_refresher=source(3600, anyio.sleep_forever)) as credential:
        await credential.get_token()
        early = challenge(credential)
        await waiting(credential, 1)
        monkeypatch.setattr(Home, "post", tell)
        late = challenge(credential)
        assert posted.wait(60)
        await credential.close()
        for asking in (early, late):
            assert isinstance(await asking.over(), CredentialClosedError)


@pytest.mark.promise("R7")
async def test_cancelling_the_caller_of_a_thread_with_claims() -> None:
    """It takes effect at once, and leaves the round alone."""
    source = ScriptedSource(3600, anyio.sleep_forever)
    async with CommunicationTokenCredential(token_refresher=source) as credential:
        await credential.get_token()
        wrapped = as_sync_token_credential(credential)
        with anyio.fail_after(60), anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, lambda: wrapped.get_token(claims=CLAIMS))
                await waiting(credential, 1)
                scope.cancel()
        assert scope.cancelled_caught
        await waiting(credential, 0)
        assert (source.calls, source.in_flight) == (2, 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a loop that is closed unawares
def test_claims_from_a_thread_where_the_event_loop_has_ended() -> None:
    """The error is the one that is promised, and a credential's."""
    loop = asyncio.new_event_loop()
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))
    loop.run_until_complete(credential.__aenter__())
    loop.run_until_complete(credential.get_token())
    loop.close()
    got = challenge(credential).wait()
    assert isinstance(got, CredentialClosedError)
    assert "the event loop in which the credential was entered has ended" in str(got)


async def test_a_synchronous_credential_raises_as_its_credential_does() -> None:
    with pytest.raises(CredentialNotEnteredError):
        as_sync_token_credential(CommunicationTokenCredential(token_refresher=ScriptedSource(3600))).get_token()
