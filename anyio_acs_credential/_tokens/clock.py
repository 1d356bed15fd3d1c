"""Where the time comes from, and deadlines on both clocks."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .._common.public import public


class WallClock(Protocol):
    """Any object that tells the time of day."""

    def time(self) -> float:
        """Unix time, in seconds."""
        ...


class Clock(Protocol):
    """Any object with a wall clock and a monotonic clock; the standard library's `time` module is one."""

    def time(self) -> float:
        """Unix time, in seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""
        ...


class Deadline(NamedTuple):
    """A moment ahead, in seconds of both clocks: it has come as soon as one of the clocks has reached it."""

    wall: float
    monotonic: float

    @classmethod
    def after(cls, seconds: float, clock: Clock) -> Deadline:
        """The moment that lies so many seconds ahead."""
        return cls(clock.time() + seconds, clock.monotonic() + seconds)

    def left(self, clock: Clock) -> float:
        """Seconds until then; 0 or less when it has come."""
        return min(self.wall - clock.time(), self.monotonic - clock.monotonic())


public(Clock, module="typing")
