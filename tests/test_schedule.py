"""When a token is renewed, as tables at each edge and as properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyio_acs_credential import RefreshPolicy
from anyio_acs_credential._common.errors import page_of
from anyio_acs_credential._decisions.schedule import (
    backoff,
    due_at,
    no_progress_delay,
    retry_delay,
    stale_at,
    usable_retry_after,
)

DEFAULT = RefreshPolicy()
seconds = st.floats(0.001, 1e11)
fractions = st.floats(0, 1, exclude_max=True)
policies = st.builds(
    RefreshPolicy,
    proactive_window=st.floats(0, 86400),
    on_demand_window=st.floats(0, 86400),
    retry_initial=st.floats(0.01, 60),
    retry_max=st.floats(60, 3600),
    jitter=st.floats(0, 1),
)


@pytest.mark.promise("R4")
@pytest.mark.parametrize(
    ("life", "due"),
    [
        (86_400, 3_600),  # a day: L/24
        (14_400, 600),  # L/24 and the window meet here
        (3_600, 600),
        (1_200, 600),  # the window and L/2 meet here
        (1_199, 599.5),
        (60, 30),
        (2, 1),
        (0, 0),
    ],
)
def test_window_is_a_part_of_the_life(life: float, due: float) -> None:
    """The renewal is due at min(max(window, L/24), L/2)."""
    assert due_at(life, 0, DEFAULT) == due


@pytest.mark.promise("R4")
@pytest.mark.parametrize(("life", "stale"), [(86_400, 120), (480, 120), (479, 119.75), (60, 15), (0, 0)])
def test_on_demand_window_is_a_part_of_the_life(life: float, stale: float) -> None:
    """A token is stale at min(window, L/4)."""
    assert stale_at(life, DEFAULT) == stale


@pytest.mark.promise("R20")
def test_jitter_brings_the_renewal_forward_by_a_part_of_the_window() -> None:
    """Jitter moves a renewal ahead, by up to a tenth of the window, and never back."""
    assert due_at(3_600, 0, DEFAULT) == 600
    assert due_at(3_600, 0.5, DEFAULT) == 630
    assert due_at(3_600, 0.999999, DEFAULT) == pytest.approx(660, abs=0.01)


@pytest.mark.promise("R20")
@given(life=seconds, fraction=fractions, policy=policies)
def test_a_renewal_is_due_within_the_life(life: float, fraction: float, policy: RefreshPolicy) -> None:
    """Whatever the policy, a renewal comes after the receipt of the token and before its end."""
    due = due_at(life, fraction, policy)
    assert life / 24 <= due <= life
    assert 0 <= stale_at(life, policy) <= life / 4


@pytest.mark.promise("R16")
@pytest.mark.parametrize(
    ("failures", "fraction", "wait"),
    [(1, 0, 1), (1, 0.5, 1.5), (2, 0, 2), (3, 0.25, 5), (6, 0, 32), (6, 0.99, 60), (7, 0, 60), (10_000, 0.5, 60)],
)
def test_backoff_doubles_up_to_its_cap(failures: int, fraction: float, wait: float) -> None:
    """Waits are drawn between one power of two and the next, and stay at the cap."""
    assert backoff(failures, 60, fraction, DEFAULT) == wait


@pytest.mark.promise("R16")
@given(draws=st.lists(fractions, min_size=2, max_size=60), policy=policies)
def test_backoff_never_shrinks_within_a_streak(draws: list[float], policy: RefreshPolicy) -> None:
    """However the dice fall, each wait is at least as long as the one before, and within the policy's limits."""
    waits = [backoff(n + 1, policy.retry_max, draw, policy) for n, draw in enumerate(draws)]
    assert waits == sorted(waits)
    assert policy.retry_initial <= waits[0]
    assert waits[-1] <= policy.retry_max


@pytest.mark.promise("R16", "R19")
@pytest.mark.parametrize(
    ("failures", "remaining", "life", "retry_after", "wait"),
    [
        (1, 600, 3600, None, 1),
        (8, 600, 3600, None, 60),  # the cap: a tenth of the window
        (8, 0, 3600, None, 60),  # nothing valid: retry_max
        (8, 30, 60, None, 3),  # a tenth of a window of 30 s
        (8, 8, 16, None, 1),  # of a window of 8 s, a tenth is too little: a second
        (8, 2, 3600, None, 1),  # one second before the expiry, and then at it
        (8, 1.5, 4, None, 1.5),  # too short for two: at the expiry
        (8, 50, 3600, None, 49),  # never past the expiry
        (1, 600, 3600, 42, 42),
        (1, 600, 3600, 0.2, 1),  # never under the shortest wait
        (5, 0, 0, 7, 16),  # nor under the back-off
        (1, 100, 3600, 300, 99),  # a Retry-After beyond the expiry is cut too
        (1, 0, 0, 300, 300),
    ],
)
def test_wait_after_a_failure(
    failures: int, remaining: float, life: float, retry_after: float | None, wait: float
) -> None:
    """The wait follows the back-off or the source's wish, and ends with the held token."""
    assert retry_delay(failures, remaining, life, retry_after, fraction=0, policy=DEFAULT) == wait


