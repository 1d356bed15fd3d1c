"""What a credential holds and when it may ask again: decisions at their edges, by a clock that is set by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from clocks import HandClock

from anyio_acs_credential import AccessToken, RefreshPolicy, TokenRefreshError, TokenSourceError, TokenState
from anyio_acs_credential._common.errors import page_of
from anyio_acs_credential._common.redaction import Secret
from anyio_acs_credential._decisions.failures import Failure, UnmetChallenges, verdict
from anyio_acs_credential._decisions.state import RefreshState
from anyio_acs_credential._refreshing.waiting import refresh_error
from anyio_acs_credential.fleet._record import SharedToken
from anyio_acs_credential.testing import make_jwt


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_000_000.0)


def state_of(clock: HandClock, *, proactive: bool = True, fraction: float = 0.0) -> RefreshState:
    return RefreshState(clock, RefreshPolicy(jitter=0), proactive, lambda: fraction)


def token(clock: HandClock, life: float, text: str = "held") -> AccessToken:
    return AccessToken(text, clock.wall + life)


def take(state: RefreshState, new: AccessToken, *, forced: bool = False, rejected: tuple[Secret, ...] = ()) -> object:
    return state.take(new, forced=forced, rejected=rejected)


@pytest.mark.promise("R4")
@pytest.mark.parametrize(
    ("passed", "expected"),
    [(0, "fresh"), (3479.9, "fresh"), (3480, "stale"), (3599.9, "stale"), (3599.9995, "expired"), (3600, "expired")],
)
def test_states_at_their_edges(clock: HandClock, passed: float, expected: str) -> None:
    """FRESH above two minutes, STALE from there on, EXPIRED from the last millisecond on."""
    state = state_of(clock)
    assert state.token_state() is TokenState.EXPIRED
    held = state.hold(token(clock, 3600)).token
    clock.go(passed)
    assert state.token_state() is TokenState(expected)
    assert state.valid() is (None if expected == "expired" else held)


def test_until_when_a_token_is_handed_out(clock: HandClock) -> None:
    """At once up to two minutes before its end, and at all up to its last millisecond, on each of both clocks."""
    state = state_of(clock)
    held = state.hold(token(clock, 3600))
    assert held.fresh_until == clock.wall + 3600 - 120
    assert held.fresh_until_monotonic == clock.mono + 3600 - 120
    assert held.valid_until == clock.wall + 3600 - 0.001
    assert held.valid_until_monotonic == clock.mono + 3600 - 0.001
    clock.wall, clock.mono = held.valid_until, held.valid_until_monotonic
    assert state.valid() is held.token
    clock.mono = math.nextafter(held.valid_until_monotonic, math.inf)
    assert state.valid() is None
    clock.wall, clock.mono = math.nextafter(held.valid_until, math.inf), held.valid_until_monotonic
    assert state.valid() is None


@pytest.mark.promise("R23")
def test_the_earlier_of_both_clocks_wins(clock: HandClock) -> None:
    """A wall clock that is set back does not keep a token alive, and one that is set ahead ends it."""
    state = state_of(clock)
    state.hold(token(clock, 3600))
    clock.go(1000)
    clock.wall -= 5000
    assert state.remaining() == 2600
    clock.mono += 2600
    assert state.remaining() == 0
    state.hold(token(clock, 3600))
    clock.wall += 3000
    assert state.remaining() == 600


@pytest.mark.promise("R3", "R19")
@pytest.mark.parametrize(
    ("life", "text", "forced", "held_after", "wait"),
    [
        (3600, "newer", False, "newer", 1),  # progress: the shortest wait
        (601, "newer", False, "newer", 1),  # a second more is progress
        (600, "other", False, "other", 300),  # another text, the same expiry: taken, but no progress
        (600, "held", False, "held", 300),
        (599, "other", False, "held", 300),  # ends earlier
        (599, "other", True, "other", 1),  # forced: whatever is unexpired
        (600, "held", True, "held", 300),
    ],
)
def test_what_a_result_may_replace(
    *, clock: HandClock, life: float, text: str, forced: bool, held_after: str, wait: float
) -> None:
    """By how long it lives and by whether it was forced; the wait after it, and what is returned, follow."""
    state = state_of(clock)
    state.hold(token(clock, 600))
    result = take(state, token(clock, life, text), forced=forced)
    assert isinstance(result, AccessToken)
    assert result is state.valid()
    assert result.token == held_after
    assert state.until_retry() == wait
    assert (state.refreshes, state.failures, state.cause) == (1, 0, None)


@pytest.mark.promise("R3")
def test_what_a_result_may_not_be(clock: HandClock) -> None:
    """Expired, or the rejected one: what is held stays, and the reason is a whole sentence."""
    state = state_of(clock)
    held = state.hold(token(clock, 600)).token
    expired = take(state, AccessToken("late", int(clock.wall)))
    assert str(expired) == "the token source returned a token that has expired: let it fetch a new one"
    rejected = take(state, token(clock, 3600, "bad"), rejected=(Secret("bad"),))
    assert str(rejected) == "the token source returned the token that was turned down: let it fetch a new one"
    assert state.valid() is held
    assert state.refreshes == 0


def test_a_first_result_is_taken(clock: HandClock) -> None:
    """Without a valid token, whatever is unexpired is progress."""
    state = state_of(clock)
    first = token(clock, 30)
    assert take(state, first) is first
    assert state.until_retry() == 1
    clock.go(31)
    second = token(clock, 5, "second")
    assert take(state, second) is second
    assert state.known == (second, first)  # what the log may quote from now on is known as a secret


@pytest.mark.promise("R16", "R17")
@pytest.mark.parametrize(
    ("life", "cause", "retry", "callers"),
    [
        (None, OSError(), 1, 1),
        (None, TokenSourceError("busy", retry_after=40), 40, 40),
        (None, TokenSourceError("busy", retry_after=0.5), 1, 1),
        (None, TokenSourceError("gone", permanent=True), 300, 300),
        (3600, OSError(), 1, 1),
        (600, TokenSourceError("busy", retry_after=290), 290, 290),
    ],
)
def test_waits_after_a_failure(
    clock: HandClock, life: float | None, cause: Exception, retry: float, callers: float
) -> None:
    """The background's and the callers', from the failure on."""
    state = state_of(clock)
    if life is not None:
        state.hold(token(clock, life))
    state.fail(cause)
    assert (state.until_retry(), state.until_callers()) == (retry, callers)
    assert (state.failures, state.streak, state.cause) == (1, 1, cause)
    clock.go(0.25)
    assert (state.until_retry(), state.until_callers()) == (retry - 0.25, callers - 0.25)


@pytest.mark.promise("R18", "R24")
def test_a_wait_ends_with_the_token_unless_it_is_a_latch(clock: HandClock) -> None:
    """A wall clock that jumps past the expiry ends a back-off; a latch holds."""
    for cause, left in ((TokenSourceError("busy", retry_after=100), 0), (TokenSourceError("no", permanent=True), 300)):
        state = state_of(clock)
        state.hold(token(clock, 600))
        state.fail(cause)
        clock.wall += 3600
        assert state.until_retry() == left
        assert state.until_scheduled() == left


def test_a_wait_that_begins_in_the_last_second_ends_with_the_token(clock: HandClock) -> None:
    """However little is left of the token when the source fails."""
    state = state_of(clock)
    state.hold(token(clock, 600))
    clock.go(599.5)
    state.fail(TokenSourceError("busy", retry_after=100))
    assert state.until_retry() == 0.5
    clock.wall += 3600
    assert state.until_retry() == 0


def test_half_a_second_is_no_progress(clock: HandClock) -> None:
    """So much may lie between the two clocks: a token that seems to live that much longer is none that does."""
    state = state_of(clock)
    state.hold(token(clock, 600))
    clock.mono += 0.5
    take(state, token(clock, 600, "other"))
    assert state.until_retry() == 599.5 / 2


def test_no_progress_ends_with_the_token(clock: HandClock) -> None:
    """So does the wait after a source gave nothing newer."""
    state = state_of(clock)
    held = state.hold(token(clock, 600)).token
    take(state, held)
    assert state.until_retry() == 300
    clock.wall += 3600
    assert state.until_retry() == 0


@pytest.mark.promise("R50")
def test_the_pace_of_rejections(clock: HandClock) -> None:
    """The first at once; then each wait twice the one before; after a quiet minute, at once again."""
    state = state_of(clock)
    state.hold(token(clock, 3600))
    assert state.may_replace_rejected()
    for wait in (1, 2, 4, 8):
        state.hold(token(clock, 3600, f"after-{wait}"))
        clock.go(wait - 0.01)
        assert not state.may_replace_rejected()
        clock.go(0.01)
        assert state.may_replace_rejected()
    clock.go(60.5)
    assert state.may_replace_rejected()
    state.hold(token(clock, 3600, "young"))
    assert not state.may_replace_rejected()
    clock.go(1)
    assert state.may_replace_rejected()


def test_a_minute_after_its_receipt_a_token_is_still_young(clock: HandClock) -> None:
    """Only a longer time between a receipt and a rejection makes the next a first one."""
    state = state_of(clock)
    state.hold(token(clock, 3600))
    assert state.may_replace_rejected()
    clock.go(60)
    assert state.may_replace_rejected()
    state.hold(token(clock, 3600, "next"))
    clock.go(1.5)
    assert not state.may_replace_rejected()  # the second wait: two seconds


@pytest.mark.promise("R4")
def test_when_the_schedule_asks(clock: HandClock) -> None:
    """At once without a token, then at the window; never by itself on demand."""
    state = state_of(clock)
    assert state.until_scheduled() == 0
    state.hold(token(clock, 3600))
    assert state.until_scheduled() == 3000
    assert state.at(3000) == clock.wall + 3000
    assert state_of(clock, proactive=False).until_scheduled() == float("inf")
    assert state.at(float("inf")) is None


def test_beginning_anew_forgets_every_wait(clock: HandClock) -> None:
    """Counters stay, waits and the streak go."""
    state = state_of(clock)
    state.fail(TokenSourceError("no", permanent=True))
    state.begin()
    assert (state.until_retry(), state.until_callers(), state.streak, state.cause, state.failures) == (0, 0, 0, None, 1)


def test_only_errors_made_to_say_so_are_permanent() -> None:
    """A foreign exception that has such an attribute by chance is not."""

    class Foreign(Exception):  # noqa: N818 - not one of ours
        permanent = True
        retry_after = 99

    assert verdict(TokenSourceError("no", permanent=True)) == (True, None)
    assert verdict(TokenRefreshError("no", permanent=True, retry_after=7)) == (True, 7)
    assert verdict(Foreign()) == (False, None)
    assert verdict(TokenSourceError("busy")) == (False, None)


@pytest.mark.promise("R18")
@pytest.mark.parametrize("said", ["no", "False", "yes", 1, 0.0, None, [], {"no": 1}], ids=repr)
def test_only_true_is_permanent(clock: HandClock, said: Any) -> None:
    """What a source has read somewhere as text, and took for a truth, stops no refreshing: it is tried again."""
    error = TokenSourceError("no", permanent=said)
    assert verdict(error) == (False, None)
    state = state_of(clock)
    state.fail(error)
    assert state.until_retry() <= state.policy.retry_initial * 2


@pytest.mark.promise("R18")
@pytest.mark.parametrize("wish", ["40", "soon", True, math.nan, math.inf, -1, 0, (40,)], ids=repr)
def test_a_wish_that_is_no_wait_changes_nothing_and_is_not_passed_on(clock: HandClock, wish: Any) -> None:
    """Neither the schedule nor who reads the caller's error meets a text where a number should be."""
    error = TokenSourceError("busy", retry_after=wish)
    state = state_of(clock)
    state.fail(error)
    assert state.until_retry() <= state.policy.retry_initial * 2
    assert refresh_error(error).retry_after is None


