"""Points in time and durations, in words for people."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def date_and_time(unix_seconds: float) -> str:
    """The date and time in UTC, to the second."""
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock_time(unix_seconds: float) -> str:
    """The time of day in this machine's time zone, to the second."""
    return f"{datetime.fromtimestamp(unix_seconds).astimezone():%H:%M:%S}"


def span(seconds: float) -> str:
    """A duration in its two largest units, such as "23 h 59 min"."""
    left = max(int(seconds), 0)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or "0 s"
