"""The time of a service, as its answers prove it.

The rules of this file:

* An answer has a `Date` in whole seconds and was written at some moment of the time that its request took. So it proves
  an interval for how far our clock is ahead, and nothing more: what took a minute proves a minute less.
* Ours is believed until an answer proves it wrong, and again as soon as one agrees with it. In between, what is
  believed moves as little as the next answer allows.
* A cache repeats an old `Date`, and says so with `Age`. What is malformed or absurd proves nothing, and neither does
  what came without TLS from another machine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from .clock_warning import TOLERANCE, tell
from .http_date import read_date

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .clock import Clock, WallClock

_RESOLUTION = 1.0  # seconds by which a Date may be early or late: some servers cut the fraction, some round it
_EARLIEST, _LATEST = 1_262_304_000, 7_258_118_400  # 2010, before which there was no Azure, and 2200


class Moment(NamedTuple):
    """A moment on both of our clocks."""

    wall: float
    monotonic: float

    @classmethod
    def now(cls, clock: Clock) -> Moment:
        """This one."""
        return cls(clock.time(), clock.monotonic())


@dataclass(frozen=True, slots=True)
class Proof:
    """What one answer proves.

    Attributes:
        date: The service's time when it answered, in Unix seconds.
        least: Seconds that our clock is ahead of the service's at least; negative where it is behind.
        most: The same at most.
    """

    date: float
    least: float
    most: float

    @property
    def offset(self) -> float | None:
        """Seconds that our clock is ahead at least, or behind; None where it may be right."""
        return None if self.least <= 0 <= self.most else self.least if self.least > 0 else self.most


def proof_in(headers: Iterable[tuple[str, str]], sent: Moment, received: Moment) -> Proof | None:
    """What the headers of an answer prove that came over https, or from loopback.

    Args:
        headers: Names and values.
        sent: When the request was sent.
        received: When the answer was there.

    Returns:
        The proof, or None where there is none.
    """
    pairs = [(name.lower(), value.strip()) for name, value in headers]
    dates = [value for name, value in pairs if name == "date"]
    if len(dates) != 1 or any(name == "age" and value != "0" for name, value in pairs):
        return None
    date = read_date(dates[0])
    # Compared with how it should look: the parser of e-mail dates makes something of nearly everything.
    if date is None or not _EARLIEST <= date < _LATEST or formatdate(date, usegmt=True) != dates[0]:
        return None
    # The monotonic clock stands still while a machine sleeps, and the wall clock is set: the longer time is safe.
    took = max(received.monotonic - sent.monotonic, received.wall - sent.wall)
    ahead = received.wall - date
    return Proof(date, ahead - took - _RESOLUTION, ahead + _RESOLUTION)


class ServiceClock:
    """The time of one service, for one client of it.

    Args:
        service: Its host, for the log.
        clock: Ours.
    """

    def __init__(self, service: str, clock: WallClock = time) -> None:
        self.clock = clock
        self.offset: float | None = None
        """Seconds that our clock is ahead; None while nothing has proved it wrong."""
        self._least = 0.0
        self._service = service

    def learn(self, proof: Proof | None) -> None:
        """Take note of an answer."""
        if proof is None:
            return
        if proof.offset is None:
            self.offset, self._least = None, 0.0
        else:
            self.offset = min(max(self.offset or 0.0, proof.least), proof.most)
            self._least = proof.least
        tell(self._service, self.offset)

    def time(self) -> float:
        """Unix seconds there, as far as is known."""
        return self.clock.time() - (self.offset or 0.0)

    def life(self, expires_on: float) -> float | None:
        """Seconds until a time of the service, at least; None where our clock says that as well as the service's."""
        return None if self.offset is None else self.here(expires_on) - self.clock.time()

    def here(self, moment: float) -> float:
        """When a time of the service is, by our clock, at the earliest."""
        return moment + self._least

    @staticmethod
    def refuses(proof: Proof | None, signed: float) -> bool:
        """Whether a refusal may be due to the time of a signature: it was more than a minute from the service's."""
        return proof is not None and abs(proof.date - signed) > TOLERANCE
