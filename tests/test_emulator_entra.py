"""The emulator's Entra part, over real TLS: real MSAL and azure-identity sign in, and tokens are exchanged."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import jwt
import msal
import pytest
import requests
from anyio import to_thread
from certificates import rsa_certificate
from emulated import Clock, client_of

from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.emulator._faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

CLIENTS = "https://communication.azure.com/clients/.default"
TEAMS = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"
EXCHANGE = "/access/entra/:exchangeAccessToken?api-version=2025-03-02-preview"
TEAMS_EXCHANGE = "/access/teamsExtension/:exchangeAccessToken?api-version=2025-06-30"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ON_BEHALF_OF = "urn:ietf:params:oauth:grant-type:jwt-bearer"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


async def with_msal(emulator: Emulator, use: Callable[..., Any], **options: Any) -> Any:
    """What `use` returns of an MSAL application, in a worker thread; one with a secret is confidential."""

    def run() -> Any:
        make = msal.ConfidentialClientApplication if "client_credential" in options else msal.PublicClientApplication
        with requests.Session() as session:
            session.trust_env = False  # REQUESTS_CA_BUNDLE would win over verify
            session.verify = emulator.ca_file
            where = {"oidc_authority": emulator.authority} if "authority" not in options else {}
            return use(make(emulator.client_id, http_client=session, **where, **options))

    return await to_thread.run_sync(run)


async def post(client: httpx.AsyncClient, emulator: Emulator, path: str, **form: str) -> httpx.Response:
    return await client.post(f"{emulator.authority}/oauth2/v2.0/{path}", data={"client_id": emulator.client_id, **form})


async def ask_device_code(client: httpx.AsyncClient, emulator: Emulator, **form: str) -> dict[str, Any]:
    answer = await post(client, emulator, "devicecode", **{"scope": f"openid offline_access {TEAMS}", **form})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def poll(client: httpx.AsyncClient, emulator: Emulator, device_code: str) -> httpx.Response:
    return await post(client, emulator, "token", grant_type=DEVICE_GRANT, device_code=device_code)


async def sign_in(client: httpx.AsyncClient, emulator: Emulator, user: str = "ada", **form: str) -> dict[str, Any]:
    """The tokens of somebody who entered a code."""
    started = await ask_device_code(client, emulator, **form)
    emulator.approve(started["user_code"], user)
    answer = await poll(client, emulator, started["device_code"])
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refusal(answer: httpx.Response) -> tuple[int, str, int]:
    """Status, error and number of what Entra refused, which is complete."""
    body = answer.json()
    (number,) = body["error_codes"]
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert {"timestamp", "trace_id", "correlation_id", "error_uri"} <= body.keys()
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, body["error"], number


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


# Discovery


@pytest.mark.parametrize("version", ["/v2.0", ""])
@pytest.mark.parametrize("tenant", [None, "organizations", "common"])
async def test_discovery_names_the_endpoints_of_the_tenant_that_was_asked_for(version: str, tenant: str | None) -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        base = f"{emulator.endpoint}/{tenant or emulator.tenant_id}"
        found = (await client.get(f"{base}{version}/.well-known/openid-configuration")).json()
        assert found["issuer"] == f"{emulator.authority}/v2.0"
        assert found["token_endpoint"] == f"{base}/oauth2/v2.0/token"
        assert found["authorization_endpoint"] == f"{base}/oauth2/v2.0/authorize"
        assert found["device_authorization_endpoint"] == f"{base}/oauth2/v2.0/devicecode"
        tokens = await sign_in(client, emulator)
        (key,) = (await client.get(found["jwks_uri"])).json()["keys"]
        verified = jwt.decode(
            tokens["id_token"],
            jwt.PyJWK(key).key,
            algorithms=["RS256"],
            audience=emulator.client_id,
            issuer=found["issuer"],
        )
        assert verified["oid"] == emulator.add_user("ada")
        assert jwt.get_unverified_header(tokens["id_token"])["kid"] == key["kid"]


async def test_another_tenant_and_another_application_are_unknown() -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        answer = await client.get("/elsewhere/v2.0/.well-known/openid-configuration")
        assert refusal(answer) == (400, "invalid_request", 90002)
        for path in ("devicecode", "token"):
            answer = await post(client, emulator, path, client_id="another")
            assert refusal(answer) == (400, "unauthorized_client", 700016)


# Device codes


@pytest.mark.parametrize("kind", ["oidc", "instance_discovery", "validate_authority"])
async def test_msal_signs_in_with_a_device_code(kind: str) -> None:
    """MSAL 1.39 polls, signs in, keeps the account and renews, with each way to name an authority of one's own."""
    async with open_emulator(device_code_interval=1) as emulator:
        options = {} if kind == "oidc" else {"authority": emulator.authority, kind: False}
        if kind == "validate_authority":
            options["instance_discovery"] = False  # or get_accounts() asks login.microsoftonline.com

        def use(app: msal.PublicClientApplication) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
            flow = app.initiate_device_flow([TEAMS])
            assert flow["user_code"] in flow["message"]
            assert flow["verification_uri"] == f"{emulator.endpoint}/device"
            assert (flow["interval"], flow["expires_in"]) == (1, 900)
            once = partial(app.acquire_token_by_device_flow, flow, exit_condition=lambda _: True)
            assert once()["error"] == "authorization_pending"
            flow["latest_attempt_at"] = 0  # or MSAL warns: a code that was approved may be redeemed at once
            emulator.approve(flow["user_code"].lower(), "ada")
            first = once()
            second = app.acquire_token_silent_with_error([TEAMS], app.get_accounts()[0], force_refresh=True)
            return first, second, app.get_accounts()

        first, second, accounts = await with_msal(emulator, use, **options)
        object_id = emulator.add_user("ada")
        assert [account["home_account_id"] for account in accounts] == [f"{object_id}.{emulator.tenant_id}"]
        assert accounts[0]["username"] == "ada@contoso.example"
        assert first["id_token_claims"]["name"] == "ada"
        assert TEAMS in first["scope"].split()
        assert first["access_token"] != second["access_token"]
        assert second["token_source"] == "identity_provider"
        assert second["expires_in"] == 3600
        claims = claims_of(second["access_token"])
        assert (claims["oid"], claims["tid"]) == (object_id, emulator.tenant_id)
        assert claims["aud"] == "https://auth.msft.communication.azure.com"
        assert claims["scp"] == "TeamsExtension.ManageCalls"
        assert claims["exp"] - claims["iat"] == 3600


