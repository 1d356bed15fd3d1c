"""Where the time comes from, and moments that lie ahead on both clocks."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .._public import public


class WallClock(Protocol):
    """Any object that tells the time of day."""

    def time(self) -> float:
        """Unix time, in seconds."""
        ...


class Clock(Protocol):
    """Any object that tells both times; the standard library's `time` module is one."""

    def time(self) -> float:
        """Unix time, in seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""
        ...


class Deadline(NamedTuple):
    """A moment that lies ahead, on both clocks: it has come as soon as it has come on one of them."""

    wall: float
    monotonic: float

    @classmethod
    def after(cls, seconds: float, clock: Clock) -> Deadline:
        """So many seconds from now."""
        return cls(clock.time() + seconds, clock.monotonic() + seconds)

    def left(self, clock: Clock) -> float:
        """Seconds until then; 0 or less when it has come."""
        return min(self.wall - clock.time(), self.monotonic - clock.monotonic())


public(Clock, module="typing")
