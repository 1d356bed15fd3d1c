"""What is said of a clock that is wrong: in the same words in the log and in errors, and in the log once.

A process has one clock, and may have thousands of credentials that find out about it. So what has been told is kept for
the process, by who found out: a service whose own clock is wrong does not take turns with those that agree with ours.
"""

from __future__ import annotations

import logging
from contextlib import suppress

TOLERANCE = 60.0
"""Seconds of difference up to which nothing is said: services allow minutes."""

_DAY = 24 * 60  # minutes

_logger = logging.getLogger("anyio_acs_credential")
_told: dict[str, float] = {}


def describe(offset: float) -> str:
    """The sentence about a clock that is so many seconds ahead of the service's, or behind if they are negative."""
    minutes = round(abs(offset) / 60)
    days = minutes // _DAY
    units = {"day" if days == 1 else "days": days, "h": minutes % _DAY // 60, "min": minutes % 60}
    span = " ".join([f"{count} {unit}" for unit, count in units.items() if count][:2]) or f"{abs(offset):.0f} s"
    return f"this machine's clock is {span} {'ahead of' if offset > 0 else 'behind'} the service's"


def tell(who: str, offset: float | None) -> None:
    """Log that the clock is wrong, once, and that it is right again.

    Args:
        who: What found out: a service.
        offset: Seconds that our clock is ahead of the one there; None where no difference is known.
    """
    if offset is None or abs(offset) <= TOLERANCE:
        if _told.pop(who, None) is not None and not _told:
            _log(logging.INFO, 0.0, "this machine's clock agrees with the service's again")
        return
    known = any(abs(offset - each) <= TOLERANCE for each in tuple(_told.values()))
    _told[who] = offset
    if not known:
        message = f"{describe(offset)}: set it, or have it set (NTP); until then the service's time is gone by"
        _log(logging.WARNING, offset, message)


def _log(level: int, offset: float, message: str) -> None:
    extra = {"acs_event": "clock_right" if level == logging.INFO else "clock_wrong", "acs_clock_offset": offset}
    with suppress(Exception):  # a log handler that raises must not fail the request that found out
        _logger.log(level, message, extra=extra)
