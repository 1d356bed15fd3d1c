"""What ten thousand callers of an expired token do to each library: from a run of the benchmark's own functions."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from _svg import keep, picture, rectangle, words

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import stampede
from benchmarks._crowd import CALLERS, Crowd
from benchmarks._measure import finishes

from anyio_acs_credential import CommunicationTokenCredential

OURS = "anyio-acs-credential"
LEFT, WIDTH = 216, 720


async def fetches(name: str) -> int:
    """The calls of the source, whose callers all get their token in the end."""
    crowd = Crowd(fails=False)
    async with AsyncExitStack() as stack:
        if name == OURS:
            credential = CommunicationTokenCredential(
                stampede.EXPIRED, token_refresher=crowd.source, proactive_refresh=False
            )
            await crowd.come((await stack.enter_async_context(credential)).get_token)
        else:
            await crowd.come(await stampede._ask(name, crowd, stack))
    return crowd.calls


def results() -> dict[str, str]:
    """What became of the callers, for each library."""
    found = {}
    for name in (OURS, "azure-core", "Authlib", "azure-identity"):
        count = anyio.run(fetches, name)
        found[name] = f"{count:,} fetch{'' if count == 1 else 'es'}"
    frozen = not finishes(stampede.two_official_callers, stampede.FROZEN)
    found["the official credential"] = "two callers freeze the event loop" if frozen else "two callers finish"
    return found


def draw() -> str:
    """The picture."""
    found = results()
    parts = [words(16, 30, f"{CALLERS:,} tasks ask for an expired token at once", "strong")]
    for row, (name, what) in enumerate(found.items()):
        top = 52 + 40 * row
        good = what == "1 fetch"
        share = 0.02 if good else 1.0
        parts.append(words(16, top + 17, name, "strong" if row == 0 else ""))
        parts.append(rectangle(LEFT, top, (WIDTH - LEFT - 16) * share, 24, "good" if good else "lost"))
        parts.append(words(LEFT + (22 if good else 12), top + 17, what))
    height = 52 + 40 * len(found) + 34
    parts.append(words(16, height - 16, "asyncio; each fetch is a call of the same source, which waits once", "small"))
    return picture(
        __file__,
        f"What {CALLERS:,} callers do to each library",
        "; ".join(f"{name}: {what}" for name, what in found.items()),
        (WIDTH, height),
        parts,
    )


if __name__ == "__main__":
    keep(__file__, draw())