async def test_polling_a_device_code_is_answered_as_rfc_8628_says() -> None:
    """Pending, too fast, approved and then redeemed; the correlation id is the client's."""
    clock = Clock()
    async with open_emulator(clock=clock) as emulator, client_of(emulator) as client:
        started = await ask_device_code(client, emulator)
        assert (started["interval"], started["expires_in"]) == (5, 900)
        headers = {"client-request-id": "mine"}
        form = {"client_id": emulator.client_id, "grant_type": DEVICE_GRANT, "device_code": started["device_code"]}
        answer = await client.post(f"{emulator.authority}/oauth2/v2.0/token", data=form, headers=headers)
        assert refusal(answer) == (400, "authorization_pending", 70016)
        assert answer.json()["correlation_id"] == "mine"
        clock.now += 4.9
        assert refusal(await poll(client, emulator, started["device_code"]))[1] == "slow_down"
        clock.now += 9.9
        assert refusal(await poll(client, emulator, started["device_code"]))[1] == "slow_down"
        clock.now += 15
        assert refusal(await poll(client, emulator, started["device_code"]))[1] == "authorization_pending"
        emulator.approve(started["user_code"])
        assert (await poll(client, emulator, started["device_code"])).status_code == 200
        assert refusal(await poll(client, emulator, started["device_code"])) == (400, "invalid_grant", 54005)


async def test_a_device_code_ends() -> None:
    """Declined, expired and unknown codes are told apart, and none can be answered again."""
    clock = Clock()
    async with open_emulator(clock=clock, device_code_lifetime=60) as emulator, client_of(emulator) as client:
        declined, expired = [await ask_device_code(client, emulator) for _ in range(2)]
        emulator.decline(declined["user_code"])
        assert refusal(await poll(client, emulator, declined["device_code"])) == (400, "authorization_declined", 70017)
        clock.now += 60
        assert refusal(await poll(client, emulator, expired["device_code"])) == (400, "expired_token", 70020)
        assert refusal(await poll(client, emulator, "unknown")) == (400, "bad_verification_code", 501581)
        for code in (declined["user_code"], expired["user_code"], "UNKNOWN"):
            with pytest.raises(ValueError, match="start a new sign-in"):
                emulator.approve(code)


