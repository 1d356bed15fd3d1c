"""Clocks for tests: one that is set by hand, and the real time, where that is meant."""

from __future__ import annotations

import time


class RealTime:
    """The real time where the event loop's is virtual, and the module `time` itself is refused as forgotten."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


REAL_TIME = RealTime()


class HandClock:
    """Stands still until it is set."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.wall, self.mono = wall, 500.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds
