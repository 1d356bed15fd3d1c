"""A machine whose clock is wrong: how long tokens live there, and what is told."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from clocks import HandClock

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    RefreshPolicy,
    TokenSourceError,
    TokenState,
)
from anyio_acs_credential._decisions.state import RefreshState
from anyio_acs_credential._tokens import clock_warning
from anyio_acs_credential._tokens.access_token import life_of
from anyio_acs_credential._tokens.clock import Deadline
from anyio_acs_credential._tokens.jwt import peek
from anyio_acs_credential.testing import VirtualClock, make_jwt, virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_800_000_000.0
HOUR = 3600.0
OFFSETS = [5.0, 360.0, 3 * HOUR, 10 * 365 * 86_400.0]
BOTH_WAYS = [*OFFSETS, *(-offset for offset in OFFSETS)]


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been told in this process."""
    monkeypatch.setattr(clock_warning, "_told", {})


def state_of(clock: HandClock) -> RefreshState:
    return RefreshState(clock, RefreshPolicy(jitter=0), True, lambda: 0.0)


def take(state: RefreshState, token: AccessToken, *, forced: bool = False) -> object:
    return state.take(token, forced=forced, rejected=())


# What is held


@pytest.mark.promise("R85")
@pytest.mark.parametrize("offset", BOTH_WAYS)
def test_both_limits_count_from_receipt_by_our_own_clocks(offset: float) -> None:
    """So a difference between the service's clock and ours is in neither."""
    clock = HandClock(NOW + offset)
    state = state_of(clock)
    token = AccessToken("held", NOW + HOUR, HOUR)
    assert take(state, token) is token
    assert (state.remaining(), state.clock_offset) == (HOUR, offset)
    assert state.until_scheduled() == HOUR - 600
    assert token.expires_on == NOW + HOUR
    clock.go(HOUR - 120.1)
    assert state.token_state() is TokenState.FRESH
    clock.go(0.1)
    assert state.token_state() is TokenState.STALE
    clock.go(119.9)
    assert state.valid() is token
    clock.go(0.1)
    assert state.valid() is None


@pytest.mark.promise("R85")
@pytest.mark.parametrize("offset", [0.0, *BOTH_WAYS])
def test_a_clock_set_back_keeps_no_token_alive_and_one_set_ahead_ends_it(offset: float) -> None:
    clock = HandClock(NOW + offset)
    state = state_of(clock)
    take(state, AccessToken("held", NOW + HOUR, HOUR))
    clock.wall -= 2 * HOUR
    assert state.remaining() == HOUR
    clock.mono += HOUR
    assert state.remaining() == 0
    take(state, AccessToken("next", NOW + HOUR, HOUR))
    clock.wall += HOUR
    assert state.remaining() == 0


def test_a_token_that_says_nothing_lives_as_it_did() -> None:
    """To the last digit: by its expiry and our clock."""
    clock = HandClock(NOW + 0.3)
    held = state_of(clock).hold(AccessToken("held", NOW + HOUR))
    assert (held.ends, held.life) == (NOW + HOUR, NOW + HOUR - (NOW + 0.3))


@pytest.mark.parametrize("life", [0.0, -5.0, 0.0005])
def test_a_life_that_is_over_is_no_token(life: float) -> None:
    """Whatever its expiry is by our clock."""
    state = state_of(HandClock())
    found = take(state, AccessToken("late", NOW + HOUR, life))
    assert isinstance(found, TokenSourceError)
    assert "has expired" in str(found)
    assert state.held is None


@pytest.mark.promise("R85")
@pytest.mark.parametrize("forced", [False, True])
def test_the_same_token_again_is_no_younger(forced: bool) -> None:
    """A source that keeps its token gives it with the life that it had at first."""
    clock = HandClock()
    state = state_of(clock)
    token = AccessToken("held", NOW + HOUR, HOUR)
    take(state, token)
    clock.go(HOUR / 2)
    assert take(state, AccessToken("held", NOW + HOUR, HOUR), forced=forced) is token
    assert state.remaining() == HOUR / 2
    clock.go(HOUR / 2)
    assert isinstance(take(state, token, forced=forced), TokenSourceError)


