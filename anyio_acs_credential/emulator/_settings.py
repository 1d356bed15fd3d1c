"""The settings of an emulator, checked."""

from __future__ import annotations

import math
from typing import Protocol

from .._common.checks import is_clock, is_number
from .._common.errors import explained, wrong_type

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
    if not is_number(offset):
        raise wrong_type("emulator-arguments", "clock_offset is seconds", offset)
    if not abs(offset) <= _LONGEST:
        raise explained(
            "emulator-arguments", ValueError(f"clock_offset is twenty years at most, in seconds, and not {offset}")
        )


def check_port(port: object) -> None:
    """Refuse what is not a port.

    Raises:
        TypeError: when it is of the wrong type.
        ValueError: when it is out of its range.
    """
    if type(port) is not int:
        raise wrong_type("emulator-arguments", "port is a whole number, 0 for a free one", port)
    if not 0 <= port <= 65535:
        raise explained("emulator-arguments", ValueError(f"port is from 0 (a free one) to 65535, not {port}"))


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
    if not is_number(value):
        raise wrong_type("emulator-arguments", f"{name} is seconds{' or None' if optional else ''}", value)
    if not least <= value < math.inf:
        seconds = f"{least} second{'' if least == 1 else 's'}"
        raise explained("emulator-arguments", ValueError(f"{name} is {seconds} or more, and finite, not {value}"))


def check_switch(name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Raises:
        TypeError: when it is something else.
    """
    if not isinstance(value, bool):
        raise wrong_type("emulator-arguments", f"{name} is True or False", value)


def check_text(name: str, value: object) -> None:
    """Refuse what is not text.

    Raises:
        TypeError: when it is something else.
    """
    if not isinstance(value, str):
        raise wrong_type("emulator-arguments", f"{name} is text", value)


def check_clock(clock: object) -> None:
    """Refuse what is not a clock.

    Raises:
        TypeError: when it has no `time()`, or is the class of one that has.
    """
    if not is_clock(clock, "time"):
        raise wrong_type("emulator-arguments", "clock is an object with time(), such as the time module", clock)
