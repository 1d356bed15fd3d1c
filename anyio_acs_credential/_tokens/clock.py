"""Where the time comes from."""

from __future__ import annotations

from typing import Protocol

from .._public import public


class Clock(Protocol):
    """Any object that tells both times; the standard library's `time` module is one."""

    def time(self) -> float:
        """Unix time, in seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""
        ...


public(Clock, module="typing")