def test_the_same_token_again_is_good_where_the_clock_was_set_ahead() -> None:
    """A server that keeps its token, and says how long it has left each time, is right about it."""
    clock = HandClock()
    state = state_of(clock)
    take(state, AccessToken("held", NOW + HOUR, HOUR))
    clock.go(600)
    clock.wall += 3 * HOUR
    assert state.valid() is None
    take(state, AccessToken("held", NOW + HOUR, 3000))
    assert state.remaining() == 3000


def test_whichever_lives_longer_counts_and_not_whichever_ends_later() -> None:
    """Expiries of two services, or from before a step of the clock, cannot be compared."""
    state = state_of(HandClock())
    take(state, AccessToken("long", NOW, 2 * HOUR))
    held = AccessToken("short", NOW + 9 * HOUR, HOUR)
    assert take(state, held) == AccessToken("long", NOW)


# What tokens tell by themselves


@pytest.mark.promise("R85")
@pytest.mark.parametrize(
    ("claims", "life"),
    [
        ({"iat": NOW + 61, "exp": NOW + 61 + HOUR}, HOUR),
        ({"iat": NOW + 60, "exp": NOW + 60 + HOUR}, HOUR + 60),
        ({"iat": NOW + 3 * HOUR, "exp": NOW + 4 * HOUR}, HOUR),
        ({"iat": NOW - HOUR, "exp": NOW + 60}, 60),
        ({"iat": NOW + 2 * HOUR, "exp": NOW + HOUR}, HOUR),  # issued after its end: it says nothing
        ({"iat": str(NOW + 2 * HOUR), "exp": NOW + 3 * HOUR}, 3 * HOUR),
        ({"iat": True, "exp": NOW + HOUR}, HOUR),
        ({"iat": None, "exp": NOW + HOUR}, HOUR),
    ],
)
def test_a_token_that_was_issued_in_the_future_shows_that_our_clock_is_behind(
    claims: dict[str, Any], life: float
) -> None:
    token = AccessToken.from_jwt(make_jwt(**claims))
    assert life_of(token, HandClock()) == life
    assert life_of(AccessToken(token.token, token.expires_on, 5), HandClock()) == 5


@pytest.mark.parametrize("text", ["opaque", "a.b", "a.b.c", "a.bm8.c", "a.W10.c", "a.e30.c.d", "..", "a.ü.c"])
def test_a_look_at_what_is_no_jwt_sees_nothing(text: str) -> None:
    assert peek(text) == {}


def test_a_look_at_a_payload_without_an_end() -> None:
    from base64 import urlsafe_b64encode

    deep = urlsafe_b64encode(b"[" * 100_000).decode().rstrip("=")
    assert peek(f"a.{deep}.c") == {}


def test_a_moment_ahead_has_come_when_it_has_on_one_clock() -> None:
    clock = HandClock()
    end = Deadline.after(60, clock)
    assert end.left(clock) == 60
    clock.wall -= 3600
    clock.mono += 59
    assert end.left(clock) == 1
    clock.wall += 7200
    assert end.left(clock) < 0


# A credential


Result = Any


def opaque(left: float, _: VirtualClock) -> Result:
    return SimpleNamespace(token="opaque", expires_in=left)


def opaque_text(left: float, _: VirtualClock) -> Result:
    return SimpleNamespace(token="opaque", expires_in=str(left))


def both(left: float, service: VirtualClock) -> Result:
    return SimpleNamespace(token="opaque", expires_on=service.time() + left, expires_in=left)


def ours(left: float, service: VirtualClock) -> Result:
    return AccessToken("opaque", service.time() + left, left)


def jwt_with_life(left: float, service: VirtualClock) -> Result:
    return SimpleNamespace(token=make_jwt(left, clock=service), expires_in=left)


