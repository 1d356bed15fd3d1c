"""How the demonstration is run and shown: on a terminal, or as lines.

The lines are ASCII only, so that any encoding can carry them.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from ... import SignInRequiredError
from .._running import run
from .._view import drawing, find_terminal, lines, live
from ._crew import Crew
from ._fleet import run_fleet
from ._scenario import run_demo
from ._story import Story, sums, verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

    from ._facts import Event


def show(seconds: int, backend: str, *, entra: bool, workers: int | None, as_json: bool) -> int:
    """Run the demonstration and show it as it happens.

    Args:
        seconds: Seconds that it takes.
        backend: "asyncio" or "trio".
        entra: Whether its user signs in to Entra.
        workers: How many processes share the tokens; None for a single process.
        as_json: Whether to show it as JSON lines.

    Returns:
        The exit status.

    Raises:
        click.UsageError: when the backend is not installed.
        click.ClickException: when the sign-in is declined, or a worker cannot go on.
    """
    story = Story(seconds, entra, Crew.of(workers) if workers else None)
    try:
        with _no_proxy(), _played(story, backend) as play, _output(story, as_json) as draw:
            status = run(partial(drawing, draw, play), backend)
    except* SignInRequiredError:
        raise click.ClickException("the sign-in was declined on its page: start again, and leave that alone") from None
    return status or int(story.failed > 0)


@contextmanager
def _played(story: Story, backend: str) -> Iterator[Callable[[], Awaitable[None]]]:
    """The function that plays the story. Processes share a file in a temporary folder, which is removed at the end."""
    if story.crew is None:
        yield partial(run_demo, story)
        return
    with TemporaryDirectory(prefix="acs-demo-") as folder:
        yield partial(run_fleet, story, story.crew, str(Path(folder, "tokens.db")), backend)


@contextmanager
def _no_proxy() -> Iterator[None]:
    """Keep HTTP clients from the environment's proxy, which could not reach this machine's loopback."""
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "127.0.0.1"
    try:
        yield
    finally:
        del os.environ["no_proxy"]
        if before is not None:
            os.environ["no_proxy"] = before


def _output(story: Story, as_json: bool) -> AbstractContextManager[Callable[[], None]]:
    from ._live import LEAST_WIDTH, least_height, picture, result

    if as_json:
        return lines(story.events, event_as_json, lambda: [summary_as_json(story, story.now())] if story.over else [])
    console = find_terminal(LEAST_WIDTH, least_height(story))
    if console is None:
        return lines(story.events, event_as_line, lambda: summary_as_lines(story, story.now()) if story.over else [])
    return live(
        console,
        lambda width, height: picture(story, story.now(), width, height),
        lambda width: result(story, story.now(), width) if story.over else None,
    )


def event_as_line(event: Event) -> str:
    """The line of an event: the time, and what happened."""
    return f"{event.at:7.2f} s  {event.text}"


def summary_as_lines(story: Story, now: float) -> list[str]:
    """The totals, in words."""
    first, *rest = (verdict(story), *sums(story))
    return [f"{now:7.2f} s  {first}", *(f"{'':11}{line}" for line in rest)]


def event_as_json(event: Event) -> str:
    """An event as a JSON object."""
    return json.dumps({"event": event.kind, "at": round(event.at, 3), "text": event.text, **event.details})


def summary_as_json(story: Story, now: float) -> str:
    """The totals as a JSON object."""
    return json.dumps({"event": "summary", "at": round(now, 3), "text": verdict(story), **story.summary()})
