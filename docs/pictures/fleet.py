"""A day of fifty processes, with a store and without: from a run of the benchmark's own fleet, in virtual time."""

from __future__ import annotations

import sys
from pathlib import Path

from _svg import keep, picture, rectangle, words

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks._fleet_world import simulate

PROCESSES = 50
HOUR = 3600
DAY = 24 * HOUR
STEP = HOUR // 4
LEFT, WIDTH, HEIGHT = 132, 720, 262
SCALE = (WIDTH - LEFT - 16) / DAY
TALLEST = 84  # pixels, of as many requests as there are processes


def bars(requests: list[float], bottom: float, colour: str) -> list[str]:
    """One for each quarter of an hour, as high as there were requests in it."""
    parts = []
    for begin in range(0, DAY, STEP):
        count = sum(begin <= now < begin + STEP for now in requests)
        if count:
            height = TALLEST * count / PROCESSES
            parts.append(rectangle(LEFT + begin * SCALE, bottom - height, STEP * SCALE - 1, height, colour))
    return parts


def draw() -> str:
    """The picture."""
    alone, together = (
        simulate(PROCESSES, DAY, HOUR, "asyncio", has_store=has_store, troubled=False).requests
        for has_store in (False, True)
    )
    parts = [words(16, 30, f"Requests of {PROCESSES} processes in a day of one-hour tokens", "strong")]
    for bottom, label, requests, colour in ((140, "alone", alone, "bad"), (196, "with a store", together, "good")):
        parts.append(words(16, bottom - 16, label))
        parts.append(words(16, bottom, f"{len(requests):,} requests", "small"))
        parts.append(rectangle(LEFT, bottom, DAY * SCALE, 1, "line"))
        parts.extend(bars(requests, bottom, colour))
    for hour in range(0, 25, 4):
        parts.append(rectangle(LEFT + hour * HOUR * SCALE, 204, 1, 6, "line"))
        anchor = {0: "start", 24: "end"}.get(hour, "middle")
        parts.append(words(LEFT + hour * HOUR * SCALE, 226, f"{hour}:00", "small", anchor))
    text = "Each bar is a quarter of an hour, and the tallest a request of each process. Run in virtual time."
    parts.append(words(16, 250, text, "small"))
    return picture(
        __file__,
        f"A day of {PROCESSES} processes, with a store and without",
        f"Without a store, each process asks for each token: {len(alone):,} requests. With one, one process asks for "
        f"each token, and the others take the answer from the store: {len(together)} requests.",
        (WIDTH, HEIGHT),
        parts,
    )


if __name__ == "__main__":
    keep(__file__, draw())
