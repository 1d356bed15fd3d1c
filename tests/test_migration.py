"""What the pages about migrating say, beside the real packages that programs come from."""

from __future__ import annotations

import asyncio
import inspect
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import azure.identity
import httpx
import pytest
from azure.core.credentials import AccessToken as AzureAccessToken
from azure.core.exceptions import ClientAuthenticationError
from entra_users import SCOPE, skip_pauses

import anyio_acs_credential as ours
from anyio_acs_credential import entra
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra._settings import check_settings
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio_acs_credential.emulator import Emulator

chat = pytest.importorskip("azure.communication.chat")
Official = pytest.importorskip("azure.communication.chat.aio").CommunicationTokenCredential
OfficialIdentity = pytest.importorskip("azure.communication.identity.aio").CommunicationIdentityClient

pytestmark = pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utcnow:DeprecationWarning")  # theirs

GUID = "45ab2481-1c1c-4005-be24-0ffb879b1130"
ENCRYPTED = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a2V5.aXY.Y2lwaGVydGV4dA.dGFn"


# From azure-identity


def theirs(emulator: Emulator) -> dict[str, Any]:
    return {
        "authority": emulator.endpoint,
        "tenant_id": emulator.tenant_id,
        "disable_instance_discovery": True,
        "connection_verify": emulator.ca_file,
    }


def parameters(callable_: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(callable_).parameters)


def documented(cls: type) -> str:
    return f"{cls.__doc__}{inspect.getsource(cls)}"


@pytest.mark.parametrize("name", sorted(set(entra.__all__) - {"MsalCredential"}))
def test_the_names_of_credentials_are_azure_identitys(name: str) -> None:
    assert hasattr(azure.identity, name)
    assert next(iter(parameters(getattr(entra, name)))) == "client_id"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("DeviceCodeCredential", ["prompt_callback"]),
        ("InteractiveBrowserCredential", ["redirect_uri", "login_hint", "timeout"]),
        ("AuthorizationCodeCredential", ["authorization_code", "redirect_uri", "client_secret"]),
        ("OnBehalfOfCredential", ["user_assertion", "client_secret", "client_certificate"]),
    ],
)
def test_the_names_of_arguments_are_azure_identitys(name: str, arguments: list[str]) -> None:
    mine, other = getattr(entra, name), getattr(azure.identity, name)
    for argument in arguments:
        assert parameters(mine)[argument].kind is inspect.Parameter.KEYWORD_ONLY
        assert argument in documented(other)


def test_what_azure_identity_takes_and_this_package_does_not() -> None:
    """The page names what to write instead."""
    assert list(parameters(azure.identity.AuthorizationCodeCredential))[:2] == ["tenant_id", "client_id"]
    assert list(parameters(azure.identity.OnBehalfOfCredential))[:2] == ["tenant_id", "client_id"]
    assert "timeout" in parameters(azure.identity.DeviceCodeCredential)
    azure.identity.DeviceCodeCredential()  # its client_id may be left out
    for option in ("timeout", "cache_persistence_options", "authentication_record", "connection_verify"):
        unknown: dict[str, Any] = {option: None}
        with pytest.raises(TypeError, match=option):
            entra.DeviceCodeCredential("app", **unknown)
    with pytest.raises(ValueError, match="port"):
        azure.identity.InteractiveBrowserCredential(redirect_uri="http://localhost")
    entra.InteractiveBrowserCredential("app", redirect_uri="http://localhost")
    with pytest.raises(TypeError, match="client_id"):
        entra.DeviceCodeCredential()  # type: ignore[call-arg]


def test_the_defaults_are_azure_identitys() -> None:
    person = azure.identity.DeviceCodeCredential("app")
    assert person._authority == "https://login.microsoftonline.com"
    assert person._tenant_id == "organizations"
    assert person._timeout is None
    assert parameters(entra.InteractiveBrowserCredential)["timeout"].default == 300
    assert azure.identity.InteractiveBrowserCredential()._timeout == 300
    assert check_settings("app").msal["authority"] == "https://login.microsoftonline.com/organizations"


@pytest.mark.parametrize("variable", ["https://login.microsoftonline.us", "login.microsoftonline.us"])
def test_only_azure_identity_reads_the_authority_from_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", variable)
    assert azure.identity.DeviceCodeCredential("app")._authority == "https://login.microsoftonline.us"
    assert check_settings("app").msal["authority"] == "https://login.microsoftonline.com/organizations"


@pytest.mark.parametrize("authority", ["login.microsoftonline.us", "https://login.microsoftonline.us/"])
def test_an_authority_is_written_as_in_azure_identity(authority: str) -> None:
    told = check_settings("app", authority=authority, tenant_id=GUID).msal["authority"]
    person = azure.identity.DeviceCodeCredential("app", authority=authority, tenant_id=GUID)
    assert told == f"{person._authority}/{GUID}"


