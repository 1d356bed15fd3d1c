"""A month on a machine whose clock is wrong and set at random: no read without a token that the service takes."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from anyio_acs_credential import (
    AccessKeyCredential,
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    EntraTokenExchange,
)
from anyio_acs_credential._refreshing import task
from anyio_acs_credential._tokens import clock_warning
from anyio_acs_credential.identity import _authorization
from anyio_acs_credential.testing import VirtualClock, make_jwt, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NOW = 1_800_000_000.0
HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400.0
ENDPOINT = "https://contoso.communication.azure.com"
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OFFSETS = [5.0, -5.0, 360.0, -360.0, 3 * HOUR, -3 * HOUR, 10 * YEAR, -10 * YEAR, 0.0, 0.0]

pytestmark = pytest.mark.once


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been told in this process; and the task looks at the clock once a read, for a month is long."""
    monkeypatch.setattr(clock_warning, "_told", {})
    monkeypatch.setattr(task, "SLICE", 300.0)


class Service:
    """A resource whose clock is right, with tokens that live an hour, or less where they come from a teams user's.

    Attributes:
        refused: Requests that were answered with a 401.
        answered: Requests that were answered with a token.
    """

    def __init__(self, chance: random.Random) -> None:
        self.clock = VirtualClock(NOW)
        self.refused = self.answered = 0
        self._chance = chance

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await anyio.sleep(self._chance.choice([0.0, 0.1, 0.3, 2.0]))
        now = self.clock.time()
        headers = {"Date": formatdate(now, usegmt=True)}
        await anyio.sleep(self._chance.choice([0.0, 0.1, 0.3, 2.0]))
        if not self._accepts(request, now):
            self.refused += 1
            return httpx.Response(401, headers=headers, json={"error": {"code": "Denied"}})
        self.answered += 1
        token = {
            "token": make_jwt(exp=int(now + HOUR), iat=int(now), n=self.answered),
            "expiresOn": datetime.fromtimestamp(int(now + HOUR), UTC).isoformat(),
        }
        body = token if "issueAccessToken" in request.url.path else {"accessToken": token, "identity": {"id": "8:a"}}
        return httpx.Response(200, headers=headers, json=body)

    def _accepts(self, request: httpx.Request, now: float) -> bool:
        if (date := request.headers.get("x-ms-date")) is not None:
            return abs(parsedate_to_datetime(date).timestamp() - now) <= 300
        return self.takes(request.headers["authorization"].removeprefix("Bearer "))

    def takes(self, token: str) -> bool:
        """Whether a token has not ended there."""
        return AccessToken.from_jwt(token).expires_on > self.clock.time()


async def used_for_a_month(credential: CommunicationTokenCredential, clock: VirtualClock, service: Service) -> int:
    """Reads every five minutes, and the clock set about twice a day; gives how often that was."""
    chance, ahead, steps = random.Random(7), 0.0, 0  # noqa: S311 - dice, not keys
    begin = service.clock.time()
    while service.clock.time() < begin + 30 * DAY:
        if chance.random() < 2 / 288:
            offset = chance.choice(OFFSETS) + chance.random()
            clock.jump(offset - ahead)
            ahead = offset
            steps += 1
        assert service.takes((await credential.get_token()).token)
        await anyio.sleep(300)
    return steps


@pytest.mark.promise("R85")
@pytest.mark.promise("R87")
async def test_a_month_with_an_access_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read is answered with a token that the service takes, and a step of the clock costs one 401 at most."""
    service, clock = Service(random.Random(5)), VirtualClock(NOW)  # noqa: S311 - likewise
    monkeypatch.setattr(CommunicationIdentityClient, "_clock", clock)
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(service)) as http,
        CommunicationIdentityClient(ENDPOINT, AccessKeyCredential(KEY), http_client=http) as identity,
    ):

        async def fetch() -> AccessToken:
            return await identity.get_token("8:acs:a_b", ["chat"])

        async with CommunicationTokenCredential(token_refresher=fetch, clock=clock) as credential:
            steps = await used_for_a_month(credential, clock, service)
    assert steps > 40
    assert service.refused <= steps
    assert 720 <= service.answered <= 1000 + steps


def local(clock: VirtualClock, service: Service) -> Callable[..., Awaitable[AccessToken]]:
    """Entra tokens as azure-identity and MSAL give them: their ends are times of our clock."""

    async def get_token(*_: str) -> AccessToken:
        there = service.clock.time()
        return AccessToken(make_jwt(exp=int(there + HOUR), iat=int(there)), clock.time() + HOUR)

    return get_token


@pytest.mark.promise("R85")
@pytest.mark.promise("R89")
async def test_a_month_of_an_entra_user() -> None:
    service, clock = Service(random.Random(6)), VirtualClock(NOW)  # noqa: S311 - likewise
    person: Any = type("Person", (), {"get_token": staticmethod(local(clock, service))})()
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(service)) as http,
        CommunicationTokenCredential(
            resource_endpoint=ENDPOINT, token_credential=person, http_client=http, clock=clock
        ) as credential,
    ):
        steps = await used_for_a_month(credential, clock, service)
    assert steps > 40
    assert service.refused == 0
    assert 720 <= service.answered <= 1000 + steps


@pytest.mark.promise("R85")
@pytest.mark.parametrize("of_entra", [False, True])
async def test_a_clock_that_is_set_between_requests_and_their_answers(
    of_entra: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for that round gets a token, and no error: where the answer seems to have ended, another is got."""
    service, clock = Service(random.Random(9)), VirtualClock(NOW)  # noqa: S311 - likewise
    monkeypatch.setattr(CommunicationIdentityClient, "_clock", clock)
    person: Any = type("Person", (), {"get_token": staticmethod(local(clock, service))})()
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(service)) as http,
        CommunicationIdentityClient(ENDPOINT, AccessKeyCredential(KEY), http_client=http) as identity,
    ):
        fetch: Any = partial(identity.get_token, "8:acs:a_b", ["chat"])
        if of_entra:
            fetch = EntraTokenExchange(ENDPOINT, person, http_client=http)
        async with CommunicationTokenCredential(token_refresher=fetch, clock=clock) as credential:
            for step in [3 * HOUR, -3 * HOUR, 10 * YEAR, -10 * YEAR, 8 * HOUR, 360.0, -360.0] * 6:
                async with anyio.create_task_group() as group:
                    group.start_soon(credential.refresh)
                    await anyio.sleep(0.05)  # some answers are there by then
                    clock.jump(step)
                    assert service.takes((await credential.get_token()).token)
                await anyio.sleep(300)
            assert credential.statistics().failures == 0


@pytest.mark.promise("R89")
async def test_an_entra_token_of_the_identity_client_ends_by_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held for all requests, and not beyond its end where the clock was set back meanwhile."""
    service, clock = Service(random.Random(8)), VirtualClock(NOW)  # noqa: S311 - likewise
    monkeypatch.setattr(_authorization, "time", clock)
    monkeypatch.setattr(CommunicationIdentityClient, "_clock", clock)
    person: Any = type("Person", (), {"get_token": staticmethod(local(clock, service))})()
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(service)) as http,
        CommunicationIdentityClient(ENDPOINT, person, http_client=http) as identity,
    ):
        for step in (0, -3 * HOUR, 3 * HOUR, -10 * YEAR):
            clock.jump(step)
            for _ in range(30):
                await identity.get_token("8:acs:a_b", ["chat"])
                await anyio.sleep(300)
    assert service.refused == 0