@pytest.mark.promise("R85")
@pytest.mark.parametrize("offset", BOTH_WAYS)
@pytest.mark.parametrize("result", [opaque, opaque_text, both, ours, jwt_with_life])
async def test_a_refresher_that_says_how_long_needs_no_right_clock(
    result: Callable[[float, VirtualClock], Result], offset: float
) -> None:
    """Hours of one-hour tokens: renewed ten minutes early, and each read is answered with one that is valid there."""
    service, clock = VirtualClock(NOW), VirtualClock(NOW + offset)
    ends: list[float] = []

    async def fetch() -> Result:
        ends.append(service.time() + HOUR)
        return result(HOUR, service)

    async with CommunicationTokenCredential(
        token_refresher=fetch, policy=RefreshPolicy(jitter=0), clock=clock
    ) as credential:
        for _ in range(6 * 6):
            await credential.get_token()
            assert service.time() < ends[-1]
            await anyio.sleep(600)
        assert 6 <= len(ends) <= 8


@pytest.mark.promise("R85")
async def test_a_jwt_that_was_issued_ahead_of_a_clock_that_is_behind_is_renewed_in_time() -> None:
    """It lives an hour, and our clock says three."""
    service, clock = VirtualClock(NOW), VirtualClock(NOW - 2 * HOUR)
    ends: list[float] = []

    async def fetch() -> str:
        ends.append(service.time() + HOUR)
        return make_jwt(HOUR, clock=service)

    async with CommunicationTokenCredential(token_refresher=fetch, clock=clock) as credential:
        for _ in range(60):
            await credential.get_token()
            assert service.time() < ends[-1]
            await anyio.sleep(600)
        assert credential.statistics().clock_offset == pytest.approx(-2 * HOUR, abs=2)


@pytest.mark.promise("R88")
@pytest.mark.parametrize("offset", [0.0, 5.0, *BOTH_WAYS])
async def test_a_credential_tells_the_difference(offset: float, caplog: pytest.LogCaptureFixture) -> None:
    """As a number always, and in the log above a minute: once, until the clock has been put right."""
    caplog.set_level(logging.INFO, "anyio_acs_credential")
    service, clock = VirtualClock(NOW), VirtualClock(NOW + offset)

    async def fetch() -> Result:
        return both(HOUR, service)

    async with CommunicationTokenCredential(token_refresher=fetch, clock=clock) as credential:
        assert credential.statistics().clock_offset is None
        for _ in range(3):
            await credential.refresh()
            known = credential.statistics().clock_offset
            assert known == (None if offset == 0 else pytest.approx(offset, abs=1))
        clock.jump(-offset)
        await credential.refresh()
        assert credential.statistics().clock_offset is None
    events = [record for record in caplog.records if vars(record)["acs_event"].startswith("clock_")]
    levels = [record.levelname for record in events]
    assert levels == (["WARNING", "INFO"] if abs(offset) > 60 else [])


async def test_who_found_nothing_does_not_call_the_clock_right(caplog: pytest.LogCaptureFixture) -> None:
    """Another credential's tokens tell nothing, and it stays silent."""
    caplog.set_level(logging.INFO, "anyio_acs_credential")
    service, clock = VirtualClock(NOW), VirtualClock(NOW - 2 * HOUR)

    async def telling() -> Result:
        return both(HOUR, service)

    async def silent() -> Result:
        return AccessToken("opaque", clock.time() + HOUR)

    async with (
        CommunicationTokenCredential(token_refresher=telling, clock=clock) as first,
        CommunicationTokenCredential(token_refresher=silent, clock=clock) as second,
    ):
        for _ in range(2):
            await first.refresh()
            await second.refresh()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.promise("R85")
async def test_a_machine_that_slept_with_a_wrong_clock() -> None:
    """The monotonic clock stood still: the wall clock's own change ends the token, wherever it had begun."""
    service, clock = VirtualClock(NOW), VirtualClock(NOW + 3 * HOUR)
    calls = 0

    async def fetch() -> Result:
        nonlocal calls
        calls += 1
        return both(HOUR, service)

    async with CommunicationTokenCredential(token_refresher=fetch, clock=clock) as credential:
        await credential.get_token()
        service.jump(8 * HOUR)
        clock.jump(8 * HOUR)
        token = await credential.get_token()
        assert calls == 2
        assert token.expires_on == pytest.approx(service.time() + HOUR, abs=1)