async def test_a_person_enters_the_code_at_the_page() -> None:
    """The page of the verification address approves, declines, and says when the code is wrong."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        emulator.add_user("ada <3")
        page = await client.get("/device")
        assert 'name="user_code"' in page.text
        assert "ada &lt;3" in page.text
        for decision, expected in (("sign_in", 200), ("cancel", 400)):
            started = await ask_device_code(client, emulator)
            form = {"user_code": started["user_code"], "user": "ada <3", "decision": decision}
            assert (await client.post("/device", data=form)).status_code == 200
            assert (await poll(client, emulator, started["device_code"])).status_code == expected
        answer = await client.post("/device", data={"user_code": "<script>"})
        assert answer.status_code == 400
        assert "start a new sign-in" in answer.text


async def test_azure_identity_signs_in_with_a_device_code() -> None:
    """azure-identity needs the host alone, and discovery of instances switched off."""
    identity = pytest.importorskip("azure.identity")
    async with open_emulator() as emulator:

        def run() -> Any:
            with identity.DeviceCodeCredential(
                client_id=emulator.client_id,
                prompt_callback=lambda _uri, code, _expires_on: emulator.approve(code, "ada"),
                **azure_options(emulator),
            ) as credential:
                return credential.get_token(TEAMS)

        assert claims_of((await to_thread.run_sync(run)).token)["name"] == "ada"


def azure_options(emulator: Emulator) -> dict[str, Any]:
    return {
        "authority": emulator.endpoint,
        "tenant_id": emulator.tenant_id,
        "disable_instance_discovery": True,
        "connection_verify": emulator.ca_file,
        "use_env_settings": False,
    }


# Authorization codes


def address(emulator: Emulator, **params: str) -> str:
    """Where an application sends a person."""
    defaults = {
        "client_id": emulator.client_id,
        "response_type": "code",
        "redirect_uri": "http://localhost:8400/done",
        "scope": f"openid offline_access {TEAMS}",
        "state": "a&b",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    query = {name: value for name, value in {**defaults, **params}.items() if value}
    return f"{emulator.authority}/oauth2/v2.0/authorize?{urlencode(query)}"


def sent_back(answer: httpx.Response) -> dict[str, str]:
    """What the application is told in the address that the browser is sent to."""
    assert answer.status_code == 302
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def fields(page: str) -> dict[str, str]:
    """The hidden fields of a form."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return {html.unescape(name): html.unescape(value) for name, value in found}


@pytest.mark.filterwarnings("ignore:response_mode='form_post' is recommended")
@pytest.mark.parametrize("response_mode", ["query", "form_post"])
@pytest.mark.parametrize("confidential", [False, True])
async def test_msal_signs_in_with_an_authorization_code(response_mode: str, confidential: bool) -> None:
    """State, nonce and proof of possession satisfy MSAL, in both response modes."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        emulator.sign_in_as = "ada"
        assert emulator.sign_in_as == "ada"
        where = "http://127.0.0.1:1/some/path?x=1"
        loop = {"client_credential": emulator.client_secret} if confidential else {}

        def begin(app: Any) -> Any:
            return app.initiate_auth_code_flow([TEAMS], redirect_uri=where, response_mode=response_mode, max_age=60)

        def finish(app: Any) -> Any:
            return app.acquire_token_by_auth_code_flow(flow, said)

        flow = await with_msal(emulator, begin, **loop)
        answer = await client.get(flow["auth_uri"])
        if response_mode == "query":
            assert answer.headers["Location"].startswith(f"{where}&code=")
            said = sent_back(answer)
            del said["x"]
        else:
            assert f'<form method="post" action="{where}">' in answer.text
            said = fields(answer.text)
        assert said["client_info"]
        result = await with_msal(emulator, finish, **loop)
        assert result["id_token_claims"]["name"] == "ada"
        assert claims_of(result["access_token"])["oid"] == emulator.add_user("ada")


async def test_a_person_signs_in_at_the_page() -> None:
    """Without `sign_in_as` there is a page with the application's request in it, a name and two buttons."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        page = await client.get(address(emulator, login_hint='ada"'))
        assert 'value="ada&quot;"' in page.text
        form = fields(page.text)
        url = f"{emulator.authority}/oauth2/v2.0/authorize"
        said = sent_back(await client.post(url, data={**form, "user": "ada", "decision": "sign_in"}))
        assert said["state"] == "a&b"
        assert "client_info" not in said
        said = sent_back(await client.post(url, data={**form, "user": "ada", "decision": "cancel"}))
        assert (said["error"], said["state"]) == ("access_denied", "a&b")


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": ""}, "invalid_request"),
        ({"scope": "https://elsewhere.example/.default"}, "invalid_resource"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"claims": "[]"}, "invalid_request"),
    ],
)
async def test_a_wrong_request_is_told_to_the_application(params: dict[str, str], error: str) -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        emulator.sign_in_as = "ada"
        said = sent_back(await client.get(address(emulator, **params)))
        assert (said["error"], said["state"]) == (error, "a&b")
        assert said["error_description"].startswith("AADSTS")


async def test_a_silent_sign_in_needs_somebody_signed_in() -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        said = sent_back(await client.get(address(emulator, prompt="none", state="")))
        assert said["error"] == "login_required"
        assert "state" not in said


