"""The dates that HTTP has in its headers."""

from __future__ import annotations

import calendar
import email.utils


def read_date(value: str) -> float | None:
    """Unix seconds of an HTTP date in any of its three forms (RFC 9110, section 5.6.7)."""
    try:
        fields = email.utils.parsedate_tz(value)
        return None if fields is None else float(calendar.timegm(fields[:6]) - (fields[9] or 0))
    except (ArithmeticError, LookupError, TypeError, ValueError):  # the parser of e-mail dates trusts its input
        return None
