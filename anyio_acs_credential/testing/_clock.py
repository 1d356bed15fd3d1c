"""A clock for a credential that moves with the event loop's time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import current_token

from ._virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from anyio.lowlevel import EventLoopToken


class VirtualClock:
    """A clock for a credential, whose two times move with the event loop's time and with nothing else.

    In virtual time, `await anyio.sleep(3600)` brings a credential that has this clock an hour nearer to its token's
    expiry. `jump` moves the wall clock alone.

    The clock may be made in an event loop or before one, and goes on through several runs. Outside a loop, and in a
    worker thread, it gives the time that was read last. A run that began after the clock was made counts from the run's
    beginning.

    In a loop whose time is real, making or reading the clock raises `RuntimeError`, since a test would really sleep
    there.

    Args:
        start: Unix time when it is made, in seconds; 2026-01-01T00:00:00Z by default.
    """

    def __init__(self, start: float = 1_767_225_600.0) -> None:
        self._wall = float(start)
        self._elapsed = 0.0
        # A loop's time differs from the elapsed time by its shift; each loop that was seen has its own.
        self._shifts: WeakKeyDictionary[object, float] = WeakKeyDictionary()
        self._shift = 0.0
        self._token: EventLoopToken | None = None
        if (token := _running()) is not None:
            self._shifts[_virtual(token)] = -anyio.current_time()

    def time(self) -> float:
        """Unix time in seconds: the start, what has elapsed since, and all jumps."""
        return self._wall + self._elapse()

    def monotonic(self) -> float:
        """Seconds since some moment: 1000 when the clock is made, and moved by no jump."""
        return 1000.0 + self._elapse()

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as a suspended computer or an NTP step does.

        Args:
            seconds: Seconds that it goes ahead; back, if negative.
        """
        self._wall += seconds

    def _elapse(self) -> float:
        if (token := _running()) is None:
            return self._elapsed
        if token != self._token:
            self._token, self._shift = token, self._shifts.setdefault(_virtual(token), self._elapsed)
        self._elapsed = max(self._elapsed, anyio.current_time() + self._shift)
        return self._elapsed


def _running() -> EventLoopToken | None:
    """The event loop that runs in this thread, or None."""
    try:
        return current_token()
    except RuntimeError:
        return None


def _virtual(token: EventLoopToken) -> object:
    """What keeps the time of the running event loop, which began at zero; an error where that time is real."""
    timeline = _timeline(token)
    if _is_virtual(timeline):
        return timeline
    raise RuntimeError(
        "a VirtualClock is in an event loop whose time is real, where a test would really sleep: "
        'run it with anyio.run(main, **virtual_time("asyncio")), or as a test of anyio\'s pytest plugin with an '
        "anyio_backend fixture from virtual_time_backends(); pytest-asyncio takes such tests too in its auto mode, "
        "so leave it in its strict mode there"
    )


def _timeline(token: EventLoopToken) -> object:
    """What keeps the time of the running event loop: on asyncio the loop itself, on trio its clock."""
    if isinstance(token.native_token, asyncio.AbstractEventLoop):
        return token.native_token
    from trio.lowlevel import current_clock

    return current_clock()


def _is_virtual(timeline: object) -> bool:
    """Whether its time is virtual."""
    if isinstance(timeline, asyncio.AbstractEventLoop):
        return isinstance(timeline, VirtualTimeLoop)
    from trio.testing import MockClock

    return isinstance(timeline, MockClock)
