"""What has happened so far in a run of the demonstration: the scenario writes it, and the renderers read it."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._crew import Crew
    from ._facts import Event, HeldToken, SignIn, Span, TokenRequest

WORKERS = 4
"""How many tasks send requests all the time."""


@dataclass
class Story:
    """One run.

    Attributes:
        seconds: Seconds that it is to take.
        entra: Whether its user signs in to Entra, whose tokens are exchanged for access tokens.
        crew: The processes that share the tokens; None for a single process.
        began: When it began, on the monotonic clock; None while it is being set up.
        sign_in: How the user was asked to sign in.
        entra_tokens: When each Entra token was issued.
        answers: When each request of the workers had its final answer, or failed.
        failed: How many of these requests failed.
        turned_down: How many requests met a 401, before they were sent once more.
        tokens: The access tokens that the credential has held; of several processes, each by the first that held it.
        token_requests: The requests to the token endpoint.
        trouble: How the token endpoint is broken; empty while it works.
        outage: When it was broken.
        revoked_at: When all tokens were revoked.
        events: The events, in order.
        over: Whether the run has come to its end.
    """

    seconds: float
    entra: bool = False
    crew: Crew | None = None
    began: float | None = None
    sign_in: SignIn | None = None
    entra_tokens: list[float] = field(default_factory=list)
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
        """Seconds that each access token lives, so that about six tokens fit into a run."""
        return 0.35 * self.seconds

    def now(self) -> float:
        """Seconds since the run began; 0 before."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    @property
    def issuer(self) -> str:
        """The name of the token endpoint."""
        return "the exchange" if self.entra else "the token endpoint"

    @property
    def sent(self) -> int:
        """How many requests the workers have made."""
        return len(self.answers)

    @property
    def refused(self) -> int:
        """How many requests for a token have failed."""
        return sum(not request.granted and not request.challenged for request in self.token_requests)

    @property
    def challenges(self) -> int:
        """How many requests for a token were made again with a newer Entra token."""
        return sum(request.challenged for request in self.token_requests)

    @property
    def requests_a_life(self) -> float:
        """How many tokens the service issued for each that one worker held, to a tenth. Sharing brings it down to 1."""
        granted = sum(request.granted for request in self.token_requests)
        return round(granted / self.crew.lives, 1) if self.crew is not None and self.crew.lives else 0.0

    def rate(self, now: float) -> int:
        """How many requests were answered in the second before `now`."""
        return len(self.answers) - bisect_left(self.answers, now - 1)

    def summary(self) -> dict[str, float]:
        """The totals of the run."""
        entra = {"entra_tokens": len(self.entra_tokens), "claims_challenges": self.challenges} if self.entra else {}
        return {
            "requests_sent": self.sent,
            "requests_failed": self.failed,
            "requests_turned_down_and_sent_again": self.turned_down,
            "tokens_used": len(self.tokens),
            "token_requests": len(self.token_requests),
            "token_requests_failed": self.refused,
            **entra,
            **self._sharing(),
        }

    def _sharing(self) -> dict[str, float]:
        if self.crew is None:
            return {}
        return {
            "workers": len(self.crew.workers),
            "tokens_fetched": self.crew.fetched,
            "tokens_shared": self.crew.shared,
            "token_lives": self.crew.lives,
            "token_requests_a_life": self.requests_a_life,
            "token_requests_a_life_without_sharing": len(self.crew.workers),
        }


def verdict(story: Story) -> str:
    """The run in a sentence."""
    if story.failed:
        return f"{story.failed} of {story.sent} requests failed"
    return f"no request failed: {story.sent} were sent and answered"


def sums(story: Story) -> tuple[str, ...]:
    """The facts behind the verdict."""
    if story.crew is not None:
        return (*_of_entra(story), *_of_crew(story, story.crew))
    asked = _count(len(story.token_requests), "exchange" if story.entra else "token request")
    return (
        *_of_entra(story),
        f"{_count(len(story.tokens), 'access token')} used, one after the other",
        f"{asked} made; {story.refused} failed while the held token went on",
        f"{_count(story.turned_down, 'request')} met a 401 and succeeded with the next token",
    )


def _of_entra(story: Story) -> tuple[str, ...]:
    if not story.entra:
        return ()
    tokens, challenges = _count(len(story.entra_tokens), "Entra token"), _count(story.challenges, "claims challenge")
    return (f"1 sign-in, and {tokens} from it; {challenges} met",)


def _of_crew(story: Story, crew: Crew) -> Iterator[str]:
    """What sharing saved: the fetches for each token's life, and what they would be without it."""
    workers, noun = len(crew.workers), "exchange" if story.entra else "token request"
    yield f"{_count(crew.fetched, 'token')} fetched by {workers} workers, and {crew.shared} taken from the store"
    yield f"the service saw {_count(story.requests_a_life, noun)} a token life; without sharing, {workers}"
    if (death := crew.death) is not None and death.ended is not None:
        yield f"{death.worker.name} was killed, and was back {death.ended - death.began:.1f} s later"


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
