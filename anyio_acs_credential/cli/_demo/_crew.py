"""The workers of a demonstration with several processes: which token each one holds, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._facts import HeldToken

FEWEST, MOST = 2, 8


@dataclass
class Worker:
    """A worker's process; after that was killed, the process that takes its place.

    Attributes:
        number: The worker's number, counted from 1.
        token: The token that it holds; None while it starts.
        token_number: Which of the fleet's tokens that is, counted from 1; 0 while it starts.
        is_shared: Whether it took that token from the store, where another worker had put it.
        is_down: Whether its process was killed, and no other has taken its place yet.
        held: How many tokens this process has held.
    """

    number: int
    token: HeldToken | None = None
    token_number: int = 0
    is_shared: bool = False
    is_down: bool = False
    held: int = 0

    @property
    def name(self) -> str:
        """The worker's name in the story."""
        return f"worker {self.number}"


@dataclass
class Death:
    """The killing of a worker. Times are seconds since the run began.

    Attributes:
        worker: The worker.
        began: When it was killed.
        ended: When the process that took its place had a token; None until then.
    """

    worker: Worker
    began: float
    ended: float | None = None


@dataclass
class Crew:
    """All workers.

    Attributes:
        workers: The workers, in the order of their numbers.
        last_fetcher: The worker that fetched the newest token; before there is one, the first worker.
        fetched: How many tokens they have fetched.
        shared: How many tokens they have taken from the store instead.
        lives: The most tokens that one process has held, one after the other.
        death: The killing of a worker; None before it.
    """

    workers: list[Worker]
    last_fetcher: Worker
    fetched: int = 0
    shared: int = 0
    lives: int = 0
    death: Death | None = None
    _numbers: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int) -> Crew:
        """A crew of this many workers, none of which has started."""
        workers = [Worker(each) for each in range(1, number + 1)]
        return cls(workers, workers[0])

    def number_of(self, expires_on: int) -> int:
        """The number of the token with this expiry: 1 for the fleet's first, 2 for its second and so on."""
        return self._numbers.setdefault(expires_on, len(self._numbers) + 1)

    def hold(self, worker: Worker, token: HeldToken, token_number: int, *, shared: bool) -> None:
        """Take note that a worker has a token."""
        worker.token, worker.token_number, worker.is_shared = token, token_number, shared
        worker.held += 1
        self.lives = max(self.lives, worker.held)
        if shared:
            self.shared += 1
        else:
            self.fetched, self.last_fetcher = self.fetched + 1, worker

    def kill(self, worker: Worker, at: float) -> None:
        """Take note that a worker's process was killed, and its token with it."""
        worker.token, worker.token_number, worker.is_shared, worker.held = None, 0, False, 0
        worker.is_down, self.death = True, Death(worker, at)

    def all_hold(self, token_number: int) -> bool:
        """Whether all workers that are not down hold this token or a newer one."""
        return all(worker.token_number >= token_number for worker in self.workers if not worker.is_down)
