"""The emulator's Identity API for those who come with Entra tokens, and for Teams users; the official client there."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from anyio import to_thread
from emulated import Clock, client_of

from anyio_acs_credential import AccessKeyAuth
from anyio_acs_credential.emulator import open_emulator

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from anyio_acs_credential.emulator import Emulator

MANAGEMENT = "https://communication.azure.com//.default"
CLIENTS = "https://communication.azure.com/clients/.default"
TEAMS_API = "https://auth.msft.communication.azure.com"
BOTH = (f"{TEAMS_API}/Teams.ManageCalls", f"{TEAMS_API}/Teams.ManageChats")
EXCHANGE = "/teamsUser/:exchangeAccessToken?api-version=2023-10-01"
IDENTITIES = "/identities?api-version=2023-10-01"
CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'


def signing(emulator: Emulator, clock: Clock | None = None) -> httpx.AsyncClient:
    auth = AccessKeyAuth(emulator.access_key) if clock is None else AccessKeyAuth(emulator.access_key, clock=clock)
    return client_of(emulator, auth=auth)


async def create(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post(IDENTITIES, json={}, headers={"Authorization": f"Bearer {token}"})


async def exchange(client: httpx.AsyncClient, token: Any, app: Any, user: Any, url: str = EXCHANGE) -> httpx.Response:
    return await client.post(url, json={"token": token, "appId": app, "userId": user})


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def ask(client: httpx.AsyncClient, emulator: Emulator, **form: str) -> httpx.Response:
    """What Entra says to an application that asks for itself."""
    default = {
        "grant_type": "client_credentials",
        "client_id": emulator.client_id,
        "client_secret": emulator.client_secret,
        "scope": MANAGEMENT,
    }
    return await client.post(f"{emulator.authority}/oauth2/v2.0/token", data=default | form)


# Entra tokens in place of the access key


async def test_a_user_with_the_right_scope_manages_the_resource() -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        assert (await create(client, emulator.issue_entra_token(MANAGEMENT))).status_code == 201
        bearer = {"Authorization": f"bearer {emulator.issue_entra_token(MANAGEMENT)}"}
        user = (await client.post(IDENTITIES, headers=bearer)).json()["identity"]["id"].replace(":", "%3A")
        query = "?api-version=2023-10-01"
        for operation in (":issueAccessToken", ":revokeAccessTokens"):
            url = f"/identities/{user}/{operation}{query}"
            assert (await client.post(url, json={"scopes": ["chat"]}, headers=bearer)).is_success
        assert (await client.delete(f"/identities/{user}{query}", headers=bearer)).status_code == 204


async def test_an_application_manages_the_resource() -> None:
    """Its own token names nobody and no scope, and nothing exchanges it."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        answer = (await ask(client, emulator)).json()
        assert answer.keys() == {"token_type", "expires_in", "ext_expires_in", "access_token"}
        token = answer["access_token"]
        claims = claims_of(token)
        assert (claims["aud"], claims["azp"], claims["idtyp"]) == (
            "https://communication.azure.com",
            emulator.client_id,
            "app",
        )
        assert claims.keys().isdisjoint({"scp", "name", "preferred_username"})
        assert (await create(client, token)).status_code == 201
        url = "/access/entra/:exchangeAccessToken?api-version=2025-03-02-preview"
        refused = await client.post(url, json={}, headers={"Authorization": f"Bearer {token}"})
        assert error(refused) == (401, "Unauthorized")
        assert "an application's own" in refused.json()["error"]["message"]


async def test_an_application_asks_with_its_secret_and_a_default_scope() -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        wrong: dict[int, dict[str, str]] = {
            7000215: {"client_secret": "wrong"},
            1002012: {"scope": f"{TEAMS_API}/Teams.ManageCalls"},
            900144: {"scope": ""},
            500011: {"scope": "https://elsewhere.example/.default"},
            900236: {"claims": "nbf"},
        }
        for number, form in wrong.items():
            assert (await ask(client, emulator, **form)).json()["error_codes"] == [number]
        own = (await ask(client, emulator, scope=f"api://{emulator.client_id}/.default")).json()["access_token"]
        on_behalf = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "requested_token_use": "on_behalf_of",
            "assertion": own,
        }
        assert (await ask(client, emulator, **on_behalf)).json()["error_codes"] == [50000]


