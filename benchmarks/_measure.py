"""Paired measurements: all subjects of a comparison take turns in one run, and a ratio is taken within each turn.

A machine that grows slower half-way through then slows both sides of every ratio. The garbage collector stands still
while the clock runs, as `timeit` has it: which side it would strike is chance.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from statistics import quantiles
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

BACKENDS = ("asyncio", "trio")


class RealTime:
    """The real time, meant: in virtual time a credential refuses the module `time`, as forgotten by a test."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


REAL_TIME = RealTime()

P = ParamSpec("P")
T = TypeVar("T")


class Spread(NamedTuple):
    """A median with the quartiles on either side."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(*quantiles(values, n=4, method="inclusive")) if len(values) > 1 else cls(*values, *values, *values)

    def scaled(self, factor: float) -> Spread:
        """The same in another unit."""
        return Spread(*(value * factor for value in self))

    def __format__(self, spec: str) -> str:
        if self.low == self.high:
            return format(self.median, spec)
        return f"{self.median:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


class Turns:
    """The seconds that each of several subjects took, turn by turn."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)

    def take(self, names: Iterable[str], count: int) -> Iterator[str]:
        """The names, `count` times over after one turn that does not count, in an order that turns round each time."""
        order = list(names)
        for turn in range(count + 1):
            yield from order if turn % 2 else reversed(order)
            if turn == 0:
                self._seconds.clear()

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Time a block as the subject's part of this turn."""
        gc.collect()
        gc.disable()
        began = perf_counter()
        try:
            yield
        finally:
            self._seconds[name].append(perf_counter() - began)
            gc.enable()

    def add(self, name: str, seconds: float) -> None:
        """Count what was timed elsewhere."""
        self._seconds[name].append(seconds)

    def seconds(self, name: str) -> Spread:
        return Spread.of(self._seconds[name])

    def longest(self, name: str) -> float:
        return max(self._seconds[name])

    def ratio(self, name: str, floor: str) -> Spread:
        """How often the subject's time holds the floor's, turn by turn."""
        pairs = zip(self._seconds[name], self._seconds[floor], strict=True)
        return Spread.of([ours / theirs for ours, theirs in pairs])


def isolated(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns in a new process, where nothing is loaded, allocated or running but its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def at_the_same_time(function: Callable[..., T], arguments: Sequence[tuple[object, ...]]) -> list[T]:
    """What the function returns for each tuple of arguments, in as many new processes, all at once."""
    with ProcessPoolExecutor(len(arguments), get_context("spawn")) as pool:
        return list(pool.map(function, *zip(*arguments, strict=True)))


def finishes(function: Callable[[], object], deadline: float) -> bool:
    """Whether the function returns within so many seconds, in a process that is killed if it does not."""
    process = get_context("spawn").Process(target=function)
    process.start()
    process.join(deadline)
    finished = process.exitcode == 0
    process.kill()
    process.join()
    return finished
