"""Acting for a user who called with a token."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import anyio
import httpx
import msal
import pytest
from certificates import rsa_certificate
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from entra_users import (
    CLAIMS,
    SCOPE,
    TEAMS,
    Clock,
    discovery,
    server_context,
    signing_in_at,
    token_requests,
    tokens,
    trusting,
)
from redacted import Redacted
from servers import answer, serve

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    ServiceError,
    SignInRequiredError,
    TokenSourceError,
)
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import OnBehalfOfCredential

if TYPE_CHECKING:
    from servers import Server

    from anyio_acs_credential.emulator import Emulator


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def assertion_of(emulator: Emulator, user: str = "alice") -> str:
    return emulator.issue_entra_token(f"api://{emulator.client_id}/access_as_user", user=user)


def credential_of(emulator: Emulator, user_assertion: Any, **options: Any) -> OnBehalfOfCredential:
    return OnBehalfOfCredential(
        emulator.client_id,
        user_assertion=user_assertion,
        client_secret=emulator.client_secret,
        **{**signing_in_at(emulator), **options},
    )


async def test_long_work_outlives_the_assertion(clock: Clock) -> None:
    """The assertion is shown once; its refresh token serves every scope, and claims."""
    async with open_emulator() as emulator:
        credential = credential_of(emulator, assertion_of(emulator))
        first = await credential.get_token(SCOPE)
        assert first.claims["name"] == "alice"
        assert await credential.get_token(SCOPE) is first
        assert token_requests(emulator) == 1
        clock.ahead += 5000
        for claims, scope in [(None, SCOPE), (None, TEAMS), (CLAIMS, SCOPE)]:
            assert (await credential.get_token(scope, claims=claims)).claims["name"] == "alice"
        assert token_requests(emulator) == 4


async def test_a_function_is_asked_for_a_new_assertion_when_it_is_needed(clock: Clock) -> None:
    calls = 0
    async with open_emulator() as emulator:

        async def assertion() -> str:
            nonlocal calls
            calls += 1
            return assertion_of(emulator)

        credential = credential_of(emulator, assertion)
        for _ in range(2):
            await credential.get_token(SCOPE)
            clock.ahead += 3700
        assert calls == 1
        emulator.revoke_refresh_tokens("alice")
        assert (await credential.get_token(SCOPE)).claims["name"] == "alice"
        assert calls == 2


@pytest.mark.parametrize("called", [False, True])
async def test_texts_that_hide_themselves_are_what_they_hold(called: bool) -> None:
    async with open_emulator() as emulator:
        assertion = Redacted(assertion_of(emulator))

        async def ask() -> str:
            return assertion

        credential = OnBehalfOfCredential(
            Redacted(emulator.client_id),
            user_assertion=ask if called else assertion,
            client_secret=Redacted(emulator.client_secret),
            authority=Redacted(emulator.authority),
            verify=emulator.ssl_context,
        )
        token = await credential.get_token(Redacted(SCOPE), claims=Redacted(CLAIMS))
        assert token.claims["name"] == "alice"


async def test_an_assertion_that_is_not_accepted_needs_the_user(clock: Clock) -> None:
    async with open_emulator() as emulator:
        credential = credential_of(emulator, assertion_of(emulator))
        clock.ahead += 3700
        with pytest.raises(SignInRequiredError, match="have the user sign in at the caller and call again"):
            await credential.get_token(SCOPE)


async def test_a_wrong_secret_is_told_with_the_fix() -> None:
    async with open_emulator() as emulator:
        credential = OnBehalfOfCredential(
            emulator.client_id,
            user_assertion=assertion_of(emulator),
            client_secret="canary-wrong-secret",
            **signing_in_at(emulator),
        )
        with pytest.raises(ServiceError, match="correct client_secret or client_certificate") as raised:
            await credential.get_token(SCOPE)
        assert raised.value.permanent


@pytest.mark.promise("R60")
async def test_one_credential_never_serves_two_users(clock: Clock) -> None:
    """A function that gives another user's token is found out."""
    users = ["bob", "alice"]
    async with open_emulator() as emulator:

        async def assertion() -> str:
            return assertion_of(emulator, users.pop())

        credential = credential_of(emulator, assertion)
        await credential.get_token(SCOPE)
        emulator.revoke_refresh_tokens("alice")
        clock.ahead += 3700
        with pytest.raises(TokenSourceError, match="gave another user's token: make a credential for each") as raised:
            await credential.get_token(SCOPE)
        assert raised.value.permanent


@pytest.mark.promise("R60")
async def test_a_shared_cache_does_not_lend_anybody_elses_account() -> None:
    """A user is known by the assertion alone, whoever else is in the cache."""
    cache = msal.TokenCache()
    async with open_emulator() as emulator:
        for name in ("alice", "bob"):
            credential = credential_of(emulator, assertion_of(emulator, name), token_cache=cache)
            assert (await credential.get_token(SCOPE)).claims["name"] == name


