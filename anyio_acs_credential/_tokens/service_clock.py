"""The time of a service, as its answers prove it.

The rules of this file:

* An answer has a `Date` in whole seconds (RFC 9110, section 6.6.1), and was written while its request was under way. So
  it proves an interval for how far our clock is ahead, and nothing more: an interval as long as the request took.
* Our clock is believed until an answer proves it wrong, and again as soon as an answer agrees with it. In between, each
  answer moves the offset as little as its interval allows.
* A cache repeats an old `Date`, and says so with `Age` (RFC 9111, section 5.1). The two are not added: the cache has
  measured that age by its own clock, against the `Date` (section 4.2.3), so their sum may be the cache's time. A
  malformed or absurd `Date` proves nothing, and neither does an answer that came without TLS from another machine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from .clock_warning import TOLERANCE, tell
from .http_date import read_date

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .clock import Clock, WallClock

_RESOLUTION = 1.0  # seconds by which a Date may be early or late: some servers cut the fraction, some round it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = 1_262_304_000, 7_258_118_400  # 2010, before which there was no Azure, and 2200


class Moment(NamedTuple):
    """A moment, in seconds of both of our clocks."""

    wall: float
    monotonic: float

    @classmethod
    def now(cls, clock: Clock) -> Moment:
        """The present moment."""
        return cls(clock.time(), clock.monotonic())


@dataclass(frozen=True, slots=True)
class Proof:
    """What one answer proves.

    Attributes:
        date: The service's time when it answered, in Unix seconds.
        least: Seconds that our clock is ahead of the service's at least; negative where it is behind.
        most: Seconds that it is ahead at most.
    """

    date: float
    least: float
    most: float

    @property
    def offset(self) -> float | None:
        """The smallest offset that it proves, in seconds (above 0: our clock is ahead); None where it allows 0."""
        return None if self.least <= 0 <= self.most else self.least if self.least > 0 else self.most


def proof_in(headers: Iterable[tuple[str, str]], sent: Moment, received: Moment) -> Proof | None:
    """What the headers of an answer prove. The answer has come over https, or from loopback.

    Args:
        headers: Names and values.
        sent: When the request was sent.
        received: When the answer was there.

    Returns:
        The proof, or None where the headers prove nothing.
    """
    pairs = [(name.lower(), value.strip()) for name, value in headers]
    dates = [value for name, value in pairs if name == "date"]
    if len(dates) != 1 or any(name == "age" and value != "0" for name, value in pairs):
        return None
    date = read_date(dates[0])
    # Compared with its only valid form, since the parser of e-mail dates reads nearly any text.
    if date is None or not _EARLIEST <= date < _LATEST or formatdate(date, usegmt=True) != dates[0]:
        return None
    # The monotonic clock stands still while a machine sleeps, and a wall clock may be set: the longer time is safe.
    took = max(received.monotonic - sent.monotonic, received.wall - sent.wall)
    ahead = received.wall - date
    return Proof(date, ahead - took - _RESOLUTION, ahead + _RESOLUTION)


def absurd_date(value: str) -> str | None:
    """The day in a `Date` before 2010 or after 2199, which only a wrong clock shows; None for any other value."""
    date = read_date(value)
    if date is None or _EARLIEST <= date < _LATEST:
        return None
    return (_EPOCH + timedelta(seconds=date)).date().isoformat()


class ServiceClock:
    """The time of one service, as one client of it knows it.

    Args:
        service: The service's host, for the log.
        clock: Our clock.
    """

    def __init__(self, service: str, clock: WallClock = time) -> None:
        self.clock = clock
        self.offset: float | None = None
        """Seconds that our clock is ahead; None while nothing has proved it wrong."""
        self._least = 0.0
        self._service = service

    def learn(self, proof: Proof | None) -> None:
        """Move the offset to what an answer proves, if it proves anything."""
        if proof is None:
            return
        if proof.offset is None:
            self.offset, self._least = None, 0.0
        else:
            self.offset = min(max(self.offset or 0.0, proof.least), proof.most)
            self._least = proof.least
        tell(self._service, self.offset)

    def time(self) -> float:
        """The service's time in Unix seconds, as far as it is known."""
        return self.clock.time() - (self.offset or 0.0)

    def life(self, expires_on: float) -> float | None:
        """Seconds until a time of the service, at least; None where our clock is believed."""
        return None if self.offset is None else self.here(expires_on) - self.clock.time()

    def here(self, moment: float) -> float:
        """A time of the service by our clock, in Unix seconds, at the earliest."""
        return moment + self._least

    @staticmethod
    def refuses(proof: Proof | None, signed: float) -> bool:
        """Whether the time of a signature may be why it was refused: it is more than a minute from the service's."""
        return proof is not None and abs(proof.date - signed) > TOLERANCE
