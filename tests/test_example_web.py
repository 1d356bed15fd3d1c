"""The web apps among the examples, each served over TLS: many clients, people at browsers, and callers with tokens."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from anyio import to_thread
from entra_users import AUTHORITY, CLAIMS, SCOPE, Clock, server_context
from httpx_ws import AsyncWebSocketSession, WebSocketDisconnect, WebSocketUpgradeError, aconnect_ws
from scripted_browser import Form
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from test_examples import credentials_of, issued, load, running, set_environment

from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential, CredentialUsageError
from anyio_acs_credential._exchange import source
from anyio_acs_credential._http.retries import Limits
from anyio_acs_credential.emulator._server import bind, serving
from anyio_acs_credential.testing import ScriptedSource

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from types import ModuleType

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from anyio_acs_credential.emulator import Emulator

SHARING = ["fastapi_app.py", "litestar_app.py", "quart_app.py"]
KEY = {"Authorization": "Bearer the key of the listeners"}


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried three times in a round is tried at once."""
    limits = Limits(backoff=0.01)
    monkeypatch.setattr(source, "_LIMITS", limits)
    monkeypatch.setattr(CommunicationIdentityClient, "_limits", limits)


@pytest.fixture(params=SHARING)
def sharing(request: pytest.FixtureRequest, anyio_backend_name: str) -> str:
    """The name of an app whose handlers share one credential."""
    name: str = request.param
    if (name, anyio_backend_name) == ("quart_app.py", "trio"):
        pytest.skip("Quart does not run on trio")
    return name


@asynccontextmanager
async def served(app: ASGIApp, emulator: Emulator) -> AsyncGenerator[Callable[..., httpx.AsyncClient]]:
    """An app that is served, and what makes a client of it."""
    with bind(0) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        emulator.add_redirect_uri(f"{url}/signed-in")
        context = ssl.create_default_context(cafile=emulator.ca_file)
        AUTHORITY.configure_trust(context)
        async with serving(app, listener, server_context()):
            yield partial(httpx.AsyncClient, base_url=url, verify=context, follow_redirects=True, timeout=30)


@dataclass
class World:
    """An example at work, and what its clients know of it."""

    program: ModuleType
    emulator: Emulator
    client: Callable[..., httpx.AsyncClient]
    credentials: list[CommunicationTokenCredential]

    def caller(self, user: str, *scopes: str) -> httpx.AsyncClient:
        """A program that calls with an Entra token of that user."""
        scopes = scopes or (f"api://{self.emulator.client_id}/access_as_user",)
        token = self.emulator.issue_entra_token(*scopes, user=user)
        return self.client(headers={"Authorization": f"Bearer {token}"})

    def count(self, part: str) -> int:
        return sum(part in request.path for request in self.emulator.requests)


@asynccontextmanager
async def world_of(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Emulator], object] = lambda _emulator: None,
    **settings: Any,
) -> AsyncGenerator[World]:
    async with running(**settings) as (emulator, environment):
        set_environment(monkeypatch, {**environment, "LISTENER_KEY": KEY["Authorization"].removeprefix("Bearer ")})
        program = await to_thread.run_sync(load, name)  # MSAL asks its authority when it is made
        credentials = credentials_of(program, monkeypatch)
        prepare(emulator)
        async with served(program.app, emulator) as client:
            yield World(program, emulator, client, credentials)


async def until(done: Callable[[], bool]) -> None:
    while not done():  # noqa: ASYNC110 - there is no event for it
        await anyio.sleep(0.001)


def listening(client: httpx.AsyncClient, **headers: str) -> AbstractAsyncContextManager[AsyncWebSocketSession]:
    return aconnect_ws("/tokens", client, session_class=AsyncWebSocketSession, headers=headers)


