"""Redeeming the code that a web application was sent."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import anyio
import pytest
from entra_users import CLAIMS, SCOPE, Clock, discovery, server_context, signing_in_at, token_requests, tokens, trusting
from redacted import Redacted
from servers import answer, serve

from anyio_acs_credential import ServiceError, SignInRequiredError
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import AuthorizationCodeCredential

if TYPE_CHECKING:
    from servers import Behaviour, Server

    from anyio_acs_credential.emulator import Emulator

BACK = "https://app.example/back"
VERIFIER = "canary-verifier-that-is-long-enough-for-the-standard"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def code_of(emulator: Emulator, user: str = "alice") -> str:
    """What the web application was sent, which had asked for it with a nonce of its own."""
    entra = emulator._entra
    grant = entra.grant(user, f"{SCOPE} openid profile offline_access", {}, "a-nonce-of-the-web-application")
    return str(entra.codes.issue(grant, BACK, CHALLENGE))


def credential_of(emulator: Emulator, **options: Any) -> AuthorizationCodeCredential:
    given = {"authorization_code": code_of(emulator), "redirect_uri": BACK, "code_verifier": VERIFIER}
    return AuthorizationCodeCredential(emulator.client_id, **{**given, **signing_in_at(emulator), **options})


def at(server: Server) -> AuthorizationCodeCredential:
    authority = f"{server.url}/tenant"
    return AuthorizationCodeCredential(
        "app", authorization_code="canary-code", redirect_uri=BACK, authority=authority, verify=trusting()
    )


@pytest.mark.parametrize("confidential", [False, True])
async def test_the_code_is_redeemed_once(
    confidential: bool, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """By however many callers at once; later tokens live on the refresh token."""
    clock = Clock(monkeypatch)
    async with open_emulator() as emulator:
        credential = credential_of(emulator, client_secret=emulator.client_secret if confidential else None)
        found = []

        async def call() -> None:
            found.append(await credential.get_token(SCOPE))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(call)
        assert {token.claims["name"] for token in found} == {"alice"}
        assert token_requests(emulator) == 1
        clock.ahead += 3700
        later = await credential.get_token(SCOPE)
        assert later.claims["name"] == "alice"
        assert later not in found
        assert token_requests(emulator) == 2
    assert not recwarn.list


async def test_texts_that_hide_themselves_are_what_they_hold() -> None:
    async with open_emulator() as emulator:
        credential = AuthorizationCodeCredential(
            Redacted(emulator.client_id),
            authorization_code=Redacted(code_of(emulator)),
            redirect_uri=Redacted(BACK),
            code_verifier=Redacted(VERIFIER),
            client_secret=Redacted(emulator.client_secret),
            authority=Redacted(emulator.authority),
            verify=emulator.ssl_context,
        )
        assert (await credential.get_token(SCOPE)).claims["name"] == "alice"


async def test_signing_in_redeems_it_as_well() -> None:
    async with open_emulator() as emulator:
        credential = credential_of(emulator)
        await credential.sign_in(SCOPE)
        await credential.get_token(SCOPE)
        assert token_requests(emulator) == 1


async def test_claims_are_asked_for_once_it_is_redeemed() -> None:
    async with open_emulator() as emulator:
        token = await credential_of(emulator).get_token(SCOPE, claims=CLAIMS)
        assert "nbf" in token.claims["asked"]["access_token"]
        assert token_requests(emulator) == 2


@pytest.mark.parametrize(
    "wrong", [{"code_verifier": None}, {"code_verifier": "x" * 50}, {"redirect_uri": "https://app.example/elsewhere"}]
)
async def test_a_code_that_is_not_accepted_needs_a_new_sign_in(wrong: dict[str, Any]) -> None:
    """It is not sent a second time."""
    async with open_emulator() as emulator:
        credential = credential_of(emulator, **wrong)
        for says in ("invalid_grant.*make a new credential with the new authorization code", "nobody has signed in"):
            with pytest.raises(SignInRequiredError, match=says):
                await credential.get_token(SCOPE)
        assert token_requests(emulator) == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [(answer(503), "503"), (answer(400, {"error": "invalid_grant", "error_codes": [90033]}), "try again later")],
    ids=["no answer", "an outage called a bad grant"],
)
async def test_a_code_that_was_not_answered_is_sent_again(fault: Behaviour, says: str) -> None:
    """What it was sent with is what the web application had."""
    async with serve(discovery(), fault, tokens(), tls=server_context()) as server:
        credential = at(server)
        with pytest.raises(ServiceError, match=says):
            await credential.get_token(SCOPE)
        await credential.get_token(SCOPE)
        form = parse_qs(server.requests[-1].body.decode())
    assert form["code"] == ["canary-code"]
    assert form["redirect_uri"] == [BACK]
    assert set(form["scope"][0].split()) == {SCOPE, "openid", "profile", "offline_access"}
    assert '"CP1"' in form["claims"][0]
    assert "code_verifier" not in form


async def test_a_time_to_renew_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    day = tokens(expires_in=86400, refresh_in=43200)
    async with serve(discovery(), day, day, tls=server_context()) as server:
        credential = at(server)
        for ahead, requests in [(0, 2), (43000, 2), (43300, 3)]:
            clock.ahead = ahead
            await credential.get_token(SCOPE)
            assert len(server.requests) == requests