@pytest.mark.promise("R15", "R16")
@given(
    failures=st.integers(1, 10**6),
    remaining=st.floats(0, 1e11),
    life=seconds,
    retry_after=st.none() | st.floats(0.001, 300),
    fraction=fractions,
    policy=policies,
)
def test_wait_after_a_failure_is_bounded(
    *,
    failures: int,
    remaining: float,
    life: float,
    retry_after: float | None,
    fraction: float,
    policy: RefreshPolicy,
) -> None:
    """It is positive, never past the expiry of a held token, and never shorter than allowed but to meet it."""
    wait = retry_delay(failures, remaining, life, retry_after, fraction=fraction, policy=policy)
    if remaining > 0:
        assert 0 < wait <= remaining
        assert wait >= policy.retry_initial or wait == remaining
    else:
        assert policy.retry_initial <= wait <= max(policy.retry_max, retry_after or 0)


@pytest.mark.promise("R19")
@pytest.mark.parametrize(("remaining", "wait"), [(600, 300), (3, 1.5), (2, 1), (0.5, 1)])
def test_no_progress_waits_half_of_what_remains(remaining: float, wait: float) -> None:
    """A source that gives nothing newer is asked again after half of the remaining life, a second at least."""
    assert no_progress_delay(remaining) == wait


@pytest.mark.promise("R19")
def test_no_progress_asks_a_dozen_times_at_most() -> None:
    """From ten minutes to the expiry, halving takes at most twelve attempts."""
    remaining, attempts = 600.0, 1
    while remaining > 0:
        remaining -= no_progress_delay(remaining)
        attempts += 1
    assert attempts <= 12


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (7, 7.0),
        (0.5, 0.5),
        (300, 300.0),
        (301, 300.0),
        pytest.param(10**400, 300.0, id="huge"),
        (0, None),
        (-1, None),
        (math.inf, None),
        (math.nan, None),
        (True, None),
        ("7", None),
        (None, None),
    ],
)
def test_retry_after_counts_only_where_it_is_a_wait(value: object, wait: float | None) -> None:
    """Finite and positive, and five minutes at most; everything else is ignored."""
    assert usable_retry_after(value) == wait


@pytest.mark.parametrize(
    ("wrong", "error", "fix"),
    [
        ({"proactive_window": -1}, ValueError, "between 0 and a day"),
        ({"on_demand_window": math.nan}, ValueError, "between 0 and a day"),
        ({"on_demand_wait": math.inf}, ValueError, "between 0 and a day"),
        ({"proactive_window": 86_400.5}, ValueError, "between 0 and a day"),
        ({"refresh_timeout": 0}, ValueError, "more than 0 seconds"),
        ({"retry_initial": 0}, ValueError, r"at least 0\.01 seconds"),
        ({"retry_max": 5, "retry_initial": 10}, ValueError, "cannot be below retry_initial"),
        ({"jitter": 1.01}, ValueError, "from 0 to 1"),
        ({"retry_max": "60"}, TypeError, "is a number, not str"),
        ({"on_demand_wait": True}, TypeError, "is a number, not bool"),
        ({"jitter": None}, TypeError, "is a number, not NoneType"),
    ],
)
def test_policy_refuses_nonsense(wrong: dict[str, object], error: type[Exception], fix: str) -> None:
    """A policy that cannot work is refused where it is made; the message begins with the setting's name."""
    with pytest.raises(error, match=f"^{next(iter(wrong))} .*{fix}") as raised:
        RefreshPolicy(**wrong)  # type: ignore[arg-type]  # the wrong types are the point
    assert raised.value.__notes__ == [f"See {page_of('policy')}"]


def test_policy_accepts_its_limits() -> None:
    """Windows of zero and of a day, no wait, and no jitter are choices, not mistakes."""
    policy = RefreshPolicy(proactive_window=0, on_demand_window=86_400, on_demand_wait=0, jitter=1, retry_initial=0.01)
    assert due_at(3_600, 0, policy) == 150
    assert stale_at(3_600, policy) == 900