async def test_clients_share_one_credential(sharing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All who ask at once are answered, with one token."""
    async with world_of(sharing, monkeypatch) as world, world.client() as client:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await client.post("/threads/Lunch"))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask)
        assert [answer.status_code for answer in answers] == [201] * 10
        assert len({answer.json()["id"] for answer in answers}) == 10
        assert issued(world.emulator) == 1


async def test_without_a_token_the_client_is_told_to_come_again(sharing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(emulator: Emulator) -> None:
        emulator.fail("issueAccessToken", status=500)

    async with world_of(sharing, monkeypatch, refuse) as world, world.client() as client:
        answer = await client.post("/threads/Lunch")
        assert (answer.status_code, answer.json()["detail"]) == (503, "Try again later.")


async def test_it_ends_at_once_in_the_middle_of_a_refresh(sharing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(emulator: Emulator) -> None:
        emulator.hang("issueAccessToken")

    with anyio.fail_after(50):
        async with world_of(sharing, monkeypatch, hang) as world:
            await until(lambda: issued(world.emulator) == 1)


async def test_a_wrong_place_says_where_the_right_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential that is made with the module and never opened; one that each request opens; one that was closed."""
    never = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))
    shared = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))
    both_there, here = anyio.Event(), []

    async def use(request: Request) -> PlainTextResponse:
        try:
            if request.path_params["place"] == "each request":
                async with shared:
                    here.append(request)
                    await both_there.wait()
            else:
                await {"never": never, "closed": shared}[request.path_params["place"]].get_token()
        except CredentialUsageError as error:
            if here:
                both_there.set()
            return PlainTextResponse(str(error))
        return PlainTextResponse("right")

    async with running() as (emulator, _), served(Starlette(routes=[Route("/{place}", use)]), emulator) as client_of:
        answers = []

        async def ask(place: str) -> None:
            answers.append((await client.get(f"/{place}")).text)

        async with client_of() as client:
            await ask("never")
            async with anyio.create_task_group() as group:
                group.start_soon(ask, "each request")
                group.start_soon(ask, "each request")
            await ask("closed")
    (never_entered, *each_request, closed) = answers
    assert "open it once, where the program starts, such as a web framework's lifespan" in never_entered
    right, opened_twice = sorted(each_request)
    assert right == "right"
    assert opened_twice.startswith("the credential is open already: enter it once, where the program starts")
    assert "enter it again" in closed


