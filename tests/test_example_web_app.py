"""examples/web_app.py, served over TLS, with people at scripted browsers and programs that call its API."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from anyio.streams.text import TextReceiveStream
from entra_users import AUTHORITY, CLAIMS, SCOPE, server_context
from scripted_browser import Form
from test_examples import EXAMPLES, load, running, set_environment

from anyio_acs_credential.emulator._server import bind, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio_acs_credential.emulator import Emulator


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@dataclass
class World:
    """The app at work, and what its users know of it."""

    url: str
    site: Any
    emulator: Emulator
    context: ssl.SSLContext

    def browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=self.context, follow_redirects=True, timeout=10)

    def token(self, user: str, *scopes: str) -> dict[str, str]:
        scopes = scopes or (f"api://{self.emulator.client_id}/access_as_user",)
        return {"Authorization": f"Bearer {self.emulator.issue_entra_token(*scopes, user=user)}"}

    def count(self, part: str) -> int:
        return sum(part in request.path for request in self.emulator.requests)


@asynccontextmanager
async def serving_app(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncGenerator[World]:
    async with running(**settings) as (emulator, environment):
        with bind(0) as listener:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            emulator.add_redirect_uri(f"{url}/signed-in")
            set_environment(monkeypatch, {**environment, "APP_URL": url})
            context = ssl.create_default_context(cafile=emulator.ca_file)
            AUTHORITY.configure_trust(context)
            site = load("web_app.py").Site()
            async with serving(site.app(), listener, server_context()):
                yield World(url, site, emulator, context)


async def begin(browser: httpx.AsyncClient, user: str) -> Form:
    """What Entra's page brings back to the app when a person has signed in."""
    page = await browser.get("/sign-in")
    page = await browser.post(page.url, data={**Form(page.text).fields, "user": user})
    return Form(page.text)


async def sign_in(browser: httpx.AsyncClient, user: str) -> str:
    """The page that a person sees who has signed in."""
    answer = await begin(browser, user)
    return (await browser.post(answer.action, data=answer.fields)).raise_for_status().text


