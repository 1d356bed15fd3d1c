"""Entra credentials on a machine whose clock is wrong: real MSAL, which compares with that clock.

What MSAL does: it writes into its cache when a token ends by our clock, from `expires_in`, and compares with our clock
again. So a clock that is wrong all the time does it no harm; one that is set back keeps dead tokens in its cache, and
one that is set ahead has it fetch the next.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jwt
import msal
import pytest
from certificates import rsa_certificate
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from emulated import client_of
from entra_users import (
    SCOPE,
    approving,
    discovery,
    server_context,
    signing_in_at,
    skip_pauses,
    token_requests,
    trusting,
)
from entra_users import tokens as token_answer
from servers import serve

from anyio_acs_credential import AccessToken, CommunicationTokenCredential, TokenSourceError
from anyio_acs_credential._common.redaction import Secret
from anyio_acs_credential._tokens import clock_warning
from anyio_acs_credential._tokens.service_clock import ServiceClock
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential, MsalCredential, OnBehalfOfCredential, _grant
from anyio_acs_credential.entra._assertion import date_assertions
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from anyio_acs_credential.emulator import Emulator

HOUR = 3600
WRONG = [2 * HOUR, -2 * HOUR]


class World:
    """The true time, and this machine's clock, which is ahead of it. The event loop's own time is left alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, monotonic = time.time, time.monotonic
        self.passed = self.ahead = 0.0
        self.service = SimpleNamespace(time=lambda: real() + self.passed)
        monkeypatch.setattr(time, "time", lambda: real() + self.passed + self.ahead)
        ours = SimpleNamespace(time=time.time, monotonic=lambda: monotonic() + self.passed)
        monkeypatch.setattr(_grant, "time", ours)

    def lives(self, token: AccessToken) -> float:
        """Seconds that a token has left, in truth."""
        return float(token.claims["exp"] - self.service.time())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    skip_pauses(monkeypatch)
    monkeypatch.setattr(clock_warning, "_told", {})
    return World(monkeypatch)


async def signed_in(emulator: Emulator, **options: Any) -> DeviceCodeCredential:
    credential = DeviceCodeCredential(
        emulator.client_id, prompt_callback=approving(emulator), **signing_in_at(emulator), **options
    )
    await credential.sign_in(SCOPE)
    return credential


async def used_for(credential: Any, world: World, hours: float) -> None:
    """Ask every ten minutes, five times each; every token is good there."""
    for _ in range(int(6 * hours)):
        for _ in range(5):
            assert world.lives(await credential.get_token(SCOPE)) > 0
        world.passed += 600


@pytest.mark.promise("R89")
@pytest.mark.parametrize("ahead", [0, *WRONG])
async def test_a_clock_that_is_wrong_all_the_time_makes_no_difference(world: World, ahead: float) -> None:
    """Tokens of an hour, each renewed once, in its last minutes."""
    world.ahead = ahead
    async with open_emulator(clock=world.service) as emulator:
        credential = await signed_in(emulator)
        before = token_requests(emulator)
        token = await credential.get_token(SCOPE)
        assert token.expires_on == pytest.approx(time.time() + HOUR, abs=60)  # by our clock: who is given it compares
        await used_for(credential, world, hours=6)
        assert 5 <= token_requests(emulator) - before <= 8


@pytest.mark.promise("R89")
@pytest.mark.parametrize("begins", [0, *WRONG])
@pytest.mark.parametrize("step", [3 * HOUR, -3 * HOUR, 10 * 365 * 86_400])
async def test_a_clock_that_is_set_while_a_token_is_held(world: World, begins: float, step: float) -> None:
    """Set back, it keeps none alive beyond its end, though MSAL's cache would; set ahead, it costs one renewal."""
    world.ahead = begins
    async with open_emulator(clock=world.service) as emulator:
        credential = await signed_in(emulator)
        await used_for(credential, world, hours=0.5)
        before = token_requests(emulator)
        world.ahead += step
        await used_for(credential, world, hours=6)
        assert 5 <= token_requests(emulator) - before <= 9


@pytest.mark.promise("R89")
@pytest.mark.parametrize("step", [2 * HOUR, -2 * HOUR])
async def test_tokens_that_last_a_day_and_are_renewed_at_noon(world: World, step: float) -> None:
    """MSAL keeps that time by our clock too: until it agrees it is asked once in half a minute, and Entra is not."""
    async with open_emulator(clock=world.service, entra_token_lifetime=24 * HOUR) as emulator:
        credential = await signed_in(emulator)
        world.ahead += step
        before = token_requests(emulator)
        await used_for(credential, world, hours=30)
        assert 2 <= token_requests(emulator) - before <= 5


@pytest.mark.promise("R89")
@pytest.mark.parametrize(("then", "now"), [(2 * HOUR, 0), (0, -2 * HOUR), (-2 * HOUR, 0), (2 * HOUR, 2 * HOUR)])
async def test_a_cache_that_was_written_by_another_clock(world: World, then: float, now: float) -> None:
    """As one on disk: what MSAL reads from it as good for hours has ended, or will before that."""
    async with open_emulator(clock=world.service) as emulator:
        cache = msal.TokenCache()
        world.ahead = then
        await signed_in(emulator, token_cache=cache)
        world.passed += 1.5 * HOUR
        world.ahead = now
        later = DeviceCodeCredential(emulator.client_id, token_cache=cache, **signing_in_at(emulator))
        before = token_requests(emulator)
        assert world.lives(await later.get_token(SCOPE)) > HOUR / 2
        await used_for(later, world, hours=3)
        assert token_requests(emulator) - before <= 5


