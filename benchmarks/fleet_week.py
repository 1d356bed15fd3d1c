"""A week of a fleet in virtual time, with kills, processes that are cut off, and a store that fails over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._fleet_world import Tally, simulate, used
from ._measure import BACKENDS, at_the_same_time
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISES = ("R65", "R68")

HOUR, DAY = 3600, 86_400
FLEETS = ((10_000, DAY), (500, HOUR))  # so many processes, with tokens that live so long
OPERATIONS = 4.0


def measure(quick: bool) -> Iterator[Row]:
    """Both fleets, on both backends at the same time."""
    seconds = (2 if quick else 7) * DAY
    for processes, life in [(100, HOUR)] if quick else FLEETS:
        tallies = at_the_same_time(simulate, [(processes, seconds, life, backend) for backend in BACKENDS])
        for backend, tally in zip(BACKENDS, tallies, strict=True):
            fleet = f"{processes:,} simulated processes, tokens of {life // HOUR} h, {backend}"
            yield from _rows(tally, processes, used(life), f"{seconds // DAY} days", fleet)


def _rows(tally: Tally, processes: int, life: float, time: str, fleet: str) -> Iterator[Row]:
    more = tally.killed_holders + tally.cut_holders + tally.failovers
    yield Row(
        figure=f"requests a token life in {time} of virtual time, with kills, partitions and a store that fails over "
        f"to a replica that lags: {fleet}",
        target="≤ 1 + kills, which are 1 for each holder that is killed or cut off and for each failover; and 1 for "
        "each process that finds no store",
        measured=f"{tally.shared / tally.lives:.2f}, where {1 + more / tally.lives:.2f} are allowed: {tally.shared} "
        f"under a lease in {tally.lives} lives of {life / HOUR:.1f} h, with {tally.kills:,} kills, of which "
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
        figure=f"questions for a token that got none, each half hour and as a process starts: {fleet}",
        target="0, and no token ends while it is held",
        measured=f"{tally.without} of {tally.asked:,}; tokens that ended: {tally.expired}; a process that was started "
        f"had one after {tally.slowest_start:.1f} s at worst",
        reached=not tally.without and not tally.expired and tally.asked > 0,
        floor="0",
    )
