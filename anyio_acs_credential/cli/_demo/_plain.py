"""A run of the demonstration as lines, for pipes and programs. ASCII only, so that any encoding can carry it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._crew import Crew
    from ._story import Event, Story


def event_as_line(event: Event) -> str:
    """What happened, behind when."""
    return f"{event.at:7.2f} s  {event.text}"


def summary_as_lines(story: Story, now: float) -> list[str]:
    """The sums, in words."""
    first, *rest = (verdict(story), *sums(story))
    return [f"{now:7.2f} s  {first}", *(f"{'':11}{line}" for line in rest)]


def event_as_json(event: Event) -> str:
    """What happened, as one JSON object."""
    return json.dumps({"event": event.kind, "at": round(event.at, 3), "text": event.text, **event.details})


def summary_as_json(story: Story, now: float) -> str:
    """The sums, as one JSON object."""
    return json.dumps({"event": "summary", "at": round(now, 3), "text": verdict(story), **story.summary()})


def verdict(story: Story) -> str:
    """The run in a sentence."""
    if story.failed:
        return f"{story.failed} of {story.sent} requests failed"
    return f"no request failed: {story.sent} were sent and answered"


def sums(story: Story) -> tuple[str, ...]:
    """What happened behind the verdict."""
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
    """What sharing was good for: what a token's life cost the service, and what it would cost without."""
    workers, noun = len(crew.workers), "exchange" if story.entra else "token request"
    yield f"{_count(crew.fetched, 'token')} fetched by {workers} workers, and {crew.shared} taken from the store"
    yield f"the service saw {_count(story.requests_a_life, noun)} a token life; without sharing, {workers}"
    if (death := crew.death) is not None and death.ended is not None:
        yield f"{death.worker.name} was killed, and was back {death.ended - death.began:.1f} s later"


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