async def test_a_prompt_gets_what_azure_identitys_gets_but_for_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page turns the one into the other."""
    skip_pauses(monkeypatch)
    shown: list[tuple[str, str, Any]] = []

    async with open_emulator() as emulator:

        def show(uri: str, code: str, expires_on: Any) -> None:
            shown.append((uri, code, expires_on))
            emulator.approve(code, "alice")

        def sign_in() -> None:
            with azure.identity.DeviceCodeCredential(
                emulator.client_id, prompt_callback=show, **theirs(emulator)
            ) as person:
                person.authenticate(scopes=[SCOPE])

        await anyio.to_thread.run_sync(sign_in)
        mine = entra.DeviceCodeCredential(
            emulator.client_id, prompt_callback=show, authority=emulator.authority, verify=emulator.ssl_context
        )
        await mine.sign_in(SCOPE)
    (their_uri, _, moment), (uri, _, seconds) = shown
    assert uri == their_uri
    assert type(seconds) is int
    assert moment.tzinfo is UTC
    assert abs((datetime.fromtimestamp(seconds, UTC) - moment).total_seconds()) < 60


async def test_only_sign_in_asks_a_person() -> None:
    """Where azure-identity is told not to, it raises its own error; here a typed one of ours says so."""
    with (
        azure.identity.DeviceCodeCredential("app", disable_automatic_authentication=True) as other,
        pytest.raises(azure.identity.AuthenticationRequiredError),
    ):
        await anyio.to_thread.run_sync(other.get_token, SCOPE)
    with pytest.raises(ours.SignInRequiredError):
        await entra.DeviceCodeCredential("app").get_token(SCOPE)
    assert issubclass(azure.identity.AuthenticationRequiredError, ClientAuthenticationError)
    assert issubclass(ours.SignInRequiredError, ours.TokenSourceError)


# From the official package; it is for asyncio alone


class BackendDownError(Exception):
    """What a refresher raises."""


async def fail() -> Any:
    raise BackendDownError


def test_what_a_refresher_raises_is_a_cause_here() -> None:
    async def main() -> None:
        with pytest.raises(BackendDownError):
            await Official(make_jwt(-60), token_refresher=fail).get_token()
        async with ours.CommunicationTokenCredential(token_refresher=fail) as credential:
            errors = await asyncio.gather(*(credential.get_token() for _ in range(2)), return_exceptions=True)
        assert [type(error) for error in errors] == [ours.TokenRefreshError] * 2
        assert errors[0] is not errors[1]
        assert all(isinstance(error.__cause__, BackendDownError) for error in errors if isinstance(error, Exception))

    asyncio.run(main())


RAW_IDS = [
    f"8:acs:{GUID}_00000000-0000-0000-0000-000000000001",
    "4:+14255550123",
    f"8:orgid:{GUID}",
    f"8:teamsvisitor:{GUID}",
    f"28:gcch:{GUID}",
    "anything else",
]


@pytest.mark.parametrize("raw_id", RAW_IDS)
def test_the_properties_of_identifiers_are_attributes_here(raw_id: str) -> None:
    official = chat.identifier_from_raw_id(raw_id)
    mine = ours.identifier_from_raw_id(raw_id)
    assert not hasattr(mine, "properties")
    assert official.properties or official.kind == "unknown"
    for name, value in official.properties.items():
        # The clouds are an enumeration there, in capitals.
        assert getattr(mine, name) == (value.value.lower() if name == "cloud" else value), name


def test_the_identity_client_gives_a_time_as_text_there_and_seconds_here() -> None:
    async def main() -> None:
        async with open_emulator() as emulator:
            make = OfficialIdentity.from_connection_string
            async with make(emulator.connection_string, connection_verify=emulator.ca_file) as identity:
                theirs = await identity.get_token(await identity.create_user(), ["chat"])
            async with (
                httpx.AsyncClient(verify=emulator.ssl_context) as client,
                ours.CommunicationIdentityClient.from_connection_string(
                    emulator.connection_string, http_client=client
                ) as mine,
            ):
                token = await mine.get_token(await mine.create_user(), ["chat"])
        assert isinstance(theirs.expires_on, str)
        assert abs(datetime.fromisoformat(theirs.expires_on).timestamp() - token.expires_on) < 60
        assert type(token.expires_on) is int

        async def text() -> Any:
            return theirs

        async with ours.CommunicationTokenCredential(token_refresher=text) as credential:
            assert type((await credential.get_token()).expires_on) is int

    asyncio.run(main())


def test_an_encrypted_token_needs_its_expiry_in_both() -> None:
    soon = int(time.time()) + 3600

    async def give(token: Any) -> Any:
        return token

    async def main() -> None:
        with pytest.raises(ValueError, match="not formatted correctly"):
            Official(ENCRYPTED)
        with pytest.raises(ours.InvalidTokenError, match="expir"):
            ours.CommunicationTokenCredential(ENCRYPTED)
        refresher = partial(give, AzureAccessToken(ENCRYPTED, soon))
        assert (await Official(make_jwt(-60), token_refresher=refresher).get_token()).token == ENCRYPTED
        async with ours.CommunicationTokenCredential(token_refresher=refresher) as credential:
            assert (await credential.get_token()).token == ENCRYPTED
        first = ours.AccessToken(ENCRYPTED, soon)
        assert await ours.CommunicationTokenCredential(first).get_token() == first
        async with ours.CommunicationTokenCredential(token_refresher=partial(give, ENCRYPTED)) as credential:
            with pytest.raises(ours.TokenRefreshError):
                await credential.get_token()

    asyncio.run(main())


async def test_another_person_counts_from_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """And `refresh()` makes that one."""
    skip_pauses(monkeypatch)
    people = iter(["alice", "bob"])
    async with open_emulator() as emulator:
        person = entra.DeviceCodeCredential(
            emulator.client_id,
            authority=emulator.authority,
            verify=emulator.ssl_context,
            prompt_callback=lambda _uri, code, _expires_on: emulator.approve(code, next(people)),
        )
        await person.sign_in(SCOPE)
        async with (
            httpx.AsyncClient(verify=emulator.ssl_context) as client,
            ours.CommunicationTokenCredential(
                resource_endpoint=emulator.endpoint, token_credential=person, http_client=client
            ) as credential,
        ):
            first = await credential.get_token()
            alice = credential.raw_id
            await person.sign_in(SCOPE)
            assert await credential.get_token() is first
            assert credential.raw_id == alice
            await credential.refresh()
            assert credential.raw_id not in (None, alice)