async def test_a_websocket_gets_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the moment, and each that replaces it; for as many as listen, whatever they say, until they go."""
    async with world_of("websocket_updates.py", monkeypatch) as world, world.client() as client:
        (credential,) = world.credentials
        with pytest.raises(WebSocketUpgradeError) as refused:
            async with listening(client):
                pass
        assert refused.value.response.status_code == 403
        async with listening(client, **KEY) as listener:
            await listener.send_text("hello")
            async with listening(client, **KEY) as another:
                first = await another.receive_json()
            tokens = [await listener.receive_json()]
            for _ in range(2):
                await credential.refresh()
                tokens.append(await listener.receive_json())
        assert first == tokens[0]
        assert len({token["token"] for token in tokens}) == 3
        assert sorted(token["expires_on"] for token in tokens) == [token["expires_on"] for token in tokens]


async def test_a_websocket_is_hung_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and without an error."""
    ended = anyio.Event()

    async def listen(client: httpx.AsyncClient, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with suppress(WebSocketDisconnect, ExceptionGroup):  # the client's own, where the connection just ends
            async with client, listening(client, **KEY) as listener:
                await listener.receive_json()
                task_status.started()
                await listener.receive()
        ended.set()

    with anyio.fail_after(50):
        async with anyio.create_task_group() as group:
            async with world_of("websocket_updates.py", monkeypatch) as world:
                await group.start(listen, world.client())  # noqa: ASYNC111 - it outlives the app, which hangs up on it
            await ended.wait()


async def test_a_caller_gets_tokens_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it calls, one exchange is made for each; what goes wrong for one is no other's."""
    async with world_of("web_api.py", monkeypatch) as world:
        async with world.caller("alice") as alice, world.caller("bob") as bob, world.caller("carol") as carol:
            answers: dict[httpx.AsyncClient, list[httpx.Response]] = {alice: [], bob: [], carol: []}

            async def call(caller: httpx.AsyncClient) -> None:
                answers[caller].append(await caller.post("/token"))

            async def call_all(*callers: httpx.AsyncClient) -> None:
                async with anyio.create_task_group() as group:
                    for caller in 3 * callers:
                        group.start_soon(call, caller)

            await call_all(alice, carol)
            assert world.count("exchangeAccessToken") == 2
            world.emulator.fail("exchangeAccessToken", status=403)
            await call_all(alice, bob, carol)
        assert [answer.status_code for answer in answers[bob]] == [403] * 3
        tokens = [{answer.raise_for_status().json()["token"] for answer in answers[each]} for each in (alice, carol)]
        assert [len(own) for own in (*tokens, tokens[0] | tokens[1])] == [1, 1, 2]
        assert {answer.headers["Cache-Control"] for answer in answers[alice]} == {"no-store"}


async def test_no_caller_is_believed_before_its_token_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not one whose token names a user whose credential is open; Entra is not asked about it."""
    async with world_of("web_api.py", monkeypatch) as world, world.caller("alice") as alice, world.client() as nobody:
        (await alice.post("/token")).raise_for_status()
        good = alice.headers["Authorization"]
        head, payload, signature = good.split(".")
        for header in ("", "Bearer", "Bearer nonsense", f"{head}.{payload}.{signature[::-1]}"):
            assert (await nobody.post("/token", headers={"Authorization": header})).status_code == 401
        async with world.caller("alice", SCOPE) as stray:  # for another app
            assert (await stray.post("/token")).status_code == 401
        assert world.count("/token") == 1


async def begin(browser: httpx.AsyncClient, user: str, **answers: str) -> Form:
    """What Entra's page has the browser post of a person who has signed in, or declined to."""
    page = await browser.get("/")
    page = await browser.post(page.url, data={**Form(page.text).fields, "user": user, **answers})
    return Form(page.text)


async def sign_in(browser: httpx.AsyncClient, user: str) -> httpx.Response:
    form = await begin(browser, user)
    return await browser.post(form.action, data=form.fields)


async def test_people_sign_in_on_its_page_and_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets tokens of their own, as often as they like, for one exchange; afterwards, Entra is asked again."""
    async with world_of("web_sign_in.py", monkeypatch) as world, world.client() as alice, world.client() as bob:
        tokens = {}
        for browser, user in ((alice, "alice"), (bob, "bob")):
            answer = await sign_in(browser, user)
            tokens[user] = answer.json()["token"]
            assert answer.headers["Cache-Control"] == "no-store"
            assert (await browser.get("/")).json()["token"] == tokens[user]
        assert len(set(tokens.values())) == 2
        assert world.count("exchangeAccessToken") == 2
        (cookie,) = (cookie for cookie in alice.cookies.jar if cookie.value)
        assert cookie.secure
        assert cookie.has_nonstandard_attr("HttpOnly")
        (await alice.post("/sign-out")).raise_for_status()
        assert len(world.program.people) == 1
        assert (await alice.get("/")).url.path.endswith("/authorize")
        (await alice.post("/sign-out")).raise_for_status()
        assert (await bob.get("/")).json()["token"] == tokens["bob"]


async def test_a_sign_in_counts_in_the_browser_in_which_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another browser, a forged state and none are refused, and so are what was used and a person who declines."""
    async with world_of("web_sign_in.py", monkeypatch) as world, world.client() as alice, world.client() as another:
        answer = await begin(alice, "alice")
        await another.get("/")
        for browser, fields in (
            (another, answer.fields),
            (alice, {**answer.fields, "state": "forged"}),
            (alice, {**answer.fields, "state": ""}),
            (alice, {}),
            (another, (await begin(another, "bob", decision="cancel")).fields),
        ):
            assert (await browser.post(answer.action, data=fields)).status_code == 403
        assert world.program.people == {}
        assert (await alice.post(answer.action, data=answer.fields)).json()["token"]
        assert (await alice.post(answer.action, data=answer.fields)).status_code == 403
        assert world.count("/token") == 1


async def test_a_code_of_another_sign_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """PKCE: a stolen code is worth nothing in a sign-in that asked with another challenge."""
    async with world_of("web_sign_in.py", monkeypatch) as world, world.client() as victim, world.client() as thief:
        stolen, own = await begin(victim, "alice"), await begin(thief, "mallory")
        answer = await thief.post(own.action, data={**own.fields, "code": stolen.fields["code"]})
        assert answer.url.path.endswith("/authorize")
        assert world.program.people == {}


async def test_a_person_whom_entra_wants_again_signs_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the held token has ended; a service that fails is no reason; nobody else is touched."""
    clock = Clock(monkeypatch)
    async with (
        world_of("web_sign_in.py", monkeypatch) as world,
        world.client() as alice,
        world.client() as bob,
    ):
        await sign_in(alice, "alice")
        await sign_in(bob, "bob")
        world.emulator.revoke_refresh_tokens("alice")
        world.emulator.require_claims("alice", CLAIMS)  # so that the next exchange needs another Entra token
        assert (await alice.get("/")).url.path == "/"
        clock.ahead += 25 * 3600  # the held tokens end
        assert (await alice.get("/")).url.path.endswith("/authorize")
        assert (await bob.get("/")).json()["token"]
        world.emulator.require_claims("alice", "{}")
        assert (await sign_in(alice, "alice")).json()["token"]
        world.emulator.fail("exchangeAccessToken", status=500)
        assert (await bob.get("/")).status_code == 200
        clock.ahead += 25 * 3600
        assert (await bob.get("/")).status_code == 503