async def test_an_application_is_told_when_to_renew() -> None:
    async with open_emulator(entra_token_lifetime=7200) as emulator, client_of(emulator) as client:
        assert (await ask(client, emulator)).json()["refresh_in"] == 3600


async def test_other_tokens_do_not_manage_the_resource() -> None:
    clock = Clock()
    async with (
        open_emulator(clock=clock) as emulator,
        open_emulator(clock=clock) as other,
        client_of(emulator) as client,
        signing(emulator, clock) as manager,
    ):
        body = (await manager.post(IDENTITIES, json={"createTokenWithScopes": ["chat"]})).json()
        tokens = {
            "x.y.z": "malformed",
            body["accessToken"]["token"]: "another authority",
            other.issue_entra_token(MANAGEMENT): "another authority",
            emulator.issue_entra_token(*BOTH): "another audience",
            emulator.issue_entra_token(CLIENTS): "none of the scopes user_impersonation",
        }
        for token, reason in tokens.items():
            answer = await create(client, token)
            assert error(answer) == (401, "Unauthorized")
            assert reason in answer.json()["error"]["message"]
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        good = emulator.issue_entra_token(MANAGEMENT)
        clock.now += 3600
        assert "expired" in (await create(client, good)).json()["error"]["message"]


async def test_a_manager_is_challenged_for_claims() -> None:
    """A user by name, the application by its id; a token that was asked for with the claims ends it."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        emulator.require_claims("ada", CLAIMS)
        emulator.require_claims(emulator.client_id, CLAIMS)
        app = (await ask(client, emulator)).json()["access_token"]
        for token in (app, emulator.issue_entra_token(MANAGEMENT, user="ada")):
            answer = await create(client, token)
            assert answer.status_code == 401
            (encoded,) = re.findall(r'claims="([\w-]+)"', answer.headers["WWW-Authenticate"])
            assert json.loads(base64.urlsafe_b64decode(encoded + "==")) == json.loads(CLAIMS)
        right = (await ask(client, emulator, claims=CLAIMS)).json()["access_token"]
        assert (await create(client, right)).status_code == 201
        assert (await create(client, app)).status_code == 201
        assert (await create(client, emulator.issue_entra_token(MANAGEMENT, user="bob"))).status_code == 201


# Teams users


@pytest.mark.parametrize(
    ("scopes", "granted"),
    [
        (BOTH, "chat,voip"),
        (BOTH[:1], "voip"),
        (BOTH[1:], "chat"),
        ((f"{TEAMS_API}/.default",), "chat,voip"),
    ],
)
async def test_a_teams_users_token_is_exchanged(scopes: tuple[str, ...], granted: str) -> None:
    """The token is the Teams user's, ends when the Entra token does, and is good for chat if its scopes say so."""
    clock = Clock()
    async with open_emulator(clock=clock, entra_token_lifetime=4000.5) as emulator, signing(emulator, clock) as client:
        clock.now += 0.7
        ada = emulator.add_user("ada")
        token = emulator.issue_entra_token(*scopes, user="ada")
        clock.now += 100
        answer = await exchange(client, token, emulator.client_id, ada)
        assert answer.status_code == 200
        body = answer.json()
        assert body.keys() == {"token", "expiresOn"}
        claims = claims_of(body["token"])
        assert (claims["skypeid"], claims["acsScope"]) == (f"orgid:{ada}", granted)
        assert claims["exp"] == claims_of(token)["exp"]
        assert body["expiresOn"] == "2027-01-15T09:06:41.0000000+00:00"
        headers = {"Authorization": f"Bearer {body['token']}"}
        chat = await client.get("/chat/threads?api-version=2024-03-07", headers=headers, auth=lambda request: request)
        assert chat.status_code == (200 if "chat" in granted else 403)


async def test_a_teams_users_token_lives_no_longer_than_all_tokens_do() -> None:
    clock = Clock()
    async with open_emulator(clock=clock, token_lifetime=5) as emulator, signing(emulator, clock) as client:
        token = emulator.issue_entra_token(*BOTH, user="ada")
        body = (await exchange(client, token, emulator.client_id, emulator.add_user("ada"))).json()
        assert claims_of(body["token"])["exp"] == clock.now + 5