@pytest.mark.promise("R60")
async def test_one_users_throttling_does_not_delay_another() -> None:
    """MSAL throttles by application, scope and grant, in which there is no user."""
    async with open_emulator() as emulator:
        alice, bob = (credential_of(emulator, assertion_of(emulator, name)) for name in ("alice", "bob"))
        emulator.fail("/token$", status=429, retry_after=300, times=1)
        with pytest.raises(ServiceError):
            await alice.get_token(SCOPE)
        assert (await bob.get_token(SCOPE)).claims["name"] == "bob"


async def test_what_a_function_raises_arrives_as_it_is() -> None:
    """Also where its class is not made by what it holds in `args`."""

    class NobodyHereError(TokenSourceError):
        def __init__(self, number: int, text: str) -> None:
            super().__init__(f"{number}: {text}")
            self.number = number

    async def give() -> str:
        raise NobodyHereError(7, "nobody is here")

    with pytest.raises(NobodyHereError, match="7: nobody is here") as raised:
        await OnBehalfOfCredential("app", user_assertion=give, client_secret="s3cret").get_token(SCOPE)
    assert raised.value.number == 7


@pytest.mark.parametrize(
    ("assertion", "error", "says"),
    [
        (lambda: "canary-text", TypeError, "user_assertion returned str: give an async function"),
        (5, TypeError, "what user_assertion returns is text .*, not int"),
        ("canary with blanks", ValueError, "what user_assertion returns is text with white space"),
    ],
)
async def test_a_function_that_gives_no_assertion(assertion: Any, error: type[Exception], says: str) -> None:
    async def give() -> Any:
        return assertion

    credential = OnBehalfOfCredential(
        "app", user_assertion=assertion if callable(assertion) else give, client_secret="s3cret"
    )
    with pytest.raises(error, match=says) as raised:
        await credential.get_token(SCOPE)
    assert "canary" not in str(raised.value)


def at(server: Server, certificate: Any) -> OnBehalfOfCredential:
    return OnBehalfOfCredential(
        "app",
        user_assertion="canary-assertion",
        client_certificate=certificate,
        authority=f"{server.url}/tenant",
        verify=trusting(),
    )


def rsa_pem() -> str:
    issued = rsa_certificate("service.example")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return text + issued.cert_chain_pems[0].bytes().decode()


@pytest.mark.parametrize("form", ["text", "bytes", "mapping", "another mapping"])
async def test_a_certificate_stands_in_for_the_secret(form: str) -> None:
    text = rsa_pem()
    end = text.index("-----BEGIN CERTIFICATE")
    given = {
        "text": text,
        "bytes": text.encode(),
        "mapping": {"private_key": text[:end], "public_certificate": text[end:]},
        "another mapping": MappingProxyType({"private_key": text[:end], "public_certificate": text[end:]}),
    }[form]
    async with serve(discovery(), tokens(), tls=server_context()) as server:
        await at(server, given).get_token(SCOPE)
        form_sent = parse_qs(server.requests[-1].body.decode())
    assert "client_secret" not in form_sent  # as MSAL sends a mapping that is no dict
    assert form_sent["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert form_sent["client_assertion"][0].startswith("eyJ")
    assert form_sent["assertion"] == ["canary-assertion"]


async def test_an_assertion_of_the_service_that_hides_itself_is_what_it_holds() -> None:
    async with serve(discovery(), tokens(), tls=server_context()) as server:
        await at(server, {"client_assertion": lambda: Redacted("canary-client-assertion")}).get_token(SCOPE)
        assert parse_qs(server.requests[-1].body.decode())["client_assertion"] == ["canary-client-assertion"]


async def test_a_certificate_that_cannot_be_used_is_told() -> None:
    broken = rsa_pem().replace("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nAAAA")
    async with serve(discovery(), answer(500), tls=server_context()) as server:
        with pytest.raises(TokenSourceError, match="MSAL cannot work with the credential's arguments") as raised:
            await at(server, broken).get_token(SCOPE)
        assert raised.value.permanent


@pytest.mark.promise("R8")
async def test_a_crowd_without_a_token_costs_one_request_and_one_exchange() -> None:
    async with (
        open_emulator() as emulator,
        httpx.AsyncClient(verify=emulator.ssl_context) as client,
        CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint,
            token_credential=credential_of(emulator, assertion_of(emulator)),
            http_client=client,
        ) as credential,
    ):
        tokens: list[AccessToken] = []

        async def ask() -> None:
            tokens.append(await credential.get_token())

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(ask)
        assert (len(tokens), len({id(token) for token in tokens})) == (50, 1)
        assert token_requests(emulator) == 1
        assert [request.path for request in emulator.requests].count("/access/entra/:exchangeAccessToken") == 1
