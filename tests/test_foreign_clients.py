"""HTTP clients that programs already have: what is theirs neither reaches our requests nor breaks them."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import httpx2
import pytest
from servers import answer, serve
from test_access_key import KEY

from anyio_acs_credential import (
    AccessKeyCredential,
    CommunicationIdentityClient,
    TokenExchangeError,
)
from anyio_acs_credential._reading import MAX_BODY, _read_ours

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
ENDPOINT = "https://x.communication.azure.com"
USER = {"identity": {"id": "8:acs:a_b"}}
REFUSED = {"error": {"code": "Denied", "message": "Not so."}}


def identity_of(client: Any, endpoint: str = ENDPOINT) -> CommunicationIdentityClient:
    return CommunicationIdentityClient(endpoint, AccessKeyCredential(KEY), http_client=client)


async def read(response: Any) -> None:
    await response.aread()


async def raise_for_status(response: Any) -> None:
    response.raise_for_status()


async def read_and_raise(response: Any) -> None:
    await response.aread()
    response.raise_for_status()


async def raise_an_error_of_its_own(response: Any) -> None:
    if response.status_code >= 400:
        raise LookupError(response.status_code)


async def close(response: Any) -> None:
    await response.aclose()


HOOKS = [read, raise_for_status, read_and_raise, raise_an_error_of_its_own, close]


@PACKAGES
@pytest.mark.promise("R31")
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
async def test_a_response_hook_takes_nothing_from_an_answer(package: Any, hook: Callable[[Any], Any]) -> None:
    """Read, closed, or refused by a hook: the answer is what it is without, and so is a refusal.

    It answers h2non/pook#122, karpetrosyan/hishel#374, encode/httpx#752 and encode/httpx#3493.
    """
    late = ("Retry-After", "77")
    script = [answer(201, USER), answer(403, REFUSED), answer(429, REFUSED, late)]
    async with serve(*script) as server, package.AsyncClient(event_hooks={"response": [hook]}) as client:
        async with identity_of(client, server.url) as identity:
            assert (await identity.create_user()).raw_id == "8:acs:a_b"
            for status, permanent, retry_after in ((403, True, None), (429, False, 77.0)):
                with pytest.raises(TokenExchangeError) as caught:
                    await identity.create_user()
                error = caught.value
                assert (error.status, error.code, error.permanent, error.retry_after) == (
                    status,
                    "Denied",
                    permanent,
                    retry_after,
                )
        assert len(server.requests) == 3
        (theirs,) = [each for each in client.event_hooks["response"] if each is not _read_ours]
        assert theirs is hook


@PACKAGES
async def test_hooks_see_the_answer_as_if_it_were_unread(package: Any) -> None:
    """Each reads what the service sent; and requests of the program's own are left alone."""
    seen: list[bytes] = []

    async def look(response: Any) -> None:
        seen.append(await response.aread())

    async with serve(answer(201, USER)) as server, package.AsyncClient(event_hooks={"response": [look]}) as client:
        async with identity_of(client, server.url) as identity:
            await identity.create_user()
            client.event_hooks = {"response": [look, look]}  # changed by the program in between
            await identity.create_user()
        own = await client.get(server.url)
        assert own.json() == USER
    assert [json.loads(each) for each in seen] == [USER] * 5


@PACKAGES
@pytest.mark.parametrize("how", ["json", "text", "content", "stream"])
async def test_a_mock_transport(package: Any, how: str) -> None:
    """Its answers have been read before they are sent."""

    async def stream() -> Any:
        yield json.dumps(USER).encode()

    content: Any = {"json": USER, "text": json.dumps(USER), "content": json.dumps(USER).encode(), "stream": stream()}[
        how
    ]
    name = "content" if how == "stream" else how

    def handle(request: Any) -> Any:
        return package.Response(201, **{name: content}, request=request)

    async with package.AsyncClient(transport=package.MockTransport(handle)) as client, identity_of(client) as identity:
        assert (await identity.create_user()).raw_id == "8:acs:a_b"


class Duck:
    """A client by its shape alone, without hooks."""

    is_closed = False

    def __init__(self, package: Any, **content: Any) -> None:
        self._client = package.AsyncClient(transport=package.MockTransport(lambda _: package.Response(200, **content)))
        self.build_request = self._client.build_request

    async def send(self, request: Any, **options: Any) -> Any:
        return await self._client.send(request, **options)


