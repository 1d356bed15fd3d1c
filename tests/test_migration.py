"""What the pages about migrating say, beside the real packages that programs come from."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import azure.identity
import httpx
import jwt
import pytest
from azure.core.credentials import AccessToken as AzureAccessToken
from azure.core.exceptions import ClientAuthenticationError
from certificates import rsa_certificate
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509 import load_pem_x509_certificate
from entra_users import SCOPE, skip_pauses
from promises import ROOT

import anyio_acs_credential as ours
from anyio_acs_credential import entra
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.emulator._entra.client_secrets import ClientSecrets
from anyio_acs_credential.entra._settings import check_settings
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anyio_acs_credential.emulator import Emulator

chat = pytest.importorskip("azure.communication.chat")
Official = pytest.importorskip("azure.communication.chat.aio").CommunicationTokenCredential
OfficialIdentity = pytest.importorskip("azure.communication.identity.aio").CommunicationIdentityClient

pytestmark = pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utcnow:DeprecationWarning")  # theirs

PAGE = (ROOT / "docs" / "how-to" / "migrate-azure-identity.md").read_text("utf-8")
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
    with pytest.raises(ValueError, match="port"):
        azure.identity.InteractiveBrowserCredential(redirect_uri="http://localhost")
    entra.InteractiveBrowserCredential("app", redirect_uri="http://localhost")
    with pytest.raises(TypeError, match="client_id"):
        entra.DeviceCodeCredential()  # type: ignore[call-arg]


NAMES = sorted(set(entra.__all__) - {"MsalCredential"})
NEEDED: dict[str, dict[str, Any]] = {
    "AuthorizationCodeCredential": {"authorization_code": "code", "redirect_uri": "http://localhost"},
    "OnBehalfOfCredential": {"user_assertion": "token", "client_secret": "secret"},
}
OF_AZURE_CORE = {"connection_timeout", "connection_verify", "proxies", "read_timeout", "transport"}
COMMON = {"tenant_id", "authority", "disable_instance_discovery", "token_cache", "verify"}


@pytest.mark.parametrize("name", NAMES)
def test_each_argument_of_azure_identity_is_taken_or_led_on(name: str) -> None:
    """An error names the class that was called and what to do, and the page has a row for it."""
    cls, other = getattr(entra, name), getattr(azure.identity, name)
    there = set(re.findall(r":(?:keyword|param)[^:]*?(\w+):", other.__doc__)) | set(parameters(other)) | OF_AZURE_CORE
    there |= {"additionally_allowed_tenants", "cache_persistence_options"}  # of all, and not in every docstring
    for argument in there - {"args", "kwargs"} - set(parameters(cls)) - COMMON:
        unknown: dict[str, Any] = {argument: "secret-to-show-nobody"}
        with pytest.raises(TypeError, match=rf"^{name} takes no {argument}: (?!it takes)") as raised:
            cls("app", **NEEDED.get(name, {}), **unknown)
        assert "secret" not in str(raised.value).replace("client_secret", "")
        assert "#entra-arguments" in raised.value.__notes__[0]
        assert re.search(rf"^\| [^|]*`{argument}`", PAGE, re.MULTILINE), argument


@pytest.mark.parametrize("name", NAMES)
def test_an_argument_that_nobody_has_is_refused_with_those_that_there_are(name: str) -> None:
    unknown: dict[str, Any] = {"scopes": [SCOPE]}
    with pytest.raises(
        TypeError, match=rf"^{name} takes no scopes: it takes client_id, .*tenant_id, .*verify\n"
    ) as raised:
        getattr(entra, name)("app", **NEEDED.get(name, {}), **unknown)
    assert "options" not in str(raised.value)


def test_a_passphrase_is_no_argument_of_a_sign_in() -> None:
    unknown: dict[str, Any] = {"password": "phrase"}
    with pytest.raises(TypeError, match="DeviceCodeCredential takes no password: it takes client_id, prompt_callback"):
        entra.DeviceCodeCredential("app", **unknown)


async def test_a_certificate_is_given_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a passphrase, sent in the header, the whole chain with a thumbprint; or as an assertion of one's own."""
    sent: list[str] = []
    check = ClientSecrets._check_assertion

    def note(secrets: ClientSecrets, assertion: str) -> None:
        sent.append(assertion)
        check(secrets, assertion)

    monkeypatch.setattr(ClientSecrets, "_check_assertion", note)
    issued, phrase = rsa_certificate("service.example"), BestAvailableEncryption(b"phrase")
    key: Any = load_pem_private_key(issued.private_key_pem.bytes(), None)
    pem = issued.cert_chain_pems[0].bytes()
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem
    with_phrase = {
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, phrase).decode(),
        "passphrase": "phrase",
    }
    certificate = load_pem_x509_certificate(pem)
    thumbprint = certificate.fingerprint(SHA1()).hex()  # noqa: S303 - which Entra names it by
    pfx = tmp_path / "own.pfx"
    pfx.write_bytes(serialize_key_and_certificates(b"own", key, certificate, None, phrase))
    async with open_emulator() as emulator:
        emulator.add_client_certificate(pem)
        for given, length in (
            (plain, 1),
            ({**with_phrase, "public_certificate": pem.decode()}, 1),
            ({**with_phrase, "public_certificate": 2 * pem.decode(), "thumbprint": thumbprint}, 2),
            ({"private_key_pfx_path": str(pfx), "passphrase": "phrase"}, 0),
            ({"client_assertion": lambda: sent[0]}, 1),
        ):
            form: Any = given
            service = entra.OnBehalfOfCredential(
                emulator.client_id,
                user_assertion=emulator.issue_entra_token(f"api://{emulator.client_id}/access_as_user"),
                client_certificate=form,
                authority=emulator.authority,
                verify=emulator.ssl_context,
            )
            await service.get_token(SCOPE)
            assert len(jwt.get_unverified_header(sent[-1]).get("x5c", ())) == length
    assert len(sent) == 5