def test_an_error_that_fails_at_being_asked_says_nothing() -> None:
    """A subclass need not call our __init__, and may be as broken as any source."""

    class CarelessError(TokenSourceError):
        def __init__(self, status: int) -> None:
            self.status = status

    class HostileError(TokenSourceError):
        @property
        def permanent(self) -> bool:
            raise RuntimeError("no answer")

        @permanent.setter
        def permanent(self, value: bool) -> None:
            """Let our __init__ set it."""

    assert verdict(CarelessError(500)) == (False, None)
    assert CarelessError(500).message == ""
    assert verdict(HostileError("why")) == (False, None)


def test_only_the_newest_tokens_are_remembered(clock: HandClock) -> None:
    """What is cut out of the log is the held token and a few before it."""
    state = state_of(clock)
    for number in range(9):
        state.hold(token(clock, 100, f"t{number}"))
    assert [known.token for known in state.known] == ["t8", "t7", "t6", "t5"]


def test_challenges_that_stay_unmet_are_counted_and_waited_for(clock: HandClock) -> None:
    """Each by itself, up to the longest back-off, and until the very moment that it ends."""
    unmet = UnmetChallenges(clock, RefreshPolicy(jitter=0), lambda: 0.0)
    down = OSError("down")
    for streak in range(1, 9):
        failure = unmet.add("claims", down)
        assert (failure.cause, failure.streak) == (down, streak)
        assert failure.until - clock.mono == min(2.0 ** (streak - 1), 60)
    clock.mono = math.nextafter(failure.until, 0)
    assert unmet.why("claims") is down
    clock.mono = failure.until
    assert unmet.why("claims") is None
    assert unmet.add("others", TokenSourceError("busy", retry_after=40)).until == clock.mono + 40
    assert unmet.add("more", TokenSourceError("no", permanent=True)).until == clock.mono + 300


