"""The last Entra token: until when it is used while its source fails."""

from __future__ import annotations

from clocks import HandClock

from anyio_acs_credential import AccessToken
from anyio_acs_credential._exchange.kept_token import keep

HOUR = 3600.0


def test_it_is_due_before_its_end() -> None:
    clock = HandClock()
    kept = keep(AccessToken("entra", clock.wall + HOUR), None, clock, early=300)
    assert (kept.is_fresh, kept.is_valid, kept.left) == (True, True, HOUR)
    clock.mono += HOUR - 300
    assert (kept.is_fresh, kept.is_valid) == (False, True)
    clock.mono += 300
    assert (kept.is_fresh, kept.is_valid) == (False, False)


def test_it_is_due_at_its_end_unless_something_else_is_said() -> None:
    clock = HandClock()
    kept = keep(AccessToken("entra", clock.wall + HOUR), None, clock)
    assert kept.due.left(clock) == kept.left == HOUR


def test_the_next_attempt_is_made_half_a_minute_later_or_at_its_end() -> None:
    clock = HandClock()
    kept = keep(AccessToken("entra", clock.wall + 40), None, clock, early=300)
    later = kept.later()
    assert (kept.is_fresh, later.is_fresh) == (False, True)
    clock.mono += 30
    assert (later.is_fresh, later.is_valid) == (False, True)
    assert later.later().due.left(clock) == later.left == 10


def test_the_same_token_is_no_younger_for_a_clock_that_was_set_back() -> None:
    """Its end is a time of a clock that says something else now."""
    clock = HandClock()
    token = AccessToken("entra", clock.wall + HOUR)
    kept = keep(token, None, clock)
    clock.wall -= 2 * HOUR
    clock.mono += HOUR - 1
    assert keep(token, kept, clock).left == 1
    another = AccessToken("another", clock.wall + HOUR)
    assert keep(another, kept, clock).left == HOUR
