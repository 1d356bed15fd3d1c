"""The real time, meant: where the event loop's is virtual, the module `time` itself is refused as forgotten."""

from __future__ import annotations

import time


class RealTime:
    """Any object that gives it is taken as it is."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


REAL_TIME = RealTime()