async def test_many_users_each_with_one_credential(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the page or by the API, at the same time or again, each user is signed in and exchanged for once."""
    caplog.set_level(logging.INFO)
    async with serving_app(monkeypatch) as world, world.browser() as alice, world.browser() as bob:
        pages = {}

        async def visit(browser: httpx.AsyncClient, user: str) -> None:
            pages[user] = await sign_in(browser, user)

        async def call(user: str) -> None:
            answer = await alice.post("/api/threads", headers=world.token(user), json={"topic": "Lunch"})
            assert answer.status_code == 201, answer.text
            creators.add(answer.json()["createdByCommunicationIdentifier"]["rawId"])

        creators: set[str] = set()
        async with anyio.create_task_group() as group:
            group.start_soon(visit, alice, "alice")
            group.start_soon(visit, bob, "bob")
            for _ in range(3):
                group.start_soon(call, "carol")
        for user in ("alice", "bob"):
            object_id = world.emulator.add_user(user)
            assert f"_{object_id} has 0 threads" in pages[user]
            assert [f"_{object_id} has" in (await browser.get("/")).text for browser in (alice, bob)] == [
                user == "alice",
                user == "bob",
            ]
        await call("alice")
        assert {each.rpartition("_")[2] for each in creators} == {
            world.emulator.add_user("alice"),
            world.emulator.add_user("carol"),
        }
        assert world.count("exchangeAccessToken") == 3
        assert world.count("/token") == 3
        for secret in (world.emulator.client_secret, "Bearer ey", *(cookie.value for cookie in alice.cookies.jar)):
            assert secret
            assert secret not in caplog.text
        assert "code=" not in caplog.text


async def test_signing_out_closes_the_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_app(monkeypatch) as world, world.browser() as browser:
        await sign_in(browser, "alice")
        session = browser.cookies["session"]
        assert 'href="/sign-in"' in (await browser.post("/sign-out")).text
        assert world.emulator.add_user("alice") not in world.site.people
        assert session not in world.site.sessions
        assert "has 0 threads" in await sign_in(browser, "alice")


async def test_a_credential_that_was_closed_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after half an hour without a use: the person need not sign in again."""
    async with serving_app(monkeypatch) as world, world.browser() as browser:
        await sign_in(browser, "alice")
        await world.site.pool.discard(world.emulator.add_user("alice"))
        assert "has 0 threads" in (await browser.get("/")).text
        assert (world.count("exchangeAccessToken"), world.count("/token")) == (2, 1)


async def test_a_sign_in_counts_in_the_browser_in_which_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another browser, a forged state and none are refused, and so is what was used; the code is not shown to Entra."""
    async with serving_app(monkeypatch) as world, world.browser() as browser, world.browser() as another:
        answer = await begin(browser, "alice")
        await another.get("/sign-in")
        for sender, fields in [
            (another, answer.fields),
            (browser, {**answer.fields, "state": "forged"}),
            (browser, {**answer.fields, "state": ""}),
            (browser, {}),
        ]:
            assert (await sender.post("/signed-in", data=fields)).status_code == 400
        assert world.count("/token") == 0
        assert (await browser.post("/signed-in", data=answer.fields)).status_code == 200
        assert (await browser.post("/signed-in", data=answer.fields)).status_code == 400
        assert world.count("/token") == 1


async def test_a_code_of_another_sign_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """PKCE: a stolen code is worth nothing in a sign-in that asked with another challenge."""
    async with serving_app(monkeypatch) as world, world.browser() as victim, world.browser() as thief:
        stolen, own = await begin(victim, "alice"), await begin(thief, "mallory")
        refused = await thief.post("/signed-in", data={**own.fields, "code": stolen.fields["code"]})
        assert (refused.status_code, "session" in thief.cookies) == (403, False)


async def test_a_person_who_cancels_is_not_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_app(monkeypatch) as world, world.browser() as browser:
        page = await browser.get("/sign-in")
        page = await browser.post(page.url, data={**Form(page.text).fields, "decision": "cancel"})
        answer = Form(page.text)
        assert (await browser.post(answer.action, data=answer.fields)).status_code == 403
        assert 'href="/sign-in"' in (await browser.get("/")).text


async def test_the_api_believes_no_token_before_it_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not one that names a user whose credential is open."""
    async with serving_app(monkeypatch) as world, world.browser() as browser:
        await sign_in(browser, "alice")
        good = world.token("alice")["Authorization"]
        head, payload, signature = good.split(".")
        own = f"api://{world.emulator.client_id}"
        for expected, headers in [
            (401, {}),
            (401, {"Authorization": "Bearer nonsense"}),
            (401, {"Authorization": f"{head}.{payload}.{signature[::-1]}"}),
            (401, world.token("alice", SCOPE)),
            (403, world.token("alice", f"{own}/something.else")),
            (201, {"Authorization": good}),
        ]:
            answer = await browser.post("/api/threads", headers=headers, json={"topic": "Lunch"})
            assert answer.status_code == expected, answer.text
        assert world.count("/token") == 1


@pytest.mark.parametrize("body", [b"", b"Lunch", b"[]", b"{}", b'"topic"'])
async def test_the_api_says_what_it_takes(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_app(monkeypatch) as world, world.browser() as program:
        answer = await program.post("/api/threads", headers=world.token("carol"), content=body)
        assert (answer.status_code, "Send an object such as" in answer.text) == (400, True)


async def test_a_user_whom_entra_wants_again_signs_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says so once the held token has ended; other users are not touched, and afterwards all is well."""
    async with serving_app(monkeypatch, token_lifetime=2) as world, world.browser() as alice, world.browser() as bob:
        await sign_in(alice, "alice")
        await sign_in(bob, "bob")
        world.emulator.revoke_refresh_tokens("alice")
        world.emulator.require_claims("alice", CLAIMS)  # so that the next exchange needs another Entra token
        while (page := await alice.get("/")).status_code == 200:  # noqa: ASYNC110 - the end of the token is the event
            await anyio.sleep(0.1)
        assert (page.status_code, page.text) == (401, "Sign in again.")
        assert 'href="/sign-in"' in (await alice.get("/")).text
        assert "has 0 threads" in (await bob.get("/")).text
        world.emulator.require_claims("alice", "{}")
        assert "has 0 threads" in await sign_in(alice, "alice")


async def send_cookies(browser: httpx.AsyncClient, request: httpx.Request) -> None:
    """Send secure cookies over http too, as browsers do to loopback."""
    request.headers["Cookie"] = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to end it with")
async def test_it_runs_with_what_its_docstring_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process of its own, which says where it is, serves on loopback, and ends when it is told to."""
    async with running() as (emulator, environment):
        with bind(0) as probe:
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        set_environment(monkeypatch, {**environment, "APP_URL": url})
        process = await anyio.open_process(
            [sys.executable, "-u", "-W", "error", str(EXAMPLES / "web_app.py")], stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        output, text = TextReceiveStream(process.stdout), ""
        async with process:
            try:
                while "Running on" not in text:
                    text += await output.receive()
                async with httpx.AsyncClient(
                    base_url=url, verify=emulator.ssl_context, follow_redirects=True
                ) as browser:
                    browser.event_hooks = {"request": [partial(send_cookies, browser)]}
                    assert "has 0 threads" in await sign_in(browser, "alice")
            finally:
                process.terminate()
            async for more in output:
                text += more
        assert process.returncode == 0, text
        assert "Traceback" not in text