@pytest.mark.parametrize(
    "params",
    [
        {"client_id": "another"},
        {"redirect_uri": ""},
        {"redirect_uri": "https://attacker.example/"},
        {"redirect_uri": "https://localhost/"},
        {"redirect_uri": "http://localhost.attacker.example/"},
        {"redirect_uri": "http://localhost/#fragment"},
        {"redirect_uri": "http://["},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_known(params: dict[str, str]) -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        emulator.sign_in_as = "ada"
        answer = await client.get(address(emulator, **params))
        assert answer.status_code == 400
        assert "AADSTS" in answer.text


async def test_an_authorization_code_is_good_once_and_for_one_sign_in() -> None:
    """It ends after ten minutes, and is bound to the address and the challenge of the request."""
    clock = Clock()
    wrong: tuple[tuple[dict[str, str], float, int], ...] = (
        ({"code_verifier": "w" * 43}, 0, 501481),
        ({"code_verifier": ""}, 0, 501481),
        ({"redirect_uri": "http://localhost:8401/done"}, 0, 500112),
        ({}, 600, 70008),
        ({"code": "unknown"}, 0, 70000),
        ({}, 599, 0),
    )
    async with open_emulator(clock=clock) as emulator, client_of(emulator) as client:
        emulator.sign_in_as = "ada"
        for change, later, number in wrong:
            code = sent_back(await client.get(address(emulator)))["code"]
            form = {"code": code, "redirect_uri": "http://localhost:8400/done", "code_verifier": VERIFIER, **change}
            clock.now += later
            redeem = partial(post, client, emulator, "token", grant_type="authorization_code", **form)
            answer = await redeem()
            if number:
                assert refusal(answer) == (400, "invalid_grant", number)
            else:
                assert answer.json()["refresh_token"]
                assert refusal(await redeem()) == (400, "invalid_grant", 54005)


async def test_azure_identity_redeems_an_authorization_code() -> None:
    """A web application's address has to be known, and its code needs no challenge."""
    identity = pytest.importorskip("azure.identity")
    where = "https://app.example/signed-in"
    async with open_emulator() as emulator, client_of(emulator) as client:
        emulator.sign_in_as = "ada"
        emulator.add_redirect_uri(where)
        url = address(emulator, redirect_uri=where, code_challenge="", code_challenge_method="")
        code = sent_back(await client.get(url))["code"]

        def run() -> Any:
            with identity.AuthorizationCodeCredential(
                client_id=emulator.client_id,
                authorization_code=code,
                redirect_uri=where,
                client_secret=emulator.client_secret,
                **azure_options(emulator),
            ) as credential:
                return credential.get_token(TEAMS)

        assert claims_of((await to_thread.run_sync(run)).token)["name"] == "ada"


# Refresh tokens


async def test_revoked_refresh_tokens_end_one_users_sign_ins() -> None:
    """MSAL hears `invalid_grant`; another user's sign-in, and a new one, are good."""
    async with open_emulator() as emulator:

        def use(app: msal.PublicClientApplication) -> dict[str, Any]:
            for user in ("ada", "bob"):
                flow = app.initiate_device_flow([TEAMS])
                emulator.approve(flow["user_code"], user)
                app.acquire_token_by_device_flow(flow)
            emulator.revoke_refresh_tokens("ada")
            silent = partial(app.acquire_token_silent_with_error, [TEAMS], force_refresh=True)
            return {account["username"].partition("@")[0]: silent(account) for account in app.get_accounts()}

        results = await with_msal(emulator, use)
        assert results["ada"]["error"] == "invalid_grant"
        assert results["ada"]["suberror"] == "bad_token"
        assert claims_of(results["bob"]["access_token"])["name"] == "bob"


async def test_a_used_refresh_token_is_good_unless_they_are_for_single_use() -> None:
    """Each use brings another, which asks for any service."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        refresh = partial(post, client, emulator, "token", grant_type="refresh_token")
        first = (await sign_in(client, emulator))["refresh_token"]
        second = (await refresh(refresh_token=first, scope=CLIENTS)).json()
        assert claims_of(second["access_token"])["aud"] == "https://communication.azure.com"
        assert second["refresh_token"] != first
        assert (await refresh(refresh_token=first)).json()["scope"].split()[0] == TEAMS
        assert not emulator.single_use_refresh_tokens
        emulator.single_use_refresh_tokens = True
        assert (await refresh(refresh_token=first)).status_code == 200
        assert refusal(await refresh(refresh_token=first)) == (400, "invalid_grant", 50173)
        assert refusal(await refresh(refresh_token="unknown")) == (400, "invalid_grant", 9002313)


@pytest.mark.parametrize(
    ("lifetime", "setting", "expected"), [(3600, None, None), (7200, None, 3600), (3600, 60, 60), (7200, 0, 0)]
)
async def test_clients_are_told_when_to_renew(lifetime: float, setting: float | None, expected: int | None) -> None:
    settings: dict[str, Any] = {"entra_token_lifetime": lifetime, "entra_refresh_in": setting}
    async with open_emulator(**settings) as emulator, client_of(emulator) as client:
        answer = await sign_in(client, emulator)
        assert answer["expires_in"] == lifetime
        assert answer.get("refresh_in") == expected


# On behalf of


def own_scope(emulator: Emulator) -> str:
    return f"api://{emulator.client_id}/access_as_user"


async def test_msal_acts_on_behalf_of_a_user() -> None:
    """A service shows its user's token and its secret, and goes on with the refresh token."""
    async with open_emulator() as emulator:
        assertion = emulator.issue_entra_token(own_scope(emulator), user="ada")

        def use(app: msal.ConfidentialClientApplication) -> tuple[dict[str, Any], dict[str, Any] | None]:
            first = app.acquire_token_on_behalf_of(assertion, [TEAMS])
            (account,) = app.get_accounts()
            return first, app.acquire_token_silent_with_error([TEAMS], account, force_refresh=True)

        first, second = await with_msal(emulator, use, client_credential=emulator.client_secret)
        assert claims_of(first["access_token"])["name"] == "ada"
        assert second is not None
        assert claims_of(second["access_token"])["oid"] == emulator.add_user("ada")
        refused = await with_msal(emulator, lambda app: app.acquire_token_on_behalf_of(assertion, [TEAMS]),
                                  client_credential="wrong")  # fmt: skip
        assert (refused["error"], refused["error_codes"]) == ("invalid_client", [7000215])


async def test_azure_identity_acts_on_behalf_of_a_user() -> None:
    identity = pytest.importorskip("azure.identity")
    async with open_emulator() as emulator:
        assertion = emulator.issue_entra_token(own_scope(emulator), user="ada")

        def run() -> Any:
            with identity.OnBehalfOfCredential(
                client_id=emulator.client_id,
                client_secret=emulator.client_secret,
                user_assertion=assertion,
                **azure_options(emulator),
            ) as credential:
                return credential.get_token(TEAMS)

        assert claims_of((await to_thread.run_sync(run)).token)["name"] == "ada"


def certificate(name: str = "app.example") -> tuple[bytes, str]:
    """A certificate in PEM, and its key."""
    made = rsa_certificate(name)
    return made.cert_chain_pems[0].bytes(), made.private_key_pem.bytes().decode()


async def test_an_application_may_prove_itself_with_a_certificate() -> None:
    """MSAL signs with the key of one that was added; a key that was not, and no certificate, are refused."""
    async with open_emulator() as emulator:
        with pytest.raises(ValueError, match=r"."):
            emulator.add_client_certificate(b"none")
        (known, key), (other, other_key), (third, _) = [certificate(name) for name in ("known", "other", "third")]
        emulator.add_client_certificate(third)
        emulator.add_client_certificate(known)
        assertion = emulator.issue_entra_token(own_scope(emulator), user="ada")

        async def use(pem: bytes, private_key: str) -> Any:
            credential = {"private_key": private_key, "public_certificate": pem.decode()}
            obo = lambda app: app.acquire_token_on_behalf_of(assertion, [TEAMS])  # noqa: E731 - shorter than a def
            return await with_msal(emulator, obo, client_credential=credential)

        assert "access_token" in await use(known, key)
        assert (await use(other, other_key))["error_codes"] == [700027]


async def test_an_assertion_of_the_application_is_checked() -> None:
    """With a known certificate's key, it is still to be the application's own, and not expired."""
    clock = Clock()
    async with open_emulator(clock=clock) as emulator, client_of(emulator) as client:
        token = (await sign_in(client, emulator))["refresh_token"]
        known, key = await to_thread.run_sync(certificate)
        emulator.add_client_certificate(known)
        good = {"iss": emulator.client_id, "sub": emulator.client_id, "exp": clock.now + 60}
        for change, status in (({}, 200), ({"iss": "other"}, 401), ({"sub": "other"}, 401), ({"exp": clock.now}, 401)):
            assertion = jwt.encode({**good, **change}, key, algorithm="PS256")
            form = {"grant_type": "refresh_token", "refresh_token": token, "client_assertion": assertion}
            assert (await post(client, emulator, "token", **form)).status_code == status


async def test_what_is_shown_on_behalf_of_a_user_is_checked() -> None:
    """The secret, the use, the scope, the audience, the signature and the expiry of the assertion."""
    clock = Clock()
    async with open_emulator(clock=clock) as emulator, client_of(emulator) as client:
        good = {
            "grant_type": ON_BEHALF_OF,
            "requested_token_use": "on_behalf_of",
            "client_secret": emulator.client_secret,
            "assertion": emulator.issue_entra_token(f"{emulator.client_id}/.default"),
            "scope": TEAMS,
        }
        wrong: dict[tuple[str, str | None], tuple[int, str, int]] = {
            ("client_secret", None): (401, "invalid_client", 7000218),
            ("client_secret", "wrong"): (401, "invalid_client", 7000215),
            ("client_assertion", "wrong"): (401, "invalid_client", 700027),
            ("requested_token_use", None): (400, "invalid_request", 900144),
            ("assertion", None): (400, "invalid_request", 900144),
            ("assertion", "wrong"): (400, "invalid_grant", 500131),
            ("assertion", emulator.issue_entra_token(TEAMS)): (400, "invalid_grant", 500131),
            ("scope", None): (400, "invalid_request", 900144),
            ("claims", "{"): (400, "invalid_request", 900236),
            ("claims", "[" * 100_000): (400, "invalid_request", 900236),
        }
        for (name, value), expected in wrong.items():
            form = {**good, name: value or ""}
            answer = await post(client, emulator, "token", **{key: text for key, text in form.items() if text})
            assert refusal(answer) == expected, name
        answer = await post(client, emulator, "token", **good)
        assert answer.json().keys().isdisjoint({"refresh_token", "id_token", "client_info"})
        clock.now += 3600
        assert refusal(await post(client, emulator, "token", **good)) == (400, "invalid_grant", 500131)


async def test_the_secret_may_come_in_the_header() -> None:
    """As RFC 6749 prefers it; a malformed header is refused."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        token = (await sign_in(client, emulator))["refresh_token"]
        form = {"grant_type": "refresh_token", "refresh_token": token}
        url = f"{emulator.authority}/oauth2/v2.0/token"
        for secret, status in ((emulator.client_secret, 200), ("wrong", 401)):
            assert (await client.post(url, data=form, auth=(emulator.client_id, secret))).status_code == status
        for garbage in ("Basic !", "Basic /w=="):
            answer = await client.post(url, data=form, headers={"Authorization": garbage})
            assert refusal(answer) == (401, "invalid_client", 7000216)


async def test_other_grants_are_not_supported() -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        answer = await post(client, emulator, "token", grant_type="password")
        assert refusal(answer) == (400, "unsupported_grant_type", 70003)
        assert refusal(await post(client, emulator, "token")) == (400, "invalid_request", 900144)


# Scopes


@pytest.mark.parametrize(
    ("scope", "audience", "names"),
    [
        (CLIENTS, "https://communication.azure.com", "Chat VoIP"),
        ("https://communication.azure.com/clients/VoIP", "https://communication.azure.com", "VoIP"),
        (TEAMS, "https://auth.msft.communication.azure.com", "TeamsExtension.ManageCalls"),
        (
            "https://auth.msft.communication.azure.us/.default",
            "https://auth.msft.communication.azure.us",
            "Teams.ManageCalls Teams.ManageChats TeamsExtension.ManageCalls",
        ),
        ("https://communication.azure.com//.default", "https://communication.azure.com", "user_impersonation"),
        ("https://communication.azure.com/.default", "https://communication.azure.com", "user_impersonation"),
        ("openid", "00000003-0000-0000-c000-000000000000", "User.Read"),
        ("Mail.Read", "00000003-0000-0000-c000-000000000000", "Mail.Read"),
        ("https://graph.microsoft.com/.default", "00000003-0000-0000-c000-000000000000", "User.Read"),
    ],
)
async def test_a_scope_says_for_which_service_a_token_is(scope: str, audience: str, names: str) -> None:
    async with open_emulator() as emulator:
        claims = claims_of(emulator.issue_entra_token(scope))
        assert (claims["aud"], claims["scp"]) == (audience, names)


async def test_wrong_scopes_are_refused() -> None:
    wrong = {
        f"{CLIENTS} {TEAMS}": ("invalid_scope", 28000),
        "https://elsewhere.example/.default": ("invalid_resource", 500011),
        "https://communication.azure.com/clients/Fax": ("invalid_scope", 70011),
        "https://communication.azure.com//Fax": ("invalid_scope", 70011),
        "https://auth.msft.communication.azure.com/Fax": ("invalid_scope", 70011),
    }
    async with open_emulator() as emulator, client_of(emulator) as client:
        for scope, (error, number) in wrong.items():
            answer = await post(client, emulator, "devicecode", scope=scope)
            assert refusal(answer) == (400, error, number)
            with pytest.raises(ValueError, match=f"AADSTS{number}"):
                emulator.issue_entra_token(scope)


async def test_a_user_has_one_object_id() -> None:
    """Users differ, and a name that is an address is one."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        assert emulator.add_user("ada") == emulator.add_user("ada") != emulator.add_user("bob")
        tokens = await sign_in(client, emulator, "ada@contoso.example")
        assert claims_of(tokens["id_token"])["preferred_username"] == "ada@contoso.example"


# The exchange


async def exchange(client: httpx.AsyncClient, token: str, path: str = EXCHANGE) -> httpx.Response:
    return await client.post(path, json={}, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("path", "scope", "acs_scope"),
    [
        (EXCHANGE, CLIENTS, "chat,voip"),
        (EXCHANGE, "https://communication.azure.com/clients/Chat", "chat"),
        (EXCHANGE, "https://communication.azure.com/clients/VoIP", "voip"),
        (TEAMS_EXCHANGE, TEAMS, "chat,voip"),
        (TEAMS_EXCHANGE, "https://auth.msft.communication.azure.us/TeamsExtension.ManageCalls", "chat,voip"),
    ],
)
async def test_an_entra_token_is_exchanged(path: str, scope: str, acs_scope: str) -> None:
    """The answer is as the service writes it, and the token is good for the chat service if its scopes say so."""
    clock = Clock()
    async with open_emulator(clock=clock) as emulator, client_of(emulator) as client:
        answers = [await exchange(client, emulator.issue_entra_token(scope, user="ada"), path) for _ in range(2)]
        body = answers[1].json()
        resource, tenant, object_id = body["identity"]["id"].removeprefix("8:acs:").split("_")
        assert (tenant, object_id) == (emulator.tenant_id, emulator.add_user("ada"))
        assert body["accessToken"]["expiresOn"] == "2027-01-16T08:00:00.0000000+00:00"
        token = body["accessToken"]["token"]
        claims = claims_of(token)
        assert (claims["resourceId"], claims["acsScope"]) == (resource, acs_scope)
        assert claims["exp"] == clock.now + 86400
        for answer in answers:
            bearer = {"Authorization": f"Bearer {answer.json()['accessToken']['token']}"}
            chat = await client.get("/chat/threads?api-version=2024-03-07", headers=bearer)
            assert chat.status_code == (200 if "chat" in acs_scope else 403)


async def test_token_lifetime_is_that_of_exchanged_tokens_too() -> None:
    async with open_emulator(token_lifetime=5, clock=Clock()) as emulator, client_of(emulator) as client:
        answer = await exchange(client, emulator.issue_entra_token(CLIENTS))
        assert claims_of(answer.json()["accessToken"]["token"])["exp"] == 1_800_000_005


async def test_a_token_that_is_not_good_is_not_exchanged() -> None:
    """401 with the service's error, and a challenge: missing, malformed, another's, for another audience, expired."""
    clock = Clock()
    async with (
        open_emulator(clock=clock, entra_token_lifetime=60) as emulator,
        open_emulator(clock=clock) as other,
        client_of(emulator) as client,
    ):
        good = emulator.issue_entra_token(CLIENTS)
        acs = (await exchange(client, good)).json()["accessToken"]["token"]
        tokens = {
            "x.y.z": "malformed",
            acs: "another authority",
            other.issue_entra_token(CLIENTS): "another authority",
            emulator.issue_entra_token("User.Read"): "another audience",
            emulator.issue_entra_token("https://communication.azure.com//.default"): "none of the scopes Chat, VoIP",
            emulator.issue_entra_token(TEAMS): "another audience",
        }
        for token, reason in tokens.items():
            answer = await exchange(client, token)
            assert answer.status_code == 401
            assert reason in answer.json()["error"]["message"]
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert (await exchange(client, good, TEAMS_EXCHANGE)).status_code == 401
        assert (await client.post(EXCHANGE, json={})).status_code == 401
        clock.now += 60
        assert "expired" in (await exchange(client, good)).json()["error"]["message"]


async def test_the_exchange_knows_its_version_and_its_body() -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        bearer = {"Authorization": f"Bearer {emulator.issue_entra_token(CLIENTS)}"}
        other = EXCHANGE.replace("2025-03-02-preview", "2025-06-30")
        assert (await client.post(other, json={}, headers=bearer)).status_code == 400
        assert (await client.post(EXCHANGE, content=b"[]", headers=bearer)).status_code == 400


# Claims challenges


CLAIMS = '{"access_token": {"nbf": {"essential": true, "value": "1800000000"}}}'


async def test_a_claims_challenge_ends_with_a_token_that_answers_it() -> None:
    """Only the user in question is challenged, and only a token that was asked for with the claims answers."""
    async with open_emulator() as emulator, client_of(emulator) as client:

        def use(app: msal.PublicClientApplication) -> list[dict[str, Any]]:
            flow = app.initiate_device_flow([TEAMS])
            emulator.approve(flow["user_code"], "ada")
            first = app.acquire_token_by_device_flow(flow)
            again = partial(app.acquire_token_silent_with_error, [TEAMS], app.get_accounts()[0])
            other = '{"access_token": {"nbf": {"essential": true}}}'
            return [first, again(force_refresh=True), again(claims_challenge=other), again(claims_challenge=CLAIMS)]

        results = await with_msal(emulator, use, client_capabilities=["CP1"])
        *wrong, right = [result["access_token"] for result in results]
        emulator.require_claims("ada", CLAIMS)
        bob = emulator.issue_entra_token(TEAMS, user="bob")
        assert (await exchange(client, bob, TEAMS_EXCHANGE)).status_code == 200
        for token in wrong:
            answer = await exchange(client, token, TEAMS_EXCHANGE)
            assert answer.status_code == 401
            challenge = answer.headers["WWW-Authenticate"]
            assert challenge.startswith("Bearer ")
            assert 'error="insufficient_claims"' in challenge
            (encoded,) = re.findall(r'claims="([\w-]+)"', challenge)
            assert json.loads(base64.urlsafe_b64decode(encoded + "==")) == json.loads(CLAIMS)
        assert (await exchange(client, right, TEAMS_EXCHANGE)).status_code == 200
        assert (await exchange(client, wrong[0], TEAMS_EXCHANGE)).status_code == 200
        with pytest.raises(ValueError, match="JSON object"):
            emulator.require_claims("ada", "nbf")


async def test_claims_may_be_asked_for_when_the_sign_in_begins() -> None:
    async with open_emulator() as emulator, client_of(emulator) as client:
        token = (await sign_in(client, emulator, claims=CLAIMS))["access_token"]
        emulator.require_claims("ada", CLAIMS)
        assert (await exchange(client, token, TEAMS_EXCHANGE)).status_code == 200


# Switches and settings


async def test_an_answer_can_be_anything() -> None:
    """Any status, headers that come twice, and a body in bytes or text, for so many requests."""
    async with open_emulator() as emulator, client_of(emulator) as client:
        token = emulator.issue_entra_token(CLIENTS)
        emulator.answer("exchange", body="\ufeff\u00e4", headers=[("Retry-After", "1"), ("Retry-After", "2")], times=1)
        answer = await exchange(client, token)
        assert (answer.status_code, answer.content) == (200, "\ufeff\u00e4".encode())
        assert answer.headers.get_list("retry-after") == ["1", "2"]
        emulator.answer("exchange", status=307, body=b"\xff", headers={"Location": "https://other.example/"}, times=1)
        answer = await exchange(client, token)
        assert (answer.status_code, answer.content) == (307, b"\xff")
        assert answer.headers["location"] == "https://other.example/"
        assert (await exchange(client, token)).status_code == 200
        with pytest.raises(ValueError, match="from 200"):
            emulator.answer("exchange", status=101)


async def test_the_authority_fails_in_its_own_form() -> None:
    """Faults fit the authority's paths, and MSAL reads what they say."""
    async with open_emulator() as emulator:
        emulator.fail("POST .*/devicecode$", status=400)

        def use(app: msal.PublicClientApplication) -> Any:
            return app.initiate_device_flow([TEAMS])

        assert (await with_msal(emulator, use))["error"] == "invalid_request"
        emulator.fail("POST .*/devicecode$", status=429, retry_after=7)
        assert (await with_msal(emulator, use))["error"] == "temporarily_unavailable"


@pytest.mark.parametrize(
    ("setting", "wrong", "says"),
    [
        ({"entra_token_lifetime": 0}, ValueError, "entra_token_lifetime is 1 second or more"),
        ({"entra_token_lifetime": None}, TypeError, "is seconds, not NoneType"),
        ({"entra_refresh_in": -1}, ValueError, "entra_refresh_in is 0 seconds or more"),
        ({"device_code_interval": 0}, ValueError, "device_code_interval is 1 second or more"),
        ({"device_code_lifetime": float("inf")}, ValueError, "finite"),
    ],
)
async def test_wrong_settings_are_refused(setting: dict[str, Any], wrong: type[Exception], says: str) -> None:
    with pytest.raises(wrong, match=says):
        async with open_emulator(**setting):
            pass


def test_a_fault_says_which_statuses_it_takes() -> None:
    assert Fault(target="x", action="answer", status=200).status == 200
    with pytest.raises(ValueError, match="from 400"):
        Fault(target="x", action="fail", status=200)


@pytest.mark.once
async def test_clients_that_leave_at_once_disturb_nobody() -> None:
    """A client that closes the connection with the answer's last byte, as requests does, ends no other's."""
    async with open_emulator() as emulator:

        def visit() -> None:
            with requests.Session() as session:
                session.trust_env = False
                url = f"{emulator.authority}/v2.0/.well-known/openid-configuration"
                for _ in range(50):
                    session.get(
                        url, headers={"Connection": "close"}, verify=emulator.ca_file, timeout=40
                    ).raise_for_status()

        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(to_thread.run_sync, visit)
        assert [request.status for request in emulator.requests] == [200] * 100