async def test_what_is_wrong_with_a_teams_users_token_is_not_told() -> None:
    """As in the service: none, malformed, another's, an application's, for something else, lacking claims, expired."""
    clock = Clock()
    async with (
        open_emulator(clock=clock) as emulator,
        open_emulator(clock=clock) as other,
        signing(emulator, clock) as client,
    ):
        good = emulator.issue_entra_token(*BOTH, user="ada")
        ada = emulator.add_user("ada")

        app = (await ask(client, emulator, scope=f"{TEAMS_API}/.default")).json()["access_token"]
        bad: list[Any] = [
            None,
            "",
            7,
            "x.y.z",
            app,
            other.issue_entra_token(*BOTH, user="ada"),
            emulator.issue_entra_token(MANAGEMENT, user="ada"),
            emulator.issue_entra_token(f"{TEAMS_API}/TeamsExtension.ManageCalls", user="ada"),
        ]
        for token in bad:
            assert error(await exchange(client, token, emulator.client_id, ada)) == (401, "InvalidAccessToken")
        emulator.require_claims("ada", CLAIMS)
        answer = await exchange(client, good, emulator.client_id, ada)
        assert error(answer) == (401, "InvalidAccessToken")
        assert "WWW-Authenticate" not in answer.headers
        bob = emulator.issue_entra_token(*BOTH, user="bob")
        clock.now += 3600
        assert error(await exchange(client, bob, emulator.client_id, emulator.add_user("bob"))) == (
            401,
            "InvalidAccessToken",
        )


async def test_application_and_user_are_compared_with_the_entra_tokens() -> None:
    async with open_emulator() as emulator, signing(emulator) as client:
        token = emulator.issue_entra_token(*BOTH, user="ada")
        app, ada = emulator.client_id, emulator.add_user("ada")
        for wrong in ("", None, 7, "other"):
            for pair in ((wrong, ada), (app, wrong)):
                assert error(await exchange(client, token, *pair)) == (400, "ValidationError")
        assert (await exchange(client, token, app, ada)).status_code == 200


async def test_the_exchange_of_a_teams_users_token_is_for_managers() -> None:
    async with open_emulator() as emulator, client_of(emulator) as client, signing(emulator) as manager:
        ada = emulator.add_user("ada")
        token = emulator.issue_entra_token(*BOTH, user="ada")
        assert error(await exchange(client, token, emulator.client_id, ada)) == (401, "Denied")
        client.headers["Authorization"] = f"Bearer {emulator.issue_entra_token(MANAGEMENT)}"
        assert (await exchange(client, token, emulator.client_id, ada)).status_code == 200
        old = EXCHANGE.replace("2023-10-01", "2021-03-07")
        assert error(await exchange(manager, token, emulator.client_id, ada, old)) == (
            400,
            "UnsupportedApiVersionValue",
        )
        assert error(await manager.post(EXCHANGE, content=b"[]")) == (400, "InvalidRequest")


async def test_a_teams_user_is_not_the_resources_to_manage() -> None:
    async with open_emulator() as emulator, signing(emulator) as client:
        ada = emulator.add_user("ada")
        token = emulator.issue_entra_token(*BOTH, user="ada")
        assert (await exchange(client, token, emulator.client_id, ada)).status_code == 200
        url = f"/identities/8%3Aorgid%3A{ada}"
        query = "?api-version=2023-10-01"
        for operation in (":issueAccessToken", ":revokeAccessTokens"):
            answer = await client.post(f"{url}/{operation}{query}", json={"scopes": ["chat"]})
            assert error(answer) == (404, "IdentityNotFound")
        assert error(await client.delete(f"{url}{query}")) == (404, "IdentityNotFound")


# The official client


def principal(emulator: Emulator, package: str = "azure.identity") -> Any:
    identity = pytest.importorskip(package)
    return identity.ClientSecretCredential(
        emulator.tenant_id,
        emulator.client_id,
        emulator.client_secret,
        authority=emulator.endpoint,
        disable_instance_discovery=True,
        connection_verify=emulator.ca_file,
        use_env_settings=False,
    )


