"""The settings of an emulator, checked."""

from __future__ import annotations

import math
from typing import Protocol

_LONGEST = 20 * 366 * 86_400


class Clock(Protocol):
    """Any object with `time()`, such as the `time` module."""

    def time(self) -> float:
        """Unix seconds."""
        ...


class OwnClock:
    """The clock of an emulator.

    Args:
        clock: This machine's clock.
        offset: Seconds that the emulator's clock is ahead of it.
    """

    def __init__(self, clock: Clock, offset: float) -> None:
        self._clock = clock
        self.offset = offset

    def time(self) -> float:
        """Unix seconds."""
        return self._clock.time() + self.offset


def check_offset(offset: object) -> None:
    """Refuse what is not a difference between two clocks.

    Raises:
        TypeError: when it is of the wrong type.
        ValueError: when it is NaN or longer than twenty years.
    """
    if isinstance(offset, bool) or not isinstance(offset, int | float):
        raise TypeError(f"clock_offset is seconds, not {type(offset).__name__}")
    if not abs(offset) <= _LONGEST:
        raise ValueError(f"clock_offset is twenty years at most, in seconds, and not {offset}")


def check_port(port: object) -> None:
    """Refuse what is not a port.

    Raises:
        TypeError: when it is of the wrong type.
        ValueError: when it is out of its range.
    """
    if type(port) is not int:
        raise TypeError(f"port is a whole number, 0 for a free one, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port is from 0 (a free one) to 65535, not {port}")


def check_seconds(name: str, value: object, *, least: int, optional: bool = False) -> None:
    """Refuse what is not a duration.

    Args:
        name: The setting's name.
        value: The setting's value.
        least: The least number of seconds.
        optional: Whether the value may be None.

    Raises:
        TypeError: when it is of the wrong type.
        ValueError: when it is out of its range.
    """
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is seconds{' or None' if optional else ''}, not {type(value).__name__}")
    if not least <= value < math.inf:
        raise ValueError(f"{name} is {least} second{'' if least == 1 else 's'} or more, and finite, not {value}")


def check_switch(name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Raises:
        TypeError: when it is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {type(value).__name__}")


def check_clock(clock: object) -> None:
    """Refuse what is not a clock.

    Raises:
        TypeError: when it has no `time()`.
    """
    if not callable(getattr(clock, "time", None)):
        raise TypeError("clock is an object with time(), such as the time module")
