"""Claims that are no text: a mistake that is told before anything is asked, wherever claims are taken."""

from __future__ import annotations

from typing import Any

import pytest
from anyio import to_thread

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, EntraTokenExchange
from anyio_acs_credential.azure import as_sync_token_credential, as_token_credential
from anyio_acs_credential.entra import DeviceCodeCredential, MsalCredential
from anyio_acs_credential.fleet import MemoryTokenStore, shared
from anyio_acs_credential.testing import ScriptedSource, make_jwt

SAYS = "claims are the text of a JSON object, not {}: give claims.decode.. of bytes, and json.dumps.claims. of a dict"
NO_TEXT = pytest.mark.parametrize("claims", [b'{"access_token":{}}', {"access_token": {}}, {}, 0, False, object()])
ENDPOINT = "https://x.communication.azure.com"


class Person:
    """An Entra user's credential, which counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        self.calls += 1
        return AccessToken.from_jwt(make_jwt())


def told(claims: object) -> Any:
    return pytest.raises(TypeError, match=SAYS.format(type(claims).__name__))


@NO_TEXT
async def test_a_credential(claims: Any) -> None:
    """With a refresher, of an Entra user, and a static one; also in azure-core's options, and through its types."""
    source, person = ScriptedSource(3600), Person()
    async with (
        CommunicationTokenCredential(token_refresher=source) as refreshing,
        CommunicationTokenCredential(
            resource_endpoint=ENDPOINT, token_credential=person, proactive_refresh=False
        ) as entra,
    ):
        await refreshing.get_token()
        for credential in (refreshing, entra, CommunicationTokenCredential(make_jwt())):
            with told(claims):
                await credential.get_token(claims=claims)
            with told(claims):
                await credential.get_token_info(options={"claims": claims})
            with told(claims):
                await as_token_credential(credential).get_token("scope", claims=claims)
        assert (source.calls, person.calls) == (1, 0)


@NO_TEXT
async def test_a_synchronous_credential(claims: Any) -> None:
    source = ScriptedSource(3600)
    async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False) as credential:
        sync = as_sync_token_credential(credential)

        def ask() -> None:
            with told(claims):
                sync.get_token("scope", claims=claims)
            with told(claims):
                sync.get_token_info("scope", options={"claims": claims})  # type: ignore[attr-defined]  # it has one

        await to_thread.run_sync(ask)
    assert source.calls == 0


@NO_TEXT
async def test_a_source(claims: Any) -> None:
    person = Person()
    async with MemoryTokenStore() as store:
        exchange = EntraTokenExchange(ENDPOINT, person)
        for source in (exchange, shared(exchange, store, key="ana")):
            with told(claims):
                await source(claims)
    assert person.calls == 0


@NO_TEXT
@pytest.mark.parametrize("make", [lambda: DeviceCodeCredential("app"), lambda: MsalCredential(lambda: None)])
async def test_a_sign_in(make: Any, claims: Any) -> None:
    """Before anybody has signed in, and before MSAL is called."""
    with told(claims):
        await make().get_token("scope", claims=claims)