@pytest.mark.promise("R89")
@pytest.mark.parametrize("ahead", WRONG)
async def test_the_whole_way_to_an_access_token(world: World, ahead: float) -> None:
    """Sign in, exchange, use it; nothing is asked for twice."""
    world.ahead = ahead
    async with (
        open_emulator(clock=world.service, token_lifetime=HOUR) as emulator,
        client_of(emulator) as http,
        CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint, token_credential=await signed_in(emulator), http_client=http
        ) as credential,
    ):
        for _ in range(5):
            token = await credential.get_token()
            said = await http.get(
                "/chat/threads?api-version=2024-03-07", headers={"Authorization": f"Bearer {token.token}"}
            )
            assert said.status_code != 401
        assert credential.statistics().clock_offset == pytest.approx(ahead, abs=60)
        assert credential.health().seconds_to_expiry == pytest.approx(HOUR, abs=60)
        assert sum(request.path.endswith(":exchangeAccessToken") for request in emulator.requests) == 1


@pytest.mark.promise("R89")
@pytest.mark.parametrize("ahead", WRONG)
async def test_an_application_of_somebodys_own_that_tells_no_dates(
    world: World, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests do not come by here: what its answers and tokens say of a life is enough."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # `requests` lets them overrule what it is told
        monkeypatch.delenv(name, raising=False)
    world.ahead = ahead
    async with open_emulator(clock=world.service) as emulator:
        cache = msal.TokenCache()
        await signed_in(emulator, token_cache=cache)

        def make() -> msal.PublicClientApplication:
            return msal.PublicClientApplication(
                emulator.client_id, oidc_authority=emulator.authority, token_cache=cache, verify=emulator.ca_file
            )

        credential = MsalCredential(make)
        before = token_requests(emulator)
        await used_for(credential, world, hours=6)
        assert 5 <= token_requests(emulator) - before <= 9


async def test_a_token_that_has_ended_though_it_was_just_given(world: World) -> None:
    """Where it does not agree with its answer either, our clock is believed: an authority repeats an old one."""
    stale = make_jwt(exp=int(time.time()) - 60, iat=int(time.time()) - 460)
    lasting = make_jwt(exp=int(time.time()) - 60, iat=int(time.time()) - 60 - HOUR)
    script = (discovery(), token_answer(access_token=stale), token_answer(access_token=lasting))
    async with serve(*script, tls=server_context()) as server:
        credential = OnBehalfOfCredential(
            "app", user_assertion="a", client_secret="s", authority=f"{server.url}/tenant", verify=trusting()
        )
        with pytest.raises(TokenSourceError, match="no token that is good now"):
            await credential.get_token(SCOPE)
        assert (await credential.get_token(SCOPE)).token == lasting


@pytest.mark.promise("R89")
@pytest.mark.parametrize("ahead", WRONG)
@pytest.mark.parametrize("phrase", [None, "open sesame"])
async def test_a_certificate_proves_who_asks_by_the_authoritys_time(
    world: World, ahead: float, phrase: str | None
) -> None:
    """Entra refuses an assertion that has ended or comes from the future. Set back, no old one is shown again."""
    world.ahead = ahead
    async with open_emulator(clock=world.service) as emulator:
        key, certificate = key_and_certificate(phrase)
        emulator.add_client_certificate(certificate.encode())
        given = {"private_key": key, "public_certificate": certificate, "passphrase": phrase}
        credential = OnBehalfOfCredential(
            emulator.client_id,
            user_assertion=emulator.issue_entra_token(f"api://{emulator.client_id}/access_as_user"),
            client_certificate=given,
            **signing_in_at(emulator),
        )
        await used_for(credential, world, hours=2)
        world.ahead -= 3 * HOUR
        await used_for(credential, world, hours=3)


def key_and_certificate(phrase: str | None) -> tuple[str, str]:
    issued = rsa_certificate("service.example")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = NoEncryption() if phrase is None else BestAvailableEncryption(phrase.encode())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked).decode()
    return text, issued.cert_chain_pems[0].bytes().decode()


@pytest.mark.parametrize("form", ["bytes", "key", "other"])
def test_what_an_assertion_is_signed_with(form: str) -> None:
    """A key in whichever form MSAL takes it; what has none is left to MSAL."""
    text, _ = key_and_certificate(None)
    key = load_pem_private_key(text.encode(), None)
    given: Any = {"bytes": text.encode(), "key": key, "other": None}[form]
    template = jwt.encode({"sub": "app", "exp": 1}, key, algorithm="RS256", headers={"x5t": "print"})  # type: ignore[arg-type]
    app = SimpleNamespace(client=SimpleNamespace(client_assertion=lambda: template), client_credential="as it was")
    date_assertions(app, Secret({"pfx": "x"} if given is None else {"private_key": given}), ServiceClock("Entra"))
    if form == "other":
        assert app.client_credential == "as it was"
        return
    made = app.client.client_assertion()
    claims = jwt.decode(made, key.public_key(), algorithms=["RS256"])  # type: ignore[arg-type]
    assert claims["sub"] == "app"
    assert claims["exp"] - claims["iat"] == 600
    assert jwt.get_unverified_header(made)["x5t"] == "print"
    assert app.client_credential["client_assertion"]() != made  # another each time, by its id
