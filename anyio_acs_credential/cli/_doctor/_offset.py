"""How far this machine's clock is from the service's."""

from __future__ import annotations

import re

from ..._tokens.clock_warning import describe
from ..._tokens.http_date import read_date
from .._times import date_and_time
from ._finding import Finding, failure, not_tried, ok, warning

_NOTICED, _REFUSED = 60, 300  # seconds; the service refuses signatures that are older, or of the future
_SET = "set it, or switch on its synchronisation (NTP)"


def measure_offset(date: str | None, age: str | None, sent: float, received: float) -> float | None:
    """By how many seconds a clock is certainly ahead of the service's: below zero where it is behind.

    `Date` has whole seconds and was written somewhere between the request and its answer, so that much is uncertain,
    and no difference that this may explain is one.

    Args:
        date: The answer's `Date`.
        age: Its `Age`: the seconds that it spent in a cache.
        sent: When the request was sent, in Unix seconds of that clock.
        received: When its answer came.

    Returns:
        The seconds; None where the answer does not say.
    """
    written = read_date(date or "")
    if written is None or not re.fullmatch("[0-9]{0,9}", (age or "").strip(), re.ASCII):
        return None
    now = written + int((age or "").strip() or 0)
    least, most = sent - now - 1, received - now
    return least if least > 0 else most if most < 0 else 0.0


def judge_clock(offset: float | None, now: float, begins: float | None) -> Finding:
    """What a difference means.

    Args:
        offset: As `measure_offset` has it; None where no answer tells.
        now: This machine's time, in Unix seconds.
        begins: When the service's certificate begins, if it is known.
    """
    if offset is None and begins is not None and now < begins:
        text = f"it is {date_and_time(now)} here, and the service's certificate begins at {date_and_time(begins)}"
        return failure(text, _SET)
    if offset is None:
        return not_tried("no answer has told the service's time")
    if abs(offset) < _NOTICED:
        return ok("this machine's clock agrees with the service's")
    text = describe(offset)
    if abs(offset) < _REFUSED:
        return warning(text, _SET)
    return failure(f"{text}, so that signatures are refused and the life of tokens is misjudged", _SET)
