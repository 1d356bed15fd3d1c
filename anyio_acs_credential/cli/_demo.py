"""The main job on real sockets: a chat client that outlives its tokens, an outage and a revocation.

It knows nothing of terminals: what happens is written into a `Story`.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx
from anyio import create_task_group, sleep

from .. import BearerAuth, CommunicationIdentityClient, CommunicationTokenCredential, CredentialError, RefreshPolicy
from .._events import RefreshStarted, RefreshSucceeded
from ..emulator import open_emulator
from ._story import WORKERS, Event, HeldToken, Span, TokenRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from .. import CredentialEvent
    from ..emulator import Emulator
    from ._story import Story

__all__ = ("run_demo",)

_PAUSE = 0.08  # seconds between two requests of a worker
_WATCH = 0.05  # seconds between two looks at the service's log
_TOKEN_ENDPOINT = "issueAccessToken"  # noqa: S105 - a part of its path
_THREADS = "/chat/threads?api-version=2024-03-07"


async def run_demo(story: Story) -> None:
    """Play the scenario, for about `story.seconds` seconds; its requests are those of `WORKERS` tasks.

    Cancelling it ends everything at once.

    Args:
        story: Where to write what happens.
    """
    async with (
        open_emulator(token_lifetime=story.lifetime) as emulator,
        _http_client(emulator) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as identities,
    ):
        user = await identities.create_user()
        scenario = _Scenario(story, emulator)
        credential = CommunicationTokenCredential(
            token_refresher=partial(identities.get_token, user, ["chat"]),
            policy=_policy(story.lifetime),
            observer=scenario.observe,
        )
        async with credential, _http_client(emulator, BearerAuth(credential)) as chat, scenario.working(chat):
            await scenario.play(credential, partial(identities.revoke_tokens, user))
    story.over = True


def _http_client(emulator: Emulator, auth: httpx.Auth | None = None) -> httpx.AsyncClient:
    # A proxy that the environment names would not find this machine's loopback.
    return httpx.AsyncClient(base_url=emulator.endpoint, verify=emulator.ssl_context, auth=auth, trust_env=False)


def _policy(lifetime: float) -> RefreshPolicy:
    """What the defaults are to a token of a day, for one of seconds."""
    return RefreshPolicy(
        proactive_window=lifetime / 2,
        on_demand_window=lifetime / 20,
        on_demand_wait=0.1,
        refresh_timeout=max(0.4, lifetime / 20),
        retry_initial=lifetime / 40,
        retry_max=lifetime / 20,
        jitter=0,
    )


class _Scenario:
    def __init__(self, story: Story, emulator: Emulator) -> None:
        self._story = story
        self._emulator = emulator
        self._seen = len(emulator.requests)  # of its log, which holds more requests than the longest run makes
        self._working = True
        story.began = time.monotonic()
        self._note("started", f"emulated service at {emulator.endpoint}, token life {story.lifetime:g} s")

    @asynccontextmanager
    async def working(self, chat: httpx.AsyncClient) -> AsyncGenerator[None]:
        """Let the workers ask the chat endpoint while the block runs; at its end they finish what they began."""
        async with create_task_group() as group:
            group.start_soon(self._watch)
            for _ in range(WORKERS):
                group.start_soon(self._work, chat)
            yield
            self._working = False
        self._catch_up()

    async def _work(self, chat: httpx.AsyncClient) -> None:
        while self._working:
            try:
                status = (await chat.get(_THREADS)).status_code
                problem = "" if status == 200 else f"its answer is {status}"
            except (httpx.HTTPError, CredentialError) as error:
                problem = type(error).__name__
            self._story.answers.append(self._story.now())
            if problem:
                self._story.failed += 1
                self._note("request_failed", f"a request failed: {problem}")
            await sleep(_PAUSE)

    async def play(self, credential: CommunicationTokenCredential, revoke: Callable[[], Awaitable[None]]) -> None:
        """Let the second token meet an outage and the next a revocation, and wait for the end."""
        story, updates = self._story, credential.updates()
        await anext(updates)
        await anext(updates)
        await self._outage(story.tokens[-1])
        await anext(updates)
        # In the middle of a token's life: a round in flight could still bring a token that is about to be revoked.
        await sleep(0.15 * story.lifetime)
        await revoke()
        story.revoked_at = story.now()
        self._note("tokens_revoked", "all tokens revoked: the service turns them down")
        await self._until(story.seconds)

    async def _outage(self, token: HeldToken) -> None:
        """Break the token endpoint in three ways, from when the token is to be renewed until it is almost over."""
        story, emulator = self._story, self._emulator
        began = token.renew_at - 0.02 * story.lifetime
        part = (token.expires_at - 0.2 * story.lifetime - began) / 3
        await self._until(began)
        story.outage = Span(story.now())
        self._trouble("outage_began", "outage: the token endpoint", "does not answer")
        emulator.hang(_TOKEN_ENDPOINT)
        await self._until(began + part)
        self._trouble("outage_changed", "the token endpoint", "cuts its connections")
        emulator.reset(_TOKEN_ENDPOINT)
        await self._until(began + 2 * part)
        self._trouble("outage_changed", "the token endpoint", "answers 503")
        emulator.fail(_TOKEN_ENDPOINT, status=503)
        await self._until(began + 3 * part)
        self._note("outage_ended", "the token endpoint works again")
        emulator.heal()
        story.trouble, story.outage.ended = "", story.now()

    def _trouble(self, kind: str, where: str, what: str) -> None:
        self._note(kind, f"{where} {what}")
        self._story.trouble = what

    async def _until(self, at: float) -> None:
        await sleep(max(0.0, at - self._story.now()))

    def observe(self, event: CredentialEvent) -> None:
        """What the credential tells."""
        match event:
            case RefreshStarted(forced=True):
                self._note("token_rejected", "a request met a 401: new token, and the request once more")
            case RefreshSucceeded(expires_on=expires_on, next_refresh_at=next_refresh_at):
                self._hold(expires_on, next_refresh_at or expires_on)

    def _hold(self, expires_on: float, renew_on: float) -> None:
        story, now = self._story, self._story.now()
        token = HeldToken(now, self._offset(renew_on), self._offset(expires_on))
        fate = _fate(story.tokens[-1], story.revoked_at, now) if story.tokens else ""
        story.tokens.append(token)
        number, life = len(story.tokens), token.expires_at - now
        self._note("token_fetched", f"token {number}, good for {life:.1f} s{fate}", number=number, life=round(life, 3))

    async def _watch(self) -> None:
        while self._working:
            self._catch_up()
            await sleep(_WATCH)

    def _catch_up(self) -> None:
        """Take note of what the service has seen since the last time."""
        records = self._emulator.requests
        new, self._seen = records[self._seen :], len(records)
        for record in new:
            if _TOKEN_ENDPOINT in record.path:
                self._count_token_request(self._offset(record.time), record.status == 200)
            elif record.status == 401:
                self._story.turned_down += 1

    def _count_token_request(self, at: float, granted: bool) -> None:
        self._story.token_requests.append(TokenRequest(at, granted))
        if not granted:
            text = f"token request failed: the endpoint {self._story.trouble}"
            self._story.events.append(Event(at, "token_request_failed", text, {}))

    def _note(self, kind: str, text: str, **details: float | str) -> None:
        self._catch_up()
        self._story.events.append(Event(self._story.now(), kind, text, details))

    def _offset(self, unix_time: float) -> float:
        return self._story.now() + unix_time - time.time()


def _fate(token: HeldToken, revoked_at: float | None, now: float) -> str:
    if revoked_at is not None and revoked_at > token.at:
        return "; the one before was revoked"
    return f"; the one before had {token.expires_at - now:.1f} s left"
