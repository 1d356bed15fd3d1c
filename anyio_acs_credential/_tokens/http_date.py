"""The dates that HTTP has in its headers."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime


def read_date(value: str) -> float | None:
    """Unix seconds of an HTTP date in any of its three forms (RFC 9110, section 5.6.7)."""
    try:
        fields = email.utils.parsedate_tz(value)
        if fields is None:
            return None
        year, month, day, hour, minute, second = fields[:6]
        # Not calendar.timegm(), which accepts the 99th of January. A leap second counts as the second before it.
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        return moment.timestamp() - (fields[9] or 0)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # the parser of e-mail dates trusts its input
        return None
