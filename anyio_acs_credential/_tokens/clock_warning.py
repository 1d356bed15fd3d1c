"""The warning about a wrong clock: the same words in the log and in errors, and only once in the log.

A process has one clock, and may have thousands of credentials that find it wrong. So the process remembers what it has
logged, for each service that found a difference. Otherwise one service whose own clock is wrong, and others that agree
with ours, would have the log call our clock wrong and right in turns.
"""

from __future__ import annotations

import logging
from contextlib import suppress

TOLERANCE = 60.0
"""Seconds of difference up to which there is no warning. The services do not document how many they allow."""

_DAY = 24 * 60  # minutes

_logger = logging.getLogger("anyio_acs_credential")
_told: dict[str, float] = {}


def describe(offset: float) -> str:
    """The sentence about a clock that is `offset` seconds ahead of the service's, or behind if that is negative."""
    minutes = round(abs(offset) / 60)
    days = minutes // _DAY
    units = {"day" if days == 1 else "days": days, "h": minutes % _DAY // 60, "min": minutes % 60}
    span = " ".join([f"{count} {unit}" for unit, count in units.items() if count][:2]) or f"{abs(offset):.0f} s"
    return f"this machine's clock is {span} {'ahead of' if offset > 0 else 'behind'} the service's"


def tell(who: str, offset: float | None) -> None:
    """Log once that the clock is wrong, and once that it is right again.

    Args:
        who: Who found the difference: the host of a service, or a token source.
        offset: Seconds that our clock is ahead of the one there; None where no difference is known.
    """
    if offset is None or abs(offset) <= TOLERANCE:
        if _told.pop(who, None) is not None and not _told:
            _log(logging.INFO, 0.0, "this machine's clock agrees with the service's again")
        return
    known = any(abs(offset - each) <= TOLERANCE for each in tuple(_told.values()))
    _told[who] = offset
    if not known:
        message = (
            f"{describe(offset)}: set it, or have it set (NTP); until then this program goes by the service's time"
        )
        _log(logging.WARNING, offset, message)


def _log(level: int, offset: float, message: str) -> None:
    extra = {"acs_event": "clock_right" if level == logging.INFO else "clock_wrong", "acs_clock_offset": offset}
    with suppress(Exception):  # a log handler that raises must not fail the request that found the difference
        _logger.log(level, message, extra=extra)