@PACKAGES
async def test_a_client_that_is_one_by_its_shape(package: Any) -> None:
    """What it answers is read where it can be, within the limits."""

    async def chunks() -> Any:
        yield json.dumps(USER).encode()

    for content in ({"json": USER}, {"content": chunks()}):
        async with identity_of(Duck(package, **content)) as identity:
            assert (await identity.create_user()).raw_id == "8:acs:a_b"
    for content in ({"content": b" " * (MAX_BODY + 1)}, {"content": b"x", "headers": {"content-encoding": "zip"}}):
        async with identity_of(Duck(package, **content)) as identity:
            with pytest.raises(TokenExchangeError, match="malformed"):
                await identity.create_user()


@PACKAGES
@pytest.mark.promise("R29")
async def test_the_limits_hold_before_a_hook_reads(package: Any) -> None:
    """A body that is too large is cut off; one that is packed is left to the hook, and is no answer."""
    packed = gzip.compress(json.dumps(USER).encode())
    for body, headers, problem in (
        (b" " * (MAX_BODY + 1), {}, "larger than"),
        (packed, {"Content-Encoding": "gzip"}, "compressed"),
    ):

        async def stream(body: bytes = body) -> Any:
            yield body

        def handle(request: Any, headers: Any = headers, stream: Any = stream) -> Any:
            return package.Response(201, content=stream(), headers=headers, request=request)

        transport = package.MockTransport(handle)
        client = package.AsyncClient(transport=transport, event_hooks={"response": [read]})
        async with client, identity_of(client) as identity:
            with pytest.raises(TokenExchangeError, match=problem):
                await identity.create_user()


@PACKAGES
async def test_nothing_of_the_clients_reaches_our_requests(package: Any) -> None:
    """Neither parameters, headers, cookies, auth nor a base address; our own query and our signature stay.

    It answers encode/httpx#3433.
    """
    foreign = package.AsyncClient(
        params={"tenant": "1"},
        headers={
            "X-Mine": "1",
            "Authorization": "Bearer theirs",
            "Accept-Encoding": "gzip",
            "Content-Type": "text/plain",
            "Host": "elsewhere.example",
            "User-Agent": "theirs",
        },
        cookies={"session": "theirs"},
        auth=("name", "password"),
        base_url="https://elsewhere.example/base/",
        follow_redirects=True,
    )
    async with serve(answer(201, USER)) as server:
        async with foreign as client, identity_of(client, server.url) as identity:
            await identity.create_user()
            await identity.create_user()
        async with package.AsyncClient() as client, identity_of(client, server.url) as identity:
            await identity.create_user()
    first, _, plain = server.requests
    assert first.target == plain.target == "/identities?api-version=2023-10-01"
    changing = {"x-ms-date", "authorization"}
    same, other = ({k: v for k, v in each.headers.items() if k not in changing} for each in (first, plain))
    assert same == other
    assert set(same) == {
        "accept", "accept-encoding", "content-length", "content-type", "host", "user-agent", "x-ms-content-sha256",
    }  # fmt: skip
    assert same["host"] == urlsplit(server.url).netloc
    assert first.headers["authorization"].startswith("HMAC-SHA256 ")


@PACKAGES
async def test_who_asks(package: Any) -> None:
    """Name and version of the package, of Python, and of the HTTP library: what Azure's support asks for."""
    client = package.AsyncClient()
    async with serve(answer(201, USER)) as server, client, identity_of(client, server.url) as identity:
        await identity.create_user()
    (request,) = server.requests
    ours, python, library = request.headers["user-agent"].split()
    assert ours.startswith("anyio-acs-credential/0.")
    assert python.startswith("Python/3.")
    assert library == f"{package.__name__}/{package.__version__}"


async def test_a_client_of_no_package() -> None:
    """It sends our name alone."""
    from anyio_acs_credential._request import user_agent

    class Client:
        pass

    Client.__module__ = "nowhere"
    assert len(user_agent(Client()).split()) == 2  # type: ignore[arg-type]  # of its class alone something is asked