def with_key(emulator: Emulator) -> Any:
    credentials = pytest.importorskip("azure.core.credentials")
    return credentials.AzureKeyCredential(emulator.access_key)


@pytest.mark.parametrize("credential", [with_key, principal])
async def test_the_official_client_works_unchanged(credential: Callable[[Emulator], Any]) -> None:
    """azure-communication-identity does all that it can, with a key and with azure-identity's credential."""
    official = pytest.importorskip("azure.communication.identity")
    exceptions = pytest.importorskip("azure.core.exceptions")

    def use(emulator: Emulator) -> list[str]:
        made = official.CommunicationIdentityClient(
            emulator.endpoint, credential(emulator), connection_verify=emulator.ca_file
        )
        with made._identity_service_client:
            user = made.create_user()
            other, first = made.create_user_and_token(["chat"], token_expires_in=timedelta(hours=1))
            second = made.get_token(other, ["voip"])
            made.revoke_tokens(other)
            made.delete_user(user)
            with pytest.raises(exceptions.ResourceNotFoundError):
                made.get_token(user, ["chat"])
            entra = emulator.issue_entra_token(*BOTH, user="ada")
            teams = made.get_token_for_teams_user(entra, emulator.client_id, emulator.add_user("ada"))
            with pytest.raises(exceptions.HttpResponseError, match="ValidationError"):
                made.get_token_for_teams_user(entra, "another", emulator.add_user("ada"))
            with pytest.raises(exceptions.ClientAuthenticationError, match="InvalidAccessToken"):
                made.get_token_for_teams_user("", emulator.client_id, emulator.add_user("ada"))
            return [first.token, second.token, teams.token]

    async with open_emulator() as emulator:
        tokens = await to_thread.run_sync(partial(use, emulator))
        first, second, teams = map(claims_of, tokens)
        assert (first["exp"] - first["iat"], second["exp"] - second["iat"]) == (3600, 86400)
        assert teams["skypeid"] == f"orgid:{emulator.add_user('ada')}"


@pytest.mark.parametrize("credential", [with_key, partial(principal, package="azure.identity.aio")])
def test_the_official_async_client_works_unchanged(credential: Callable[[Emulator], Any]) -> None:
    """The same from its aio, which is for asyncio and takes credentials of azure-identity's aio."""
    official = pytest.importorskip("azure.communication.identity.aio")

    async def main() -> None:
        async with open_emulator() as emulator, AsyncExitStack() as stack:
            given = credential(emulator)
            if hasattr(given, "close"):
                stack.push_async_callback(given.close)
            client = official.CommunicationIdentityClient(emulator.endpoint, given, connection_verify=emulator.ca_file)
            async with client as made:
                user = await made.create_user()
                other, first = await made.create_user_and_token(["chat"], token_expires_in=timedelta(hours=1))
                second = await made.get_token(other, ["voip"], token_expires_in=timedelta(hours=2))
                await made.revoke_tokens(other)
                await made.delete_user(user)
                entra = emulator.issue_entra_token(*BOTH, user="ada")
                teams = await made.get_token_for_teams_user(entra, emulator.client_id, emulator.add_user("ada"))
                lives = [claims["exp"] - claims["iat"] for claims in map(claims_of, (first.token, second.token))]
                assert lives == [3600, 7200]
                assert claims_of(teams.token)["skypeid"] == f"orgid:{emulator.add_user('ada')}"

    asyncio.run(main())


async def test_the_official_client_meets_a_claims_challenge() -> None:
    """azure-core asks azure-identity anew, and that asks Entra."""
    official = pytest.importorskip("azure.communication.identity")

    def use(emulator: Emulator) -> str:
        made = official.CommunicationIdentityClient(
            emulator.endpoint, principal(emulator), connection_verify=emulator.ca_file
        )
        with made._identity_service_client:
            made.create_user()
            emulator.require_claims(emulator.client_id, CLAIMS)
            return str(made.create_user().raw_id)

    async with open_emulator() as emulator:
        assert (await to_thread.run_sync(partial(use, emulator))).startswith("8:acs:")
        assert [record.status for record in emulator.requests if record.path == "/identities"] == [201, 401, 201]