def test_a_wait_that_a_fleet_shares_is_kept(clock: HandClock) -> None:
    """Another process met the failure before: what is left of its wait is waited for, and its rounds were counted."""
    lasting, passing = TokenSourceError("no", permanent=True), TokenSourceError("busy", retry_after=7)
    lasting._fleet_wait = passing._fleet_wait = 42.0
    unmet = UnmetChallenges(clock, RefreshPolicy(jitter=0), lambda: 0.0)
    assert unmet.add("claims", lasting).until == clock.mono + 42
    state = state_of(clock)
    assert state.fail(lasting).until == clock.mono + 42
    assert (state.until_retry(), state.until_callers()) == (42, 42)
    for _ in range(9):
        assert state.fail(passing).until == clock.mono + 7
        assert unmet.add("others", passing).until == clock.mono + 7


def test_a_round_that_failed_is_told_as_it_was(clock: HandClock) -> None:
    state, down = state_of(clock), OSError("down")
    assert [state.fail(down) for _ in range(2)] == [Failure(down, 1, clock.mono + 1), Failure(down, 2, clock.mono + 2)]


def test_the_counts_of_a_credential(clock: HandClock) -> None:
    """Closed, it holds what it held, and nothing is due."""
    state, down = state_of(clock), OSError("down")
    empty = state.statistics(closed=False, refreshing=False, waiting=0)
    assert (empty.expires_on, empty.last_error, empty.next_refresh_at) == (None, None, None)
    held = state.hold(token(clock, 3600)).token
    state.fail(down)
    seen = state.statistics(closed=False, refreshing=True, waiting=2)
    assert (seen.state, seen.expires_on, seen.last_error, seen.waiting) == (TokenState.FRESH, held.expires_on, down, 2)
    assert seen.next_refresh_at == state.at(state.until_scheduled())
    closed = state.statistics(closed=True, refreshing=False, waiting=0)
    assert (closed.state, closed.expires_on, closed.next_refresh_at) == (TokenState.EXPIRED, held.expires_on, None)
    state.shared += 3
    assert state.statistics(closed=True, refreshing=False, waiting=0).shared == 3


