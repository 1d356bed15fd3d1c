"""What a run of the demonstration has seen so far: the scenario writes it, and the renderers read it."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ("WORKERS", "Event", "HeldToken", "Span", "Story", "TokenRequest")

WORKERS = 4
"""Tasks that send requests to the chat endpoint."""


class Event(NamedTuple):
    """Something worth a line. Times are seconds since the run began, here and below."""

    at: float
    kind: str
    text: str
    details: dict[str, float | str]


class HeldToken(NamedTuple):
    """When an access token was received, is to be renewed, and ends."""

    at: float
    renew_at: float
    expires_at: float


class TokenRequest(NamedTuple):
    """When the service decided on a request for a token, and whether it gave one."""

    at: float
    granted: bool


@dataclass
class Span:
    """From when to when; no end while it lasts."""

    began: float
    ended: float | None = None


@dataclass
class Story:
    """One run.

    Attributes:
        seconds: How long it is to take.
        began: When it began, on the monotonic clock; None while it is being set up.
        answers: When each request to the chat endpoint had its final answer, or failed.
        failed: How many of those were no success.
        turned_down: Requests that met a 401, before they were sent once more.
        tokens: The access tokens that the credential has held.
        token_requests: What the service got at its token endpoint.
        trouble: What the token endpoint does instead of answering; empty while it works.
        outage: When that was.
        revoked_at: When all tokens were revoked.
        events: What happened, in order.
        over: Whether the run has come to its end.
    """

    seconds: float
    began: float | None = None
    answers: list[float] = field(default_factory=list)
    failed: int = 0
    turned_down: int = 0
    tokens: list[HeldToken] = field(default_factory=list)
    token_requests: list[TokenRequest] = field(default_factory=list)
    trouble: str = ""
    outage: Span | None = None
    revoked_at: float | None = None
    events: list[Event] = field(default_factory=list)
    over: bool = False

    @property
    def lifetime(self) -> float:
        """Seconds that each access token lives: some six tokens fit a run."""
        return 0.35 * self.seconds

    def now(self) -> float:
        """Seconds since the run began; 0 before."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    @property
    def sent(self) -> int:
        """Requests to the chat endpoint."""
        return len(self.answers)

    @property
    def refused(self) -> int:
        """Requests for a token that brought none."""
        return sum(not request.granted for request in self.token_requests)

    def rate(self, now: float) -> int:
        """Requests in the second before `now`."""
        return len(self.answers) - bisect_left(self.answers, now - 1)

    def summary(self) -> dict[str, float]:
        """The sums."""
        return {
            "requests_sent": self.sent,
            "requests_failed": self.failed,
            "requests_turned_down_and_sent_again": self.turned_down,
            "tokens_used": len(self.tokens),
            "token_requests": len(self.token_requests),
            "token_requests_failed": self.refused,
        }
