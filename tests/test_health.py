"""Whether a credential can give a token, as a readiness probe asks."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import anyio
import pytest

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialHealth,
    HealthStatus,
    RefreshPolicy,
    TokenRefreshError,
)
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, make_jwt, virtual_time_backends

SECRET = "quoted-in-an-error"


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def shown(health: CredentialHealth) -> tuple[HealthStatus, bool]:
    assert SECRET not in repr(health)
    return health.status, health.ready


READY, DEGRADED, UNAVAILABLE = (
    (HealthStatus.READY, True),
    (HealthStatus.DEGRADED, True),
    (HealthStatus.UNAVAILABLE, False),
)


async def test_from_before_its_block_to_after_it(clock: VirtualClock) -> None:
    source = ScriptedSource(100, clock=clock, latency=1)
    credential = CommunicationTokenCredential(token_refresher=source, clock=clock)
    assert shown(credential.health()) == UNAVAILABLE
    assert "use `async with credential:` first" in credential.health().reason
    async with credential:
        await anyio.sleep(0.5)
        assert shown(credential.health()) == UNAVAILABLE
        assert credential.health().reason.endswith("has no valid token: its source is being asked for the next")
        await credential.get_token()
        health = credential.health()
        assert shown(health) == READY
        assert 98 < health.seconds_to_expiry <= 100
        assert shown(credential.health(margin=200)) == UNAVAILABLE
        assert "about to end" in credential.health(margin=200).reason
    assert shown(credential.health()) == UNAVAILABLE
    assert credential.health().reason.startswith("the credential is closed")
    assert credential.health().seconds_to_expiry == 0


async def test_a_token_is_ready_to_its_last_moment(clock: VirtualClock) -> None:
    """Unless a margin is asked for."""
    credential = CommunicationTokenCredential(AccessToken("token", clock.time() + 1), clock=clock)
    await anyio.sleep(0.5)
    assert credential.health().ready
    assert not credential.health(margin=1).ready


async def test_a_source_that_fails(clock: VirtualClock) -> None:
    """Degraded while the token lasts, unavailable afterwards however busily it is asked, ready again with the next."""
    source = ScriptedSource(100, *(60 * [RuntimeError(SECRET)]), 5000, clock=clock)
    policy = RefreshPolicy(jitter=0)
    async with CommunicationTokenCredential(token_refresher=source, clock=clock, policy=policy) as credential:
        await credential.get_token()
        await anyio.sleep(60)
        assert shown(health := credential.health()) == DEGRADED
        assert "attempts to renew it failed (RuntimeError)" in health.reason
        assert 30 < health.seconds_to_expiry <= 40
        await anyio.sleep(60)
        assert shown(health := credential.health()) == UNAVAILABLE
        assert (health.seconds_to_expiry, "(RuntimeError)" in health.reason) == (0, True)
        await anyio.sleep(2 * 3600)
        assert shown(credential.health()) == READY


async def test_on_demand(clock: VirtualClock) -> None:
    """Nobody has asked for a token yet: whoever does first is given one, unless the source has failed."""
    source = ScriptedSource(100, RuntimeError(SECRET), 100, clock=clock)
    async with CommunicationTokenCredential(token_refresher=source, proactive_refresh=False, clock=clock) as credential:
        assert shown(credential.health()) == READY
        await credential.get_token()
        await anyio.sleep(200)
        assert shown(credential.health()) == READY
        assert credential.health().seconds_to_expiry == 0
        with pytest.raises(TokenRefreshError):
            await credential.get_token()
        assert shown(credential.health()) == UNAVAILABLE


@pytest.mark.promise("R13")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a loop that is closed unawares
def test_whose_event_loop_was_closed() -> None:
    """A notebook or a crashed test left it entered: nothing will ever renew its token."""
    credential = CommunicationTokenCredential(make_jwt(), token_refresher=ScriptedSource(anyio.sleep_forever))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(credential.__aenter__())
    assert credential.health().status is HealthStatus.READY
    loop.close()
    assert credential.health().status is HealthStatus.UNAVAILABLE
    assert credential.health().reason.startswith("the event loop in which the credential was entered has ended")


async def test_static(clock: VirtualClock) -> None:
    credential = CommunicationTokenCredential(make_jwt(100, clock=clock), clock=clock)
    assert shown(credential.health()) == READY
    await anyio.sleep(100)
    assert shown(credential.health()) == UNAVAILABLE
    assert "make another with a newer token" in credential.health().reason


@pytest.mark.parametrize(
    ("margin", "refused", "says"),
    [
        ("x", TypeError, "margin is a number of seconds, not str"),
        (None, TypeError, "margin is a number of seconds, not NoneType"),
        (True, TypeError, "margin is a number of seconds, not bool"),
        (-1, ValueError, "margin is a number of seconds from 0, and finite, not -1"),
        (math.nan, ValueError, "not nan"),
        (math.inf, ValueError, "not inf"),
    ],
)
async def test_a_margin_that_is_none(margin: Any, refused: type[Exception], says: str) -> None:
    """Whatever state the credential is in: a probe that was written wrong shows it at its first call."""
    static, renewing = CommunicationTokenCredential(make_jwt(100)), CommunicationTokenCredential(token_refresher=never)
    for credential in (static, renewing):
        with pytest.raises(refused, match=says) as caught:
            credential.health(margin)
        assert caught.value.__notes__[0].endswith("#policy")


async def never() -> str:
    raise AssertionError("nobody has asked for a token")


def test_a_source_that_is_falsy_is_a_source() -> None:
    """What a container answers to `bool()` has nothing to do with it."""

    class Empty(list[object]):
        async def __call__(self) -> str:
            return make_jwt(3600)

    credential = CommunicationTokenCredential(token_refresher=Empty())
    assert credential.health().status is HealthStatus.UNAVAILABLE
