"""The main job on real sockets: a client that outlives its tokens, an outage and a revocation.

It knows nothing of terminals: it writes what happens into a `Story`.
"""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from anyio import create_task_group, sleep

from ... import BearerAuth, CommunicationIdentityClient
from ...emulator import open_emulator
from ._calling import PAUSE, keep_calling, policy
from ._facts import Span
from ._report import ISSUER, Report
from ._story import WORKERS
from ._users import PERSON, Stage, entra_user, resource_user

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ... import CommunicationTokenCredential, RefreshPolicy
    from ...emulator import Emulator
    from ._facts import HeldToken
    from ._story import Story

_WATCH = 0.05  # seconds between two looks at the service's log


async def run_demo(story: Story) -> None:
    """Play the scenario, for about `story.seconds` seconds; its requests are those of `WORKERS` tasks.

    Cancelling it ends everything at once.

    Args:
        story: The story to write.
    """
    async with emulated(story) as (emulator, http, identities):
        scenario = Scenario(story, emulator)
        scenario.begin()
        stage = Stage(story, scenario.report, emulator, http, identities)
        async with (
            entra_user(stage) if story.entra else resource_user(stage) as make_credential,
            make_credential(policy=_policy(story.lifetime), observer=scenario.report.observe) as credential,
            _http_client(emulator, BearerAuth(credential)) as calls,
            scenario.working(calls),
        ):
            await scenario.play(credential, identities)
    story.over = True


@asynccontextmanager
async def emulated(story: Story) -> AsyncGenerator[tuple[Emulator, httpx.AsyncClient, CommunicationIdentityClient]]:
    """The service, an HTTP client that trusts it, and an identity client with its access key."""
    entra_lifetime = 2 * story.lifetime  # an Entra token is renewed at half of its life, which is in the outage
    async with (
        open_emulator(
            token_lifetime=story.lifetime, entra_token_lifetime=entra_lifetime, device_code_interval=1
        ) as emulator,
        _http_client(emulator) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as identities,
    ):
        yield emulator, http, identities


def _policy(lifetime: float) -> RefreshPolicy:
    return policy(lifetime, refresh_timeout=max(0.4, lifetime / 20))  # short, since the service hangs for a while


def _http_client(emulator: Emulator, auth: httpx.Auth | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=emulator.endpoint, verify=emulator.ssl_context, auth=auth)


class Scenario:
    """A run.

    Args:
        story: The story to write.
        emulator: The service.
    """

    def __init__(self, story: Story, emulator: Emulator) -> None:
        self._story = story
        self._emulator = emulator
        self._working = True
        self.report = Report(story, emulator)

    def begin(self) -> None:
        """Start the run's clock."""
        story, emulator = self._story, self._emulator
        story.began = time.monotonic()
        self.report.note("started", f"emulated service at {emulator.endpoint}, token life {story.lifetime:g} s")

    @asynccontextmanager
    async def working(self, calls: httpx.AsyncClient) -> AsyncGenerator[None]:
        """Let the workers send requests while the block runs. At its end they finish the requests in flight."""
        async with create_task_group() as group:
            group.start_soon(self._watch)
            for _ in range(WORKERS):
                group.start_soon(keep_calling, calls, PAUSE, lambda: self._working, self.report.answered)
            yield
            self._working = False
        self.report.catch_up()

    async def _watch(self) -> None:
        while self._working:
            self.report.catch_up()
            await sleep(_WATCH)

    async def play(self, credential: CommunicationTokenCredential, identities: CommunicationIdentityClient) -> None:
        """Let the second token meet an outage and the third a revocation, and wait for the end."""
        story, updates = self._story, credential.updates()
        await anext(updates)
        await anext(updates)
        await self._outage(story.tokens[-1])
        await anext(updates)
        # In the middle of a token's life, since a round in flight could bring a token that is revoked at once.
        await sleep(0.15 * story.lifetime)
        await self._revoke(str(credential.raw_id), identities)
        await self._until(story.seconds)

    async def _outage(self, token: HeldToken) -> None:
        """Break the token endpoint in three ways, from the token's renewal until it has almost expired."""
        story, emulator = self._story, self._emulator
        began = token.renew_at - 0.02 * story.lifetime
        part = (token.expires_at - 0.2 * story.lifetime - began) / 3
        await self._until(began)
        story.outage = Span(story.now())
        self._trouble("outage_began", "outage: ", "does not answer")
        emulator.hang(ISSUER)
        await self._until(began + part)
        self._trouble("outage_changed", "", "cuts its connections")
        emulator.reset(ISSUER)
        await self._until(began + 2 * part)
        self._trouble("outage_changed", "", "answers 503")
        emulator.fail(ISSUER, status=503)
        await self._until(began + 3 * part)
        self.report.note("outage_ended", f"{story.issuer} works again")
        emulator.heal()
        story.trouble, story.outage.ended = "", story.now()

    def _trouble(self, kind: str, intro: str, what: str) -> None:
        self.report.note(kind, f"{intro}{self._story.issuer} {what}")
        self._story.trouble = what

    async def _revoke(self, identity: str, identities: CommunicationIdentityClient) -> None:
        """End all tokens: the service's, and a person's Entra token, as a new password does."""
        story, what = self._story, "all tokens revoked: the service turns them down"
        if story.entra:
            since = {"essential": True, "value": str(int(time.time()))}
            self._emulator.require_claims(PERSON, json.dumps({"access_token": {"nbf": since}}))
            what = f"all tokens revoked, and {PERSON}'s Entra token with them"
        await identities.revoke_tokens(identity)
        story.revoked_at = story.now()
        self.report.note("tokens_revoked", what)

    async def _until(self, at: float) -> None:
        await sleep(max(0.0, at - self._story.now()))
