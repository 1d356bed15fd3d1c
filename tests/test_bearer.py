"""`BearerAuth` for httpx and for httpx2: one flow, over real HTTP and TLS on loopback."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import httpx2
import pytest
from acs_users import a_user
from servers import answer, serve

import anyio_acs_credential.httpx2
from anyio_acs_credential import (
    AccessToken,
    BearerAuth,
    CommunicationTokenCredential,
    CredentialUsageError,
    TokenRefreshError,
)
from anyio_acs_credential._http.endpoint import is_secure, one_form
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.testing import ScriptedSource, make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

THREADS = "/chat/threads?api-version=2024-03-07"
CLIENTS = [
    pytest.param(httpx.AsyncClient, BearerAuth, id="httpx"),
    pytest.param(httpx2.AsyncClient, anyio_acs_credential.httpx2.BearerAuth, id="httpx2"),
]
both = pytest.mark.parametrize(("client_class", "auth_class"), CLIENTS)
LATER = 4_102_444_800
REFUSED = {"error": {"code": "Unauthorized", "message": "Another token, please."}}


def count(emulator: Emulator, part: str) -> int:
    return sum(part in record.path for record in emulator.requests)


@both
async def test_requests_carry_the_token(client_class: Any, auth_class: Any) -> None:
    """The service accepts what the credential holds."""
    async with (
        a_user() as (emulator, credential, _, _),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        assert (await client.get(THREADS)).status_code == 200
        assert count(emulator, "issueAccessToken") == 1


@pytest.mark.promise("R50")
@both
async def test_a_revocation_costs_no_request(client_class: Any, auth_class: Any) -> None:
    """After a 401 one new token is fetched for all, and every request succeeds with it.

    It answers openai/codex#2522.
    """
    async with (
        a_user() as (emulator, credential, identity, user),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        await credential.get_token()
        await identity.revoke_tokens(user)
        statuses: list[int] = []

        async def get() -> None:
            statuses.append((await client.get(THREADS)).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(get)
        assert statuses == [200] * 10
        assert count(emulator, "issueAccessToken") == 2


@both
async def test_a_body_is_sent_again(client_class: Any, auth_class: Any) -> None:
    """A request with a body of bytes is repeated whole."""
    async with (
        a_user() as (emulator, credential, identity, user),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        await credential.get_token()
        await identity.revoke_tokens(user)
        assert (await client.post(THREADS, json={"topic": "lunch"})).status_code == 201


@both
@pytest.mark.promise("R50")
@pytest.mark.parametrize("body", ["stream", "files"])
async def test_what_is_used_up_is_not_sent_again_and_its_token_is_reported(
    client_class: Any, auth_class: Any, body: str
) -> None:
    """The 401 is the answer: a client that only uploads has the next token with its next request."""

    async def stream() -> AsyncIterator[bytes]:
        yield b'{"topic":"lunch"}'

    def used_up() -> dict[str, Any]:
        return {"content": stream()} if body == "stream" else {"files": {"topic": BytesIO(b"lunch")}}

    async with (
        a_user() as (emulator, credential, identity, user),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        await credential.get_token()
        await identity.revoke_tokens(user)
        headers = {"content-type": "application/json"}
        assert (await client.post(THREADS, headers=headers, **used_up())).status_code == 401
        assert count(emulator, "issueAccessToken") == 2
        assert (await client.post(THREADS, headers=headers, **used_up())).status_code != 401
        assert count(emulator, "issueAccessToken") == 2


@pytest.mark.promise("R51")
@both
async def test_a_403_never_invalidates(client_class: Any, auth_class: Any) -> None:
    """What is forbidden stays forbidden with another token: nothing is fetched."""
    async with (
        a_user() as (emulator, credential, _, _),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        emulator.fail("/chat/", status=403)
        assert (await client.get(THREADS)).status_code == 403
        assert count(emulator, "issueAccessToken") == 1
        assert count(emulator, "/chat/") == 1


@both
async def test_a_401_stays_where_refreshing_fails(client_class: Any, auth_class: Any) -> None:
    """The service's answer is what the program sees, and the held token stays."""
    async with (
        a_user() as (emulator, credential, identity, user),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        held = await credential.get_token()
        await identity.revoke_tokens(user)
        emulator.fail("issueAccessToken", status=403)
        assert (await client.get(THREADS)).status_code == 401
        assert await credential.get_token() is held


@both
async def test_a_service_that_refuses_every_token_gets_two_requests(client_class: Any, auth_class: Any) -> None:
    """The second 401 is the answer: a request is sent once more and not again."""
    async with (
        a_user() as (emulator, credential, _, _),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        emulator.fail("/chat/", status=401)
        assert (await client.get(THREADS)).status_code == 401
        assert count(emulator, "/chat/") == 2


@both
async def test_without_a_token_the_request_fails_as_get_token_does(client_class: Any, auth_class: Any) -> None:
    """Nothing is sent without the token that it should carry."""
    source = ScriptedSource(OSError("down"))
    async with open_emulator() as emulator, CommunicationTokenCredential(token_refresher=source) as credential:
        async with client_class(verify=emulator.ssl_context, auth=auth_class(credential)) as client:
            with pytest.raises(TokenRefreshError):
                await client.get(emulator.endpoint + THREADS)
        assert not emulator.requests


@pytest.mark.promise("R33")
@both
async def test_a_token_goes_over_https_only(client_class: Any, auth_class: Any) -> None:
    """Plain http to another machine is refused before anything is sent."""
    async with client_class(auth=auth_class(CommunicationTokenCredential(AccessToken("t", LATER)))) as client:
        with pytest.raises(CredentialUsageError, match=r"https://contoso\.example"):
            await client.get("http://contoso.example/")


@both
@pytest.mark.parametrize(
    ("hosts", "host", "sent"),
    [
        (None, "anything.example", True),
        (["contoso.communication.azure.com"], "contoso.communication.azure.com", True),
        (["Contoso.Communication.Azure.com"], "CONTOSO.communication.azure.com", True),
        (["contoso.communication.azure.com"], "evil-contoso.communication.azure.com", False),
        (["*.communication.azure.com"], "contoso.communication.azure.com", True),
        (["*.communication.azure.com"], "communication.azure.com", False),
        (["*.communication.azure.com"], "contoso.communication.azure.com.example", False),
        (["*.communication.azure.com"], "contosocommunication.azure.com", False),
        (["::1"], "[::1]", True),
        (["münchen.example"], "münchen.example", True),
    ],
)
async def test_hosts_that_get_the_token(
    *, client_class: Any, auth_class: Any, hosts: list[str] | None, host: str, sent: bool
) -> None:
    """Where hosts are named, requests to others go without it."""
    package = httpx if client_class is httpx.AsyncClient else httpx2
    seen: list[bool] = []

    def answer(request: Any) -> Any:
        seen.append("authorization" in request.headers)
        return package.Response(200)

    auth = auth_class(CommunicationTokenCredential(AccessToken("t", LATER)), hosts=hosts)
    async with client_class(auth=auth, transport=package.MockTransport(answer)) as client:
        await client.get(f"https://{host}/")
    assert seen == [sent]


@both
async def test_another_hosts_401_says_nothing_about_the_token(client_class: Any, auth_class: Any) -> None:
    """After a redirect to a host that never got the token, its 401 is the answer, and nothing is fetched."""
    package = httpx if client_class is httpx.AsyncClient else httpx2
    seen: list[tuple[str, bool]] = []

    def answer(request: Any) -> Any:
        seen.append((request.url.host, "authorization" in request.headers))
        elsewhere = request.url.host != "contoso.example"
        return package.Response(401) if elsewhere else package.Response(307, headers={"location": "https://b.example/"})

    source = ScriptedSource(3600)
    async with (
        CommunicationTokenCredential(token_refresher=source) as credential,
        client_class(
            auth=auth_class(credential), transport=package.MockTransport(answer), follow_redirects=True
        ) as client,
    ):
        assert (await client.get("https://contoso.example/")).status_code == 401
    assert seen == [("contoso.example", True), ("b.example", False)]
    assert source.calls == 1


async def raise_for_status(response: Any) -> None:
    """As httpx's documentation has it."""
    await response.aread()
    response.raise_for_status()


@pytest.mark.promise("R50")
@both
async def test_a_401_for_which_a_hook_raises_is_reported(client_class: Any, auth_class: Any) -> None:
    """The hook's error leaves as it is, and the next request has the next token."""
    package = httpx if client_class is httpx.AsyncClient else httpx2
    async with (
        a_user() as (emulator, credential, identity, user),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        client.event_hooks = {"response": [raise_for_status]}
        await credential.get_token()
        await identity.revoke_tokens(user)
        with pytest.raises(package.HTTPStatusError, match="401"):
            await client.get(THREADS)
        assert (await client.get(THREADS)).status_code == 200
        with pytest.raises(package.HTTPStatusError, match="404"):
            await client.get("/nowhere")
    assert count(emulator, "issueAccessToken") == 2


@both
async def test_another_hosts_401_for_which_a_hook_raises_is_not_reported(client_class: Any, auth_class: Any) -> None:
    """A redirect has led to a host that never got the token."""
    package = httpx if client_class is httpx.AsyncClient else httpx2
    source = ScriptedSource(3600)
    async with (
        serve(answer(401)) as other,
        serve(answer(307, {}, ("Location", f"http://localhost:{other.port}"))) as server,
        CommunicationTokenCredential(token_refresher=source) as credential,
        client_class(
            auth=auth_class(credential), event_hooks={"response": [raise_on_401]}, follow_redirects=True
        ) as client,
    ):
        with pytest.raises(package.HTTPStatusError, match="401"):
            await client.get(server.url)
        assert "authorization" in server.requests[0].headers
        assert "authorization" not in other.requests[0].headers
    assert source.calls == 1


async def raise_on_401(response: Any) -> None:
    if response.status_code == 401:
        response.raise_for_status()


@both
@pytest.mark.parametrize("natively", [False, True])
async def test_a_hook_that_is_cancelled_at_a_401_holds_nobody_up(
    client_class: Any, auth_class: Any, natively: bool, anyio_backend_name: str
) -> None:
    """Neither a cancel scope nor asyncio's own Task.cancel() waits for another token."""
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("trio has no such thing")
    arrived = anyio.Event()

    async def linger(response: Any) -> None:
        arrived.set()
        await anyio.sleep_forever()

    source = ScriptedSource(3600, anyio.sleep_forever)
    async with (
        serve(answer(401)) as server,
        CommunicationTokenCredential(token_refresher=source) as credential,
        client_class(auth=auth_class(credential), event_hooks={"response": [linger]}) as client,
    ):
        if natively:
            task = asyncio.ensure_future(client.get(server.url))
            await arrived.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(client.get, server.url)
                await arrived.wait()
                group.cancel_scope.cancel()
    assert source.calls == 1


@both
async def test_the_programs_own_trace_goes_on(client_class: Any, auth_class: Any) -> None:
    """It sees each step, and the request has its extensions again when the answer is there."""
    seen: list[str] = []

    async def trace(event: str, info: Any) -> None:
        seen.append(event)

    async with (
        serve(answer(200)) as server,
        CommunicationTokenCredential(make_jwt()) as credential,
        client_class(auth=auth_class(credential)) as client,
    ):
        response = await client.get(server.url, extensions={"trace": trace})
        assert response.request.extensions["trace"] is trace
    assert "http11.receive_response_headers.complete" in seen


@pytest.mark.promise("R50")
@both
async def test_a_401_gives_its_connection_back_first(client_class: Any, auth_class: Any) -> None:
    """The source may need it: this client has one connection, and the source has no other client."""
    package = httpx if client_class is httpx.AsyncClient else httpx2
    tokens = [make_jwt(skypeid=f"acs:{name}") for name in ("first", "second")]

    async def source() -> str:
        await client.get(f"{server.url}/token", auth=None)
        return tokens.pop(0)

    limits, timeout = package.Limits(max_connections=1), package.Timeout(60, pool=5)
    async with (
        serve(answer(200), answer(401, REFUSED), answer(200)) as server,
        CommunicationTokenCredential(token_refresher=source) as credential,
        client_class(auth=auth_class(credential), limits=limits, timeout=timeout) as client,
    ):
        assert (await client.get(server.url)).status_code == 200
    assert [request.target for request in server.requests] == ["/token", "/", "/token", "/"]


@both
async def test_a_401_that_breaks_off_is_reported(client_class: Any, auth_class: Any) -> None:
    """The error of the network leaves as it is."""
    package = httpx if client_class is httpx.AsyncClient else httpx2
    source = ScriptedSource(3600, 3600)
    async with (
        serve(answer(401, b"{", length=100)) as server,
        CommunicationTokenCredential(token_refresher=source) as credential,
        client_class(auth=auth_class(credential)) as client,
    ):
        with pytest.raises(package.RemoteProtocolError):
            await client.get(server.url)
    assert source.calls == 2


@pytest.mark.filterwarnings("ignore:.*ByteStream:pytest.PytestUnraisableExceptionWarning")  # httpx's own, on trio
@both
async def test_a_cancelled_request_holds_up_nobody(client_class: Any, auth_class: Any) -> None:
    """A request that hangs after its 401, and is cancelled, leaves the others their token."""
    async with (
        a_user() as (emulator, credential, identity, user),
        client_class(verify=emulator.ssl_context, auth=auth_class(credential), base_url=emulator.endpoint) as client,
    ):
        await credential.get_token()
        await identity.revoke_tokens(user)
        emulator.hang("issueAccessToken", times=1)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(client.get, THREADS)
                while not credential.statistics().waiting:  # noqa: ASYNC110 - there is no event for it
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        assert await credential.get_token() is credential.get_token_nowait()


@both
def test_a_synchronous_client_is_told_what_to_use(client_class: Any, auth_class: Any) -> None:
    """It cannot wait for a token."""
    package = httpx if client_class is httpx.AsyncClient else httpx2
    auth = auth_class(CommunicationTokenCredential(AccessToken("t", LATER)))
    with package.Client(auth=auth) as client, pytest.raises(CredentialUsageError, match="get_token_from_thread"):
        client.get("https://contoso.example/")


@pytest.mark.parametrize("auth_class", [BearerAuth, anyio_acs_credential.httpx2.BearerAuth])
@pytest.mark.parametrize(
    ("credential", "hosts", "fix"),
    [
        ("token", None, "CommunicationTokenCredential"),
        (CommunicationTokenCredential, None, "not the class CommunicationTokenCredential"),
        (None, "contoso.example", "into a list"),
        (None, ["https://contoso.example"], "names such as"),
        (None, [""], "names such as"),
        (None, ["*"], "names such as"),
        (None, ["a.*.example"], "names such as"),
        (None, ["*."], "names such as"),
        (None, ["contoso.example:443"], "without scheme, port or path"),
        (None, [" contoso.example"], "names such as"),
        (None, ["contoso..example"], "names such as"),
        (None, [5], "names such as"),
        (None, 5, "hosts is a collection of host names, not int: put the one name into a list"),
    ],
)
def test_wrong_arguments(auth_class: Any, credential: Any, hosts: Any, fix: str) -> None:
    """They are refused where they are given, with the fix."""
    with pytest.raises(TypeError, match=fix):
        auth_class(credential or CommunicationTokenCredential(AccessToken("t", LATER)), hosts=hosts)


@pytest.mark.parametrize("auth_class", [BearerAuth, anyio_acs_credential.httpx2.BearerAuth])
@pytest.mark.parametrize("hosts", [[], (), set()], ids=repr)
def test_no_host_at_all(auth_class: Any, hosts: Any) -> None:
    """A token would never be sent, and nothing would say why."""
    with pytest.raises(ValueError, match="hosts is empty, and no request would have a token: name a host, or leave"):
        auth_class(CommunicationTokenCredential(AccessToken("t", LATER)), hosts=hosts)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("xn--bcher-kva.example", "https://bücher.example/"),
        ("bücher.example", "https://xn--bcher-kva.example/"),
        ("BÜCHER.example", "https://bücher.example/"),
        ("*.bücher.example", "https://a.xn--bcher-kva.example/"),
        ("*.xn--bcher-kva.example", "https://a.bücher.example/"),
        ("contoso.example.", "https://contoso.example/"),
        ("contoso.example", "https://Contoso.example./"),
        ("[2001:DB8:0:0::1]", "https://[2001:db8::1]/"),
        ("2001:db8::1", "https://[2001:db8:0:0:0:0:0:1]/"),
    ],
)
@pytest.mark.parametrize("package", [httpx, httpx2])
def test_a_host_has_one_form(package: Any, host: str, url: str) -> None:
    """A name as people write it is the name that DNS has, and an address is itself in whatever spelling."""
    module: Any = anyio_acs_credential.httpx2 if package is httpx2 else anyio_acs_credential
    auth = module.BearerAuth(CommunicationTokenCredential(make_jwt()), hosts=[host])
    assert auth._may_have_token(package.URL(url))
    other = module.BearerAuth(CommunicationTokenCredential(make_jwt()), hosts=["elsewhere.example"])
    assert not other._may_have_token(package.URL(url))


def test_a_name_that_dns_cannot_have_stays_as_it_is() -> None:
    assert one_form("ß\u0000ü") == "ß\u0000ü"
    assert is_secure("http", "LOCALHOST.")
    assert is_secure("http", "[::1]")