class TickingClock(HandClock):
    """A quarter of a second passes with each look at it."""

    def time(self) -> float:
        self.go(0.25)
        return self.wall


def test_when_a_token_ends_by_our_clock(clock: HandClock) -> None:
    """An expiry is taken as it is; a life, or an expiry by a clock that differs from ours, is counted from now."""
    ticking = TickingClock()
    plain = AccessToken("plain", ticking.wall + 3600)
    assert state_of(ticking).hold(plain).ends == plain.expires_on
    assert state_of(clock).hold(AccessToken("life", clock.wall + 51, 50)).ends == clock.wall + 50
    issued = int(clock.wall) + 10_000
    behind = AccessToken.from_jwt(make_jwt(iat=issued, exp=issued + 3600))
    assert state_of(clock).hold(behind).ends == clock.wall + 3600
    assert state_of(clock).hold(token(clock, -5)).life == 0


@pytest.mark.parametrize(("offset", "known"), [(2.0, None), (2.5, 2.5), (-2.0, None), (-2.5, -2.5)])
def test_a_difference_of_clocks_is_known_from_two_seconds_on(clock: HandClock, offset: float, known: float) -> None:
    clock.wall += 0.5
    state = state_of(clock)
    state.hold(AccessToken("a", int(clock.wall) + 50, 50 + offset - 0.5))
    assert state.clock_offset == known


def test_a_token_that_is_given_once_more_lives_no_longer_for_it(clock: HandClock) -> None:
    """Also where a wall clock that was set ahead has ended it meanwhile."""
    state = state_of(clock)
    state.hold(AccessToken("a", clock.wall + 100, 100))
    again = AccessToken("a", clock.wall + 100, 100)
    clock.go(60)
    clock.wall += 1000
    assert state.valid() is None
    assert take(state, again) is again
    assert state.held is not None
    assert state.held.life == 40


def test_rounds_are_counted_and_those_that_another_process_made(clock: HandClock) -> None:
    state = state_of(clock)
    for number in range(3):
        take(state, token(clock, 100, f"own-{number}"))
        take(state, SharedToken(f"shared-{number}", int(clock.wall) + 100))
    assert (state.refreshes, state.shared) == (6, 3)


@pytest.mark.parametrize("text", ["old", "rejected"])
def test_a_token_that_cannot_be_used_leads_to_its_entry(clock: HandClock, text: str) -> None:
    new = token(clock, -1 if text == "old" else 100, text)
    error = take(state_of(clock), new, rejected=(Secret("rejected"),))
    assert isinstance(error, TokenSourceError)
    assert error.__notes__ == [f"See {page_of('source-stale')}"]
