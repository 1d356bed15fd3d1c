"""A week of a fleet in virtual time, with kills, processes that are cut off, and a store that fails over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._fleet_world import USED, Tally, simulate
from ._measure import BACKENDS, at_the_same_time
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISES = ("R65", "R68")

DAY = 86_400
PROCESSES, FULL = 1000, 10_000
OPERATIONS = 4.0


def measure(quick: bool) -> Iterator[Row]:
    """A thousand processes on each backend, both at the same time."""
    processes, days = (100, 1) if quick else (PROCESSES, 7)
    tallies = at_the_same_time(simulate, [(processes, days * DAY, backend) for backend in BACKENDS])
    for backend, tally in zip(BACKENDS, tallies, strict=True):
        yield from _rows(tally, processes, days, backend)


def measure_full() -> Iterator[Row]:
    """Ten thousand, on asyncio, which takes an hour or so."""
    yield from _rows(simulate(FULL, 7 * DAY, "asyncio"), FULL, 7, "asyncio")


def _rows(tally: Tally, processes: int, days: int, backend: str) -> Iterator[Row]:
    fleet = f"{processes:,} simulated processes, {backend}"
    more = tally.killed_holders + tally.cut_holders + tally.failovers
    yield Row(
        figure=f"requests a life of a one-hour token in {days} days of virtual time, with kills, partitions and a "
        f"store that fails over to a replica that lags: {fleet}",
        target="≤ 1 + kills, which are 1 for each holder that is killed or cut off and for each failover; and 1 for "
        "each process that finds no store",
        measured=f"{tally.shared / tally.lives:.2f}, where {1 + more / tally.lives:.2f} are allowed: {tally.shared} "
        f"under a lease in {tally.lives} lives of {USED / 60:.0f} min, with {tally.kills:,} kills, of which "
        f"{tally.killed_holders} of the holder, holders cut off: {tally.cut_holders}, failovers: {tally.failovers}; "
        f"{tally.alone:,} by processes that found no store, and {tally.unexplained} by others; "
        f"{tally.seconds:.0f} s of real time",
        reached=tally.shared <= tally.lives + more and not tally.unexplained,
        floor=f"without a store: {processes:,}",
    )
    each = tally.operations / processes / tally.lives
    yield Row(
        figure=f"store operations a process and life in that time: {fleet}",
        target=f"≤ {OPERATIONS:g}",
        measured=f"{each:.2f}",
        reached=each <= OPERATIONS,
        floor="1: a look",
    )
    yield Row(
        figure=f"questions for a token that got none, each 10 minutes and as a process starts: {fleet}",
        target="0, and no token ends while it is held",
        measured=f"{tally.without} of {tally.asked:,}; tokens that ended: {tally.expired}; a process that was started "
        f"had one after {tally.slowest_start:.1f} s at worst",
        reached=not tally.without and not tally.expired and tally.asked > 0,
        floor="0",
    )
