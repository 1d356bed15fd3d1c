"""The demonstration as its terminal shows it, from its beginning to its end: a real run, at the pace it had."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import anyio
from _moving import Recording, frame_of, moving
from _svg import keep

from anyio_acs_credential.cli._demo._live import LEAST_WIDTH, result
from anyio_acs_credential.cli._demo._live import picture as screen
from anyio_acs_credential.cli._demo._run import _no_proxy
from anyio_acs_credential.cli._demo._scenario import run_demo
from anyio_acs_credential.cli._demo._story import Story

if TYPE_CHECKING:
    from rich.console import RenderableType

SECONDS, COLUMNS, LINES = 16, LEAST_WIDTH, 22
STEP, PAUSE = 0.3, 12  # a frame's seconds, and how many frames show what is left on the terminal


async def watch(story: Story, kept: list[RenderableType]) -> None:
    """Run the demonstration, and keep what the terminal shows at each step."""
    begun = anyio.current_time()
    async with anyio.create_task_group() as group:

        async def look() -> None:
            for number in count():
                await anyio.sleep_until(begun + STEP * number)
                kept.append(screen(story, story.now(), COLUMNS, LINES))

        group.start_soon(look)
        await run_demo(story)
        group.cancel_scope.cancel()


def draw() -> str:
    """The picture."""
    story = Story(SECONDS)
    kept: list[RenderableType] = []
    with _no_proxy():
        anyio.run(partial(watch, story, kept))
    if story.failed or story.outage is None or story.revoked_at is None:
        raise SystemExit("a request failed, which the description denies: look for why, and draw it again")
    shown = [*kept, *[result(story, story.now(), COLUMNS)] * PAUSE]
    frames = [frame_of(each, COLUMNS, LINES) for each in shown]
    return moving(
        __file__,
        "acs-credential demo, in a terminal",
        f"A client's {story.sent} requests go on through {len(story.tokens)} tokens, an outage of the token endpoint "
        "and a revocation; none fails.",
        Recording(f"acs-credential demo --seconds {SECONDS}", STEP, frames, still=len(kept) - 1),
    )


if __name__ == "__main__":
    keep(__file__, draw())
