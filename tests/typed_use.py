"""The public API as programs use it, for type checkers: mypy, basedpyright, pyrefly and ty accept every line.

Nothing runs this. `nox -s types` checks it; `assert_type` says what a checker has to see.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import assert_never, assert_type

import httpx
from azure.core.credentials import TokenCredential
from azure.core.credentials_async import AsyncTokenCredential

from anyio_acs_credential import (
    TEAMS_PHONE_SCOPE,
    AccessKeyAuth,
    AccessToken,
    BearerAuth,
    CommunicationIdentifier,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    CommunicationUserIdentifier,
    ConnectionString,
    CredentialClosed,
    CredentialEvent,
    CredentialPool,
    HealthStatus,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    PhoneNumberIdentifier,
    PoolStatistics,
    RefreshFailed,
    RefreshPolicy,
    RefreshStarted,
    RefreshSucceeded,
    TeamsExtensionUserIdentifier,
    TokenExpired,
    TokenRefreshError,
    TokenSourceError,
    TokenState,
    UnknownIdentifier,
    identifier_from_wire,
    parse_connection_string,
)
from anyio_acs_credential.azure import as_sync_token_credential, as_token_credential
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential, OnBehalfOfCredential
from anyio_acs_credential.otel import instrument
from anyio_acs_credential.testing import ScriptedSource, VirtualClock
from anyio_acs_credential.typing import SupportsGetToken, TokenRefresher


class Shown:
    """Whatever has a token's text and its end, such as what another library returns."""

    token = "opaque"
    expires_on = 2_000_000_000.0


class Server:
    """A source with state of its own: its bound method is given."""

    async def fetch(self) -> str:
        return "a.b.c"


async def fetch_shown() -> Shown:
    return Shown()


async def fetch_for(_user: str, *, scopes: list[str]) -> AccessToken:
    return AccessToken(f"opaque {scopes}", 2_000_000_000)


def made(refresher: TokenRefresher) -> CommunicationTokenCredential:
    """A wrapper of a user's own, annotated with the types that `typing` has."""
    return CommunicationTokenCredential(token_refresher=refresher, policy=RefreshPolicy(proactive_window=300))


def ways_in(person: SupportsGetToken, http: httpx.AsyncClient) -> list[CommunicationTokenCredential]:
    fetch = partial(fetch_for, "8:acs:user", scopes=["chat"])
    return [
        CommunicationTokenCredential("a.b.c"),
        CommunicationTokenCredential(AccessToken("opaque", 2_000_000_000)),
        CommunicationTokenCredential(token_refresher=Server().fetch, observer=print),
        CommunicationTokenCredential("a.b.c", token_refresher=fetch_shown, proactive_refresh=False),
        CommunicationTokenCredential(token_refresher=lambda: fetch_for("8:acs:user", scopes=["voip"])),
        CommunicationTokenCredential(
            resource_endpoint="https://contoso.communication.azure.com",
            token_credential=person,
            scopes=[TEAMS_PHONE_SCOPE],
            http_client=http,
        ),
        made(fetch),
    ]


async def asked(credential: CommunicationTokenCredential) -> None:
    async with credential as entered:
        assert_type(entered, CommunicationTokenCredential)
        token = await credential.get_token()
        assert_type(token, AccessToken)
        assert_type(token.token, str)
        assert_type(token.expires_on, int)
        assert_type(await credential.refresh(rejected=token), AccessToken)
        assert_type(await credential.refresh(rejected=token.token), AccessToken)
        assert_type(credential.get_token_nowait(), AccessToken)
        assert_type(credential.get_token_from_thread(timeout=1.5), AccessToken)
        assert_type(credential.raw_id, str | None)
        assert_type(credential.statistics().state, TokenState)
        assert_type(credential.health(margin=30).status, HealthStatus)
        async for newer in credential.updates():
            assert_type(newer, AccessToken)
        await credential.close()


def told(event: CredentialEvent) -> str:
    """Every kind of event is matched, and a checker knows it."""
    match event:
        case RefreshStarted() | TokenExpired() | CredentialClosed():
            return "nothing to tell"
        case RefreshSucceeded(expires_on=end):
            return f"until {end}"
        case RefreshFailed(error=error, next_attempt_at=then):
            return f"{error}, again at {then}"
        case _:
            assert_never(event)


def named(identifier: CommunicationIdentifier) -> str:
    """Every kind of identifier is matched, and a checker knows it."""
    match identifier:
        case CommunicationUserIdentifier(text) | PhoneNumberIdentifier(text) | UnknownIdentifier(text):
            return text
        case MicrosoftTeamsUserIdentifier(user_id) | TeamsExtensionUserIdentifier(user_id):
            return user_id
        case MicrosoftTeamsAppIdentifier(app_id):
            return app_id
        case _:
            assert_never(identifier)


def read(model: Mapping[str, object]) -> str:
    return named(identifier_from_wire(model))


async def pooled(identity: CommunicationIdentityClient, user_id: str) -> None:
    def make(user: str) -> CommunicationTokenCredential:
        return instrument(CommunicationTokenCredential(token_refresher=partial(identity.get_token, user, ["chat"])))

    async with CredentialPool(make, max_size=10) as pool, pool.use(user_id) as credential:
        assert_type(credential, CommunicationTokenCredential)
        assert_type(pool.statistics(), PoolStatistics)


async def managed(text: str) -> None:
    assert_type(parse_connection_string(text), ConnectionString)
    async with CommunicationIdentityClient.from_connection_string(text) as identity:
        user, token = await identity.create_user_and_token(["chat"], token_expires_in=timedelta(hours=2))
        assert_type(user, CommunicationUserIdentifier)
        assert_type(token, AccessToken)
        assert_type(await identity.get_token(user.raw_id, ["voip"]), AccessToken)
        await identity.revoke_tokens(user)


async def sent(credential: CommunicationTokenCredential, key: str) -> None:
    auth = BearerAuth(credential, hosts=["*.communication.azure.com"])
    async with httpx.AsyncClient(auth=auth) as chat, httpx.AsyncClient(auth=AccessKeyAuth(key)):
        try:
            await chat.get("/chat/threads")
        except TokenRefreshError as error:
            assert_type(error.permanent, bool)
            assert_type(error.retry_after, float | None)
    assert_type(as_token_credential(credential), AsyncTokenCredential)
    assert_type(as_sync_token_credential(credential), TokenCredential)


async def signed_in(assertion: str) -> None:
    async with (
        DeviceCodeCredential("client", tenant_id="tenant") as person,
        OnBehalfOfCredential("client", user_assertion=assertion, client_secret="-") as caller,
    ):
        await person.sign_in(TEAMS_PHONE_SCOPE)
        for source in (person, caller):
            CommunicationTokenCredential(
                resource_endpoint="https://contoso.communication.azure.com", token_credential=source
            )


async def tested() -> None:
    clock = VirtualClock()
    source = ScriptedSource(3600, TokenSourceError("down", retry_after=20), 3600, clock=clock)
    async with open_emulator(token_lifetime=60) as emulator, made(source) as credential:
        assert_type(emulator, Emulator)
        await asked(credential)
