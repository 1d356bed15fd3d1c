"""The two users of the demonstration, and how each gets an access token."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from anyio import Event, create_task_group, sleep

from ... import TEAMS_PHONE_SCOPE, CommunicationTokenCredential
from ._facts import SignIn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from httpx import AsyncClient
    from msal import TokenCache

    from ... import CommunicationIdentityClient
    from ...emulator import Emulator
    from ...entra import DeviceCodeCredential
    from ._report import Report
    from ._story import Story

    MakeCredential: TypeAlias = Callable[..., CommunicationTokenCredential]
    """Makes a user's credential. It takes the arguments that every credential takes, such as a policy."""

PERSON = "alice"
"""The name of the person who signs in to Entra."""


@dataclass(frozen=True)
class Stage:
    """The surroundings of a user.

    Attributes:
        story: The run's story.
        report: Writes the story.
        emulator: The service and Entra.
        http: An HTTP client that trusts them.
        identities: An identity client with the resource's access key.
    """

    story: Story
    report: Report
    emulator: Emulator
    http: AsyncClient
    identities: CommunicationIdentityClient


@asynccontextmanager
async def resource_user(stage: Stage) -> AsyncGenerator[MakeCredential]:
    """A user of the resource alone, whose tokens are issued with the resource's access key."""
    user = await stage.identities.create_user()
    yield partial(CommunicationTokenCredential, token_refresher=partial(stage.identities.get_token, user, ["chat"]))


@asynccontextmanager
async def entra_user(stage: Stage) -> AsyncGenerator[MakeCredential]:
    """A person who signs in to Entra with a device code. Her tokens are exchanged for Teams Phone Extensibility."""
    async with signed_in(stage) as entra:
        yield partial(
            CommunicationTokenCredential,
            resource_endpoint=stage.emulator.endpoint,
            token_credential=entra,
            scopes=(TEAMS_PHONE_SCOPE,),
            http_client=stage.http,
        )


@asynccontextmanager
async def signed_in(stage: Stage, token_cache: TokenCache | None = None) -> AsyncGenerator[DeviceCodeCredential]:
    """The credential of a person, who signs in.

    Args:
        stage: Her surroundings.
        token_cache: Keeps her sign-in, for other processes as well; None for memory.
    """
    from ...entra import DeviceCodeCredential

    emulator, person = stage.emulator, _Person(stage)
    async with DeviceCodeCredential(
        emulator.client_id,
        authority=emulator.authority,
        verify=emulator.ssl_context,
        prompt_callback=person.read,
        token_cache=token_cache,
    ) as entra:
        async with create_task_group() as group:
            group.start_soon(person.enter)
            await entra.sign_in(TEAMS_PHONE_SCOPE)
        yield entra


class _Person:
    """Reads a code off this screen and, after a moment, enters it on another device."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._has_read = Event()
        self._code = ""

    def read(self, page: str, code: str, _expires_on: int) -> None:
        story, report = self._stage.story, self._stage.report
        story.sign_in, self._code = SignIn(story.now(), page, code), code
        text = f"sign in: enter {code} at {page}"
        report.note("sign_in_asked", text, verification_uri=page, user_code=code)
        self._has_read.set()

    async def enter(self) -> None:
        await self._has_read.wait()
        await sleep(0.08 * self._stage.story.seconds)
        self._stage.report.note("code_entered", f"{PERSON} enters the code (the demonstration plays her part)")
        with suppress(ValueError):  # whoever watches has entered the code on the page itself
            self._stage.emulator.approve(self._code, PERSON)
