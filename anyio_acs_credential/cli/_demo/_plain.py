"""A run of the demonstration as lines, for pipes and programs. ASCII only, so that any encoding can carry it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    asked = _count(len(story.token_requests), "exchange" if story.entra else "token request")
    said = (
        f"{_count(len(story.tokens), 'access token')} used, one after the other",
        f"{asked} made; {story.refused} failed while the held token went on",
        f"{_count(story.turned_down, 'request')} met a 401 and succeeded with the next token",
    )
    if not story.entra:
        return said
    tokens, challenges = _count(len(story.entra_tokens), "Entra token"), _count(story.challenges, "claims challenge")
    return (f"1 sign-in, and {tokens} from it; {challenges} met", *said)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
