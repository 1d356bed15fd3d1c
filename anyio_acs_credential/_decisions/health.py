"""Whether a credential can give a token, for readiness probes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from .._common.checks import is_number
from .._common.errors import explained, wrong_type
from .._common.public import public

if TYPE_CHECKING:
    from .events import CredentialStatistics


class HealthStatus(StrEnum):
    """How a credential stands.

    Attributes:
        READY: The token is valid and the last refresh did not fail; or the credential is on demand, and will ask its
            source for a token when a caller needs one.
        DEGRADED: The token is valid, and refreshing it fails at present.
        UNAVAILABLE: The credential has no valid token to give.
    """

    READY = "ready"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class CredentialHealth:
    """What `CommunicationTokenCredential.health()` gives.

    Attributes:
        status: How the credential stands.
        reason: Why, and what to do about it, for a person. It names the type of an error and leaves out its text, which
            may quote anything: `statistics().last_error` has that.
        seconds_to_expiry: Remaining life of the held token in seconds; 0 without a valid one.
    """

    status: HealthStatus
    reason: str
    seconds_to_expiry: float

    @property
    def ready(self) -> bool:
        """Whether requests that need a token should be sent to this process."""
        return self.status is not HealthStatus.UNAVAILABLE


def check_margin(margin: object) -> None:
    """Refuse a value that is not a margin.

    Raises:
        TypeError: when it is not a number.
        ValueError: when it is negative or not finite.
    """
    if not is_number(margin):
        raise wrong_type("policy", "margin is a number of seconds", margin)
    if not 0 <= margin < inf:  # false for NaN as well
        raise explained("policy", ValueError(f"margin is a number of seconds from 0, and finite, not {margin!r}"))


def health_of(
    statistics: CredentialStatistics, left: float, margin: float, *, proactive: bool, static: bool
) -> CredentialHealth:
    """The health of a credential that is in use.

    Args:
        statistics: The credential's statistics.
        left: Remaining life of the held token, in seconds.
        margin: Seconds of life that a token must have left to count as valid.
        proactive: Whether its token is refreshed in the background.
        static: Whether it has no source to ask.
    """
    failures = _failures(statistics)
    if left > margin:
        status = HealthStatus.DEGRADED if failures else HealthStatus.READY
        return CredentialHealth(status, "the token is valid" + (failures and f"; {failures}"), left)
    if failures or proactive or static:
        kind = "has no valid token" if left == 0 else "has a token that is about to end"
        fix = failures or (_FIXED if static else "its source is being asked for the next")
        return CredentialHealth(HealthStatus.UNAVAILABLE, f"the credential {kind}: {fix}", left)
    return CredentialHealth(HealthStatus.READY, "the source will be asked by whoever needs a token first", left)


_FIXED = "it is a static one, so make another with a newer token, or with a token_refresher"


def _failures(statistics: CredentialStatistics) -> str:
    if statistics.last_error is None:
        return ""
    kind = type(statistics.last_error).__name__
    return (
        f"the last {statistics.consecutive_failures} attempts to renew it failed ({kind}), see statistics().last_error"
    )


public(CredentialHealth, HealthStatus)
