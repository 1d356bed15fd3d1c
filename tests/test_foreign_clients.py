"""HTTP clients that programs already have: what is theirs neither reaches our requests nor breaks them."""

from __future__ import annotations

import gzip
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import httpx
import httpx2
import pytest
from servers import answer, serve
from test_access_key import KEY

from anyio_acs_credential import (
    AccessKeyCredential,
    CommunicationIdentityClient,
    ServiceError,
)
from anyio_acs_credential._http.cookies import KeptCookies
from anyio_acs_credential._http.reading import MAX_BODY, _read_ours, _send_ours
from anyio_acs_credential._http.request import library_of, user_agent

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
                with pytest.raises(ServiceError) as caught:
                    await identity.create_user()
                error = caught.value
                assert (error.status_code, error.code, error.permanent, error.retry_after) == (
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

    def __init__(self, package: Any, status: int = 200, **content: Any) -> None:
        self._package = package
        transport = package.MockTransport(lambda _: package.Response(status, **content))
        self._client = package.AsyncClient(transport=transport)
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
            with pytest.raises(ServiceError, match="malformed"):
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
            with pytest.raises(ServiceError, match=problem):
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


ENDED = "Thu, 01 Jan 1970 00:00:00 GMT"


@PACKAGES
@pytest.mark.promise("R39")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("hook", [None, raise_for_status], ids=["no hook", "a hook that raises"])
async def test_the_services_cookies_stay_out_of_the_clients(package: Any, host: str, hook: Any) -> None:
    """Neither set, replaced nor ended, and not sent with the program's own requests; the program's own cookies work."""
    ours = [
        ("Set-Cookie", "ARRAffinity=service; Path=/; HttpOnly"),
        ("Set-Cookie", "mine=service; Path=/"),
        ("Set-Cookie", f"kept=; Path=/; Expires={ENDED}"),
    ]
    theirs = [("Set-Cookie", "mine=program; Path=/"), ("Set-Cookie", "kept=program; Path=/")]
    script = [answer(200, None, *theirs), answer(201, USER, *ours), answer(403, REFUSED, *ours), answer(200)]
    hooks = {"response": [hook] if hook else []}
    async with serve(*script) as server, package.AsyncClient(event_hooks=hooks) as client:
        own = server.url.replace("127.0.0.1", host)
        await client.get(own)
        before = list(client.cookies.jar)
        async with identity_of(client, own) as identity:
            await identity.create_user()
            with pytest.raises(ServiceError):
                await identity.create_user()
        assert list(client.cookies.jar) == before
        await client.get(own)
    assert [request.headers.get("cookie") for request in server.requests[1:3]] == [None, None]
    assert server.requests[3].headers["cookie"] == "mine=program; kept=program"


@PACKAGES
@pytest.mark.promise("R39")
async def test_cookies_that_the_program_gets_meanwhile_stay(package: Any) -> None:
    """Those of another host, and of this one under another name: only what our answer names is put back."""
    asked, go_on = anyio.Event(), anyio.Event()

    async def slow(_server: Any, stream: Any) -> None:
        asked.set()
        await go_on.wait()
        await answer(201, USER, ("Set-Cookie", "session=service"))(_server, stream)

    async with (
        serve(slow) as service,
        package.AsyncClient() as client,
        identity_of(client, service.url) as identity,
        anyio.create_task_group() as group,
    ):
        group.start_soon(identity.create_user)
        await asked.wait()
        client.cookies.set("session", "program", domain="other.example", path="/")
        client.cookies.set("another", "program", domain="127.0.0.1", path="/")
        go_on.set()
    assert {(cookie.domain, cookie.name): cookie.value for cookie in client.cookies.jar} == {
        ("other.example", "session"): "program",
        ("127.0.0.1", "another"): "program",
    }


@PACKAGES
@pytest.mark.promise("R39")
@pytest.mark.parametrize("host", ["[::1]", "x.communication.azure.com", "b\u00fccher.example"])
async def test_whatever_the_hosts_name(package: Any, host: str) -> None:
    def handle(request: Any) -> Any:
        return package.Response(201, json=USER, headers={"Set-Cookie": "session=service"}, request=request)

    async with package.AsyncClient(transport=package.MockTransport(handle)) as client:
        endpoint = f"https://{host.encode('idna').decode()}"
        async with identity_of(client, endpoint) as identity:
            await identity.create_user()
        assert not list(client.cookies.jar)
        await client.get(endpoint)
        assert list(client.cookies.jar)


def test_cookies_of_a_whole_domain_are_the_hosts_as_well() -> None:
    """And a client that shows no cookies has none to keep."""
    client = httpx.AsyncClient()
    client.cookies.set("a", "program", domain=".azure.example")
    client.cookies.set("a", "elsewhere", domain="notazure.example")
    client.cookies.set("b", "program", domain="x.azure.example")
    kept = KeptCookies(client, "x.azure.example")
    kept.keep()
    client.cookies.set("a", "service", domain=".azure.example")
    client.cookies.set("b", "program later", domain="x.azure.example")
    response = httpx.Response(200, headers={"Set-Cookie": "a=service; Domain=azure.example"})
    kept.put_back(response)
    assert {cookie.domain: cookie.value for cookie in client.cookies.jar} == {
        ".azure.example": "program",
        "notazure.example": "elsewhere",
        "x.azure.example": "program later",
    }
    without = KeptCookies(SimpleNamespace(), "x.azure.example")
    without.keep()
    without.put_back(response)


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


@PACKAGES
async def test_a_subclass_of_the_programs_own_says_nothing_of_the_program(
    package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its name nor its version, which may be text that no header can carry."""
    theirs = type("Client", (package.AsyncClient,), {"__module__": "their_program.http"})
    monkeypatch.setitem(sys.modules, "their_program", SimpleNamespace(__version__="2 beta\n"))
    async with serve(answer(201, USER)) as server, theirs() as client, identity_of(client, server.url) as identity:
        await identity.create_user()
    (request,) = server.requests
    assert request.headers["user-agent"].split()[2:] == [f"{package.__name__}/{package.__version__}"]


def test_a_request_of_no_library_names_none() -> None:
    assert library_of(object()) is None
    assert len(user_agent(None).split()) == 2


@PACKAGES
def test_a_library_is_known_by_what_it_does_not_show_as_well(package: Any) -> None:
    """Its private modules are its own."""
    private = type("Request", (), {"__module__": f"{package.__name__}._models"})
    assert library_of(private()) is package


@PACKAGES
async def test_an_answer_of_the_programs_own_class(package: Any) -> None:
    """A transport may give a subclass of the library's answer, as mocks and caches do: no user is made and lost."""
    theirs = type("Response", (package.Response,), {"__module__": "their_program"})
    transport = package.MockTransport(lambda _: theirs(201, json=USER))
    async with package.AsyncClient(transport=transport) as client, identity_of(client) as identity:
        assert (await identity.create_user()).raw_id == "8:acs:a_b"


@PACKAGES
async def test_what_a_request_hook_changes_is_made_good(package: Any) -> None:
    """A hook that puts its program's token, parameters or address into each request changes none of ours."""
    seen = []

    async def put_theirs(request: Any) -> None:
        seen.append(str(request.url))
        request.headers["Authorization"] = "Bearer theirs"
        request.headers["X-Mine"] = "1"
        request.method = "PUT"
        request.url = request.url.copy_with(host="elsewhere.example", params={"tenant": "1"})
        request.stream = package.ByteStream(b"theirs")

    client = package.AsyncClient(event_hooks={"request": [put_theirs]})
    async with serve(answer(201, USER)) as server, client, identity_of(client, server.url) as identity:
        await identity.create_user()
        client.event_hooks = {"request": [put_theirs, put_theirs]}  # changed by the program in between
        await identity.create_user()
    for request in server.requests:
        assert (request.method, request.target, request.body) == ("POST", "/identities?api-version=2023-10-01", b"{}")
        assert request.headers["authorization"].startswith("HMAC-SHA256 ")
        assert "x-mine" not in request.headers
    assert [url.startswith(server.url) for url in seen] == [True, True, False]
    assert client.event_hooks == {"request": [put_theirs, put_theirs, _send_ours], "response": [_read_ours]}


@PACKAGES
async def test_requests_of_the_programs_own_are_left_to_its_hooks(package: Any) -> None:
    async def put_theirs(request: Any) -> None:
        request.headers["Authorization"] = "Bearer theirs"

    client = package.AsyncClient(event_hooks={"request": [put_theirs]})
    async with serve(answer(201, USER)) as server, client, identity_of(client, server.url) as identity:
        await identity.create_user()
        await client.get(server.url)
    assert server.requests[1].headers["authorization"] == "Bearer theirs"


@PACKAGES
async def test_a_request_hook_steers_nothing(package: Any) -> None:
    """Neither by other extensions nor by what they say of the address; its own notes stay, and so do time limits."""
    seen: list[Any] = []

    async def put_theirs(request: Any) -> None:
        request.extensions = {"mine": 1, "target": b"/theirs", "timeout": request.extensions["timeout"]}
        request.headers["Authorization"] = "Bearer theirs"

    async def look(response: Any) -> None:
        await response.aread()
        seen.append((response.request.extensions["mine"], response.elapsed.total_seconds() > 0))
        assert "timeout" in response.request.extensions
        assert "target" not in response.request.extensions

    client = package.AsyncClient(event_hooks={"request": [put_theirs], "response": [look]})
    async with serve(answer(201, USER)) as server, client, identity_of(client, server.url) as identity:
        await identity.create_user()
    (request,) = server.requests
    assert request.target == "/identities?api-version=2023-10-01"
    assert request.headers["authorization"].startswith("HMAC-SHA256 ")
    assert seen == [(1, True)]


@PACKAGES
@pytest.mark.promise("R31")
@pytest.mark.parametrize("status", [201, 403])
async def test_the_answer_of_another_server_is_not_the_services(package: Any, status: int) -> None:
    """A hook that asks a server of its own, and raises with what that said, has kept the request from being sent."""

    class GatewayError(Exception):
        def __init__(self, response: Any) -> None:
            super().__init__("the gateway is closed")
            self.response = response

    async def ask_elsewhere(request: Any) -> None:
        async with package.AsyncClient() as gateway:
            raise GatewayError(await gateway.get(other.url))

    client = package.AsyncClient(event_hooks={"request": [ask_elsewhere]})
    async with (
        serve(answer(201, USER)) as server,
        serve(answer(status, {"identity": {"id": "8:acs:elsewhere"}})) as other,
        client,
        identity_of(client, server.url) as identity,
    ):
        with pytest.raises(ServiceError, match="GatewayError: the gateway is closed") as caught:
            await identity.delete_user("8:acs:a_b")
        assert (caught.value.status_code, caught.value.permanent) == (None, False)
    assert other.requests
    assert not server.requests


@PACKAGES
@pytest.mark.promise("R31")
async def test_a_refusal_that_a_wrapper_has_wrapped(package: Any) -> None:
    """The answer is that of the cause, also where the chain of causes is a circle."""

    class Wrapping(Raising):
        async def send(self, request: Any, **options: Any) -> Any:
            try:
                return await super().send(request, **options)
            except Exception as error:
                error.__cause__ = error
                raise LookupError("the wrapper's own") from error

    async with identity_of(Wrapping(package, 403, json=REFUSED, headers={"Retry-After": "7"})) as identity:
        with pytest.raises(ServiceError) as caught:
            await identity.create_user()
    assert (caught.value.status_code, caught.value.permanent, caught.value.retry_after) == (403, True, 7.0)


class Slotted:
    """A request that takes no weak reference."""

    __slots__ = ("_request",)

    def __init__(self, request: Any) -> None:
        object.__setattr__(self, "_request", request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._request, name, value)


@PACKAGES
async def test_a_request_by_its_shape(package: Any) -> None:
    """It is told by its mark."""

    class Shaped(Raising):
        def __init__(self, package: Any, status: int, **content: Any) -> None:
            super().__init__(package, status, **content)
            self.build_request = lambda *args, **options: Slotted(self._client.build_request(*args, **options))

        async def send(self, request: Any, **options: Any) -> Any:
            return await super().send(request._request, **options)

    async with identity_of(Shaped(package, 403, json=REFUSED)) as identity:
        with pytest.raises(ServiceError) as caught:
            await identity.create_user()
    assert caught.value.code == "Denied"


class Raising(Duck):
    """One that raises for a status, as wrappers do."""

    async def send(self, request: Any, **options: Any) -> Any:
        response = await super().send(request, **options)
        response.raise_for_status()
        return response


class Reading(Raising):
    """One that has read the answer before it raises."""

    async def send(self, request: Any, **options: Any) -> Any:
        return await super().send(request, **{**options, "stream": False})


class Closing(Duck):
    """One that has closed the answer."""

    async def send(self, request: Any, **options: Any) -> Any:
        response = await super().send(request, **options)
        await response.aclose()
        return response


class Synchronous(Duck):
    """One whose answers can be read in no event loop."""

    async def send(self, request: Any, **options: Any) -> Any:
        response = await super().send(request, **options)
        response.stream = self._package.SyncByteStream()
        del response._content
        response.is_stream_consumed = response.is_closed = False
        return response


class Showing(Duck):
    """One that shows its hooks, and takes none."""

    @property
    def event_hooks(self) -> dict[str, list[Any]]:
        return {"response": []}


@PACKAGES
@pytest.mark.promise("R31")
@pytest.mark.parametrize(
    ("kind", "code"),
    [(Raising, "Denied"), (Reading, "Denied"), (Closing, None), (Synchronous, None), (Showing, "Denied")],
)
async def test_a_refusal_by_way_of_a_wrapper_is_a_refusal(package: Any, kind: type[Duck], code: str | None) -> None:
    """Status and headers count, also where the body is out of reach; so does what is in the exception."""

    async def chunks() -> Any:
        yield json.dumps(REFUSED).encode()

    content: Any = {"json": REFUSED} if kind in {Reading, Synchronous} else {"content": chunks()}
    async with identity_of(kind(package, 403, headers={"Retry-After": "7"}, **content)) as identity:
        with pytest.raises(ServiceError) as caught:
            await identity.create_user()
    error = caught.value
    assert (error.status_code, error.permanent, error.retry_after, error.code) == (403, True, 7.0, code)


@PACKAGES
async def test_a_success_that_a_wrapper_has_closed_is_no_answer(package: Any) -> None:
    async def chunks() -> Any:
        yield json.dumps(USER).encode()

    async with identity_of(Closing(package, 201, content=chunks())) as identity:
        with pytest.raises(ServiceError, match="http_client has closed it") as caught:
            await identity.create_user()
    assert (caught.value.status_code, caught.value.permanent) == (201, False)


@PACKAGES
@pytest.mark.promise("R31")
async def test_a_transport_that_hands_on_what_it_has_read(package: Any) -> None:
    """The stream of its answer has been read to the end, and the content is there, which is all that httpx asks for."""
    async with serve(answer(201, USER)) as server, package.AsyncClient() as inner:

        async def hand_on(request: Any) -> Any:
            return await inner.request(request.method, request.url, headers=request.headers, content=request.content)

        client = package.AsyncClient(transport=package.MockTransport(hand_on), event_hooks={"response": [read]})
        async with client, identity_of(client, server.url) as identity:
            assert (await identity.create_user()).raw_id == "8:acs:a_b"
    assert len(server.requests) == 1


@PACKAGES
@pytest.mark.promise("R29")
async def test_a_body_that_waits_for_nothing_is_cut_off(package: Any) -> None:
    """As that of a mock: no cancellation ends it."""

    class Long(package.AsyncByteStream):  # type: ignore[misc]  # one of two packages
        """No generator: what is left of one would be the garbage collector's."""

        chunks = 0

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> bytes:
            if self.chunks == 10_000:
                raise StopAsyncIteration
            self.chunks += 1
            return b" " * 1024

    class Direct(Duck):
        """One whose answers are not wrapped in generators of the library's client."""

        async def send(self, request: Any, **_: Any) -> Any:
            return package.Response(201, stream=body, request=request)

    body = Long()
    async with identity_of(Direct(package)) as identity:
        with pytest.raises(ServiceError, match="larger than"):
            await identity.create_user()
    assert body.chunks * 1024 <= 2 * 1024 * 1024
