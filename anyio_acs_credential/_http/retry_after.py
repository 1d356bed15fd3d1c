"""How long a service asks its client to wait before it tries again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .._tokens.http_date import read_date

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_RETRY_AFTER = 300.0
"""The longest wait that is honoured, in seconds: a service cannot put its clients to sleep for a day."""

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
# Seconds in one unit of each header, the most exact header first. The first two are Azure's (azure-core reads them).
_UNITS = {"retry-after-ms": 0.001, "x-ms-retry-after-ms": 0.001, "retry-after": 1.0}


def read_retry_after(headers: Iterable[tuple[str, str]], now: float) -> float | None:
    """The wait that an answer asks for (RFC 9110, section 10.2.3).

    Args:
        headers: Names and values of the answer's headers.
        now: Unix seconds, for the forms that name a date.

    Returns:
        Seconds above 0, `MAX_RETRY_AFTER` at most; None where no header asks for a wait. A wait of 0 does not count,
        nor does a date in the past, which may be due to a wrong clock. Of several headers with the same name, the
        longest wait counts.
    """
    pairs = [(name.lower(), value.strip()) for name, value in headers]
    for wanted, unit in _UNITS.items():
        waits = [_read_one(value, unit, now) for name, value in pairs if name == wanted]
        wished = [wait for wait in waits if wait is not None and wait > 0]
        if wished:
            return min(max(wished), MAX_RETRY_AFTER)
    return None


def _read_one(value: str, unit: float, now: float) -> float | None:
    if _NUMBER.fullmatch(value):
        return float(value) * unit
    date = read_date(value) if unit == 1 else None
    return None if date is None else date - now