async def test_a_token_of_another_tenant_is_refused_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever the credential's own is called, by its id, by its domain or by any."""
    skip_pauses(monkeypatch)
    other = azure.identity.ClientSecretCredential(GUID, "app", "secret")
    with pytest.raises(ClientAuthenticationError, match="not configured to acquire tokens for tenant contoso"):
        await anyio.to_thread.run_sync(lambda: other.get_token(SCOPE, tenant_id="contoso.com"))
    async with open_emulator() as emulator:
        for authority, own in (
            (emulator.authority, {emulator.tenant_id}),
            (f"{emulator.endpoint}/organizations/v2.0", {emulator.tenant_id, "organizations"}),
        ):
            mine = entra.DeviceCodeCredential(
                emulator.client_id,
                prompt_callback=lambda _uri, code, _expires_on: emulator.approve(code, "alice"),
                authority=authority,
                verify=emulator.ssl_context,
            )
            await mine.sign_in(SCOPE)
            token = await mine.get_token(SCOPE)
            for same in own:
                assert await mine.get_token(SCOPE, tenant_id=same) is token
                assert await mine.get_token(SCOPE, tenant_id=same.upper()) is token
            with pytest.raises(
                ours.TokenSourceError, match="another tenant than tenant_id: make a credential"
            ) as raised:
                await mine.get_token(SCOPE, tenant_id=GUID)
            assert raised.value.permanent
            with pytest.raises(TypeError, match="tenant_id is the text of a directory's id or domain, not bytes"):
                await mine.get_token(SCOPE, tenant_id=GUID.encode())  # type: ignore[arg-type]


def test_the_tenant_of_a_credential_is_its_authoritys() -> None:
    for given, tenant in (
        ({}, "organizations"),
        ({"tenant_id": "contoso.com"}, "contoso.com"),
        ({"authority": "https://contoso.b2clogin.com/contoso.onmicrosoft.com/policy"}, "contoso.onmicrosoft.com"),
        ({"authority": f"https://127.0.0.1/{GUID}/v2.0"}, GUID),
    ):
        options: Any = given
        assert check_settings("app", **options).tenant == tenant


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
