"""An MSAL application of the user's own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msal
import pytest
from entra_users import SCOPE, Clock, approving, signing_in_at, skip_pauses, token_requests

from anyio_acs_credential import SignInRequiredError, TokenSourceError
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential, MsalCredential

if TYPE_CHECKING:
    from anyio_acs_credential.emulator import Emulator


@pytest.fixture(autouse=True)
def _nothing_but_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """`requests`, which is MSAL's own HTTP, lets these overrule what it is told."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def own_application(emulator: Emulator, cache: Any) -> Any:
    """With MSAL's own HTTP, and a time-out."""
    return msal.PublicClientApplication(
        emulator.client_id, oidc_authority=emulator.authority, verify=emulator.ca_file, timeout=5, token_cache=cache
    )


async def cache_of(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, *people: str) -> Any:
    """A token cache of people who have signed in."""
    skip_pauses(monkeypatch)
    cache = msal.TokenCache()
    for name in people:
        prompt = approving(emulator, name)
        await DeviceCodeCredential(
            emulator.client_id, prompt_callback=prompt, token_cache=cache, **signing_in_at(emulator)
        ).sign_in(SCOPE)
    return cache


async def test_it_is_made_and_used_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once; and the tokens of the only account in it are renewed."""
    clock = Clock(monkeypatch)
    made: list[int] = []
    async with open_emulator() as emulator:
        cache = await cache_of(emulator, monkeypatch, "alice")

        def make() -> Any:
            made.append(threading.get_ident())
            return own_application(emulator, cache)

        credential = MsalCredential(make)
        for _ in range(2):
            assert (await credential.get_token(SCOPE)).claims["name"] == "alice"
            clock.ahead += 3700
        assert len(made) == 1
        assert made != [threading.get_ident()]
        assert token_requests(emulator) == 2


async def test_one_that_is_made_already_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block has no HTTP client to keep, and does no harm."""
    async with open_emulator() as emulator:
        cache = await cache_of(emulator, monkeypatch, "alice")
        app = await anyio.to_thread.run_sync(own_application, emulator, cache)
        async with MsalCredential(app) as credential:
            assert (await credential.get_token(SCOPE)).claims["name"] == "alice"


@pytest.mark.promise("R60")
async def test_of_several_accounts_one_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_emulator() as emulator:
        cache = await cache_of(emulator, monkeypatch, "alice", "bob")
        app = await anyio.to_thread.run_sync(own_application, emulator, cache)
        with pytest.raises(SignInRequiredError, match="say whose tokens are wanted with account="):
            await MsalCredential(app).get_token(SCOPE)
        accounts = await anyio.to_thread.run_sync(app.get_accounts)
        names = set()
        for account in accounts:
            for given in (account, account["home_account_id"]):
                names.add((await MsalCredential(app, account=given).get_token(SCOPE)).claims["name"])
        assert names == {"alice", "bob"}
        with pytest.raises(SignInRequiredError, match="there is nobody"):
            await MsalCredential(app, account="somebody.else").get_token(SCOPE)


@pytest.mark.parametrize("app", [lambda: None, lambda: msal.TokenCache])
async def test_a_function_that_makes_something_else_is_told(app: Any) -> None:
    with pytest.raises(TokenSourceError, match="not an MSAL application") as raised:
        await MsalCredential(app).get_token(SCOPE)
    assert raised.value.permanent


async def test_what_its_own_http_raises_is_a_failure_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with open_emulator() as emulator:
        cache = await cache_of(emulator, monkeypatch, "alice")
        credential = MsalCredential(lambda: own_application(emulator, cache))
        await credential.get_token(SCOPE)
        clock.ahead += 3700
        emulator.fail("/token$", status=503, times=1)
        with pytest.raises(TokenSourceError, match="MSAL failed") as raised:
            await credential.get_token(SCOPE)
        assert not raised.value.permanent
