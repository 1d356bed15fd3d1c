"""A claims challenge that cannot be met is its challengers' alone: plain tokens go on, in virtual time."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialClosedError,
    HealthStatus,
    RefreshFailed,
    RefreshPolicy,
    SignInRequiredError,
    TokenRefreshError,
)
from anyio_acs_credential.testing import VirtualClock, make_jwt, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

STEADY = RefreshPolicy(jitter=0)
MFA = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'
OTHER = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}'


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class Person:
    """Somebody who is signed in, and cannot meet some challenges.

    Attributes:
        asked: The claims of each call.
        unmet: What meets a challenge with an error, by its claims; None is for plain tokens.
        gate: What each call waits for.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.asked: list[str | None] = []
        self.unmet: dict[str | None, Exception] = {MFA: SignInRequiredError("another factor is wanted")}
        self.gate: anyio.Event | None = None

    async def get_token(self, *_scopes: str, claims: str | None = None) -> AccessToken:
        self.asked.append(claims)
        if self.gate is not None:
            await self.gate.wait()
        if claims in self.unmet:
            raise self.unmet[claims]
        return AccessToken.from_jwt(make_jwt(3600, clock=self.clock))


class Body(httpx.AsyncByteStream):
    def __init__(self, content: object) -> None:
        self._content = json.dumps(content).encode()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


class Exchange(httpx.AsyncBaseTransport):
    """A service that gives tokens of four minutes."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._number = 0

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        self._number += 1
        token = make_jwt(240, clock=self._clock, jti=self._number)
        content = {"token": token, "expiresOn": self._clock.time() + 240}
        return httpx.Response(200, stream=Body({"identity": {"id": "8:acs:a_b"}, "accessToken": content}))


@asynccontextmanager
async def signed_in(clock: VirtualClock, **options: Any) -> AsyncGenerator[tuple[Person, CommunicationTokenCredential]]:
    person = Person(clock)
    async with (
        httpx.AsyncClient(transport=Exchange(clock)) as client,
        CommunicationTokenCredential(
            resource_endpoint="https://x.communication.azure.com",
            token_credential=person,
            http_client=client,
            clock=clock,
            **{"policy": STEADY, **options},
        ) as credential,
    ):
        yield person, credential


async def failure_of(credential: CommunicationTokenCredential, claims: str | None) -> TokenRefreshError:
    with pytest.raises(TokenRefreshError) as caught:
        await credential.get_token(claims=claims)
    return caught.value


@pytest.mark.promise("R18")
async def test_plain_tokens_go_on(clock: VirtualClock) -> None:
    """For as long as one API wants what only a person can give, all others are served, and the token is renewed."""
    async with signed_in(clock) as (person, credential):
        await credential.get_token()
        await anyio.sleep(100)
        error = await failure_of(credential, MFA)
        assert error.permanent
        assert isinstance(error.__cause__, SignInRequiredError)
        for _ in range(400):
            await anyio.sleep(1)
            assert (await credential.get_token()).token
        assert person.asked.count(MFA) == 1
        assert credential.statistics().last_error is None
        assert credential.statistics().failures == 1
        assert credential.health().status is HealthStatus.READY


@pytest.mark.promise("R18")
async def test_its_challengers_are_told_at_once_for_as_long_as_it_is_latched(clock: VirtualClock) -> None:
    """The person is asked for nothing new until five minutes are over, or a refresh has succeeded."""
    async with signed_in(clock) as (person, credential):
        await credential.get_token()
        for _ in range(50):
            await failure_of(credential, MFA)
            await anyio.sleep(1)
        assert person.asked.count(MFA) == 1
        await anyio.sleep(300)
        await failure_of(credential, MFA)
        assert person.asked.count(MFA) == 2
        del person.unmet[MFA]  # the person has signed in again
        await failure_of(credential, MFA)
        await credential.refresh()
        await anyio.sleep(61)  # the token that it brought is no longer young
        assert (await credential.get_token(claims=MFA)).token
        assert person.asked.count(MFA) == 3


async def test_what_passes_is_tried_again_at_the_pace_of_the_back_off(clock: VirtualClock) -> None:
    """A transient failure of a challenge has its own streak."""
    events: list[float] = []

    def observe(event: object) -> None:
        if isinstance(event, RefreshFailed):
            events.append(event.next_attempt_at - clock.time())

    async with signed_in(clock, observer=observe) as (person, credential):
        person.unmet[MFA] = OSError("down")
        await credential.get_token()
        for _ in range(600):
            await failure_of(credential, MFA)
            await anyio.sleep(0.1)
        asked = person.asked.count(MFA)
        assert 4 <= asked <= 7
        assert len(events) == asked
        assert events == sorted(events)
        assert events[0] >= 1


async def test_another_challenge_is_another_question(clock: VirtualClock) -> None:
    """One that can be met is, while another cannot be; and what is remembered of them is bounded."""
    async with signed_in(clock) as (person, credential):
        await credential.get_token()
        await failure_of(credential, MFA)
        await anyio.sleep(61)
        assert (await credential.get_token(claims=OTHER)).token
        for number in range(100):
            claims = f'{{"n":{number}}}'
            person.unmet[claims] = OSError()
            await anyio.sleep(61)
            await failure_of(credential, claims)
        assert len(credential._state.unmet) == 16


@pytest.mark.parametrize("how", ["get_token", "refresh"])
async def test_who_joined_the_round_of_a_challenge_gets_one_of_its_own(clock: VirtualClock, how: str) -> None:
    """A plain caller who waits for it is not told of a challenge that was not its own."""
    async with signed_in(clock, proactive_refresh=False) as (person, credential):
        person.gate = anyio.Event()
        got: list[object] = []

        async def plain() -> None:
            got.append(await (credential.get_token() if how == "get_token" else credential.refresh()))

        async def challenged() -> None:
            got.append(await failure_of(credential, MFA))

        async with anyio.create_task_group() as group:
            group.start_soon(challenged)
            await anyio.sleep(1)
            group.start_soon(plain)
            await anyio.sleep(1)
            assert person.asked == [MFA]
            person.gate.set()
        assert sorted(type(each).__name__ for each in got) == ["ExchangedToken", "TokenRefreshError"]
        assert person.asked == [MFA, None]


async def test_closing_tells_who_joined_the_round_of_a_challenge(clock: VirtualClock) -> None:
    """They are told that the credential is closed, and nothing else."""
    told: list[object] = []

    async def ask(call: Any) -> None:
        with pytest.raises(CredentialClosedError):
            await call
        told.append(call)

    async with anyio.create_task_group() as group, signed_in(clock, proactive_refresh=False) as (person, credential):
        person.gate = anyio.Event()
        group.start_soon(ask, credential.get_token(claims=MFA))
        await anyio.sleep(1)
        group.start_soon(ask, credential.refresh())
        group.start_soon(ask, credential.get_token())
        await anyio.sleep(1)
    assert len(told) == 3


@pytest.mark.promise("R55")
async def test_the_log_tells_them_apart(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A challenge that was not met is one warning, and no streak of the refreshing's."""
    async with signed_in(clock) as (_, credential):
        await credential.get_token()
        await failure_of(credential, MFA)
        await anyio.sleep(301)
        await failure_of(credential, MFA)
        await credential.refresh()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith("claims challenge was not met (SignInRequiredError")
