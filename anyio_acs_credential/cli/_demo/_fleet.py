"""Several processes that share one token through a store: each token is fetched once, whichever process is killed.

It knows nothing of terminals: it writes what happens into a `Story`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from anyio import Event, create_task_group, current_time, sleep

from ...fleet import SQLiteTokenStore, new_encryption_key, shared_token_cache
from ._calling import PAUSE
from ._crew_report import CrewReport
from ._processes import WorkerProcess
from ._scenario import Scenario, emulated
from ._story import WORKERS
from ._users import PERSON, Stage, signed_in
from ._worker import Assignment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ...emulator import Emulator
    from ._crew import Crew, Worker
    from ._story import Story

_GRACE = 0.2  # seconds in which a Ctrl-C, which a terminal sends to every process, may end the whole demonstration
_LAST_WAIT = 5.0  # seconds that the workers have to finish


async def run_fleet(story: Story, crew: Crew, path: str, backend: str) -> None:
    """Play the scenario, for about `story.seconds` seconds; its requests are those of the crew's processes.

    Cancelling it kills the processes at once.

    Args:
        story: The story to write.
        crew: The workers.
        path: The path of the file that they share, in a folder that exists.
        backend: The event loop of each process: "asyncio" or "trio".
    """
    async with emulated(story) as (emulator, http, identities):
        fleet = _Fleet(story, crew, emulator)
        async with fleet.at_work():
            fleet.begin()
            stage = Stage(story, fleet.report, emulator, http, identities)
            fleet.assign(await _assignment(stage, crew, path, backend))
            await fleet.play_with_a_death()
    story.over = True


async def _assignment(stage: Stage, crew: Crew, path: str, backend: str) -> Assignment:
    """The assignment of each worker. Where the user is a person, that one signs in first, once for all workers."""
    emulator, key = stage.emulator, new_encryption_key()
    given = partial(
        Assignment,
        backend=backend,
        connection_string=emulator.connection_string,
        endpoint=emulator.endpoint,
        ca_file=emulator.ca_file,
        store=path,
        encryption_key=key,
        lifetime=stage.story.lifetime,
        pause=PAUSE * len(crew.workers) / WORKERS,  # together no more requests than the service's log holds
    )
    if not stage.story.entra:
        return given(user=(await stage.identities.create_user()).raw_id)
    async with (
        SQLiteTokenStore(path, encryption_keys=[key]) as store,
        signed_in(stage, shared_token_cache(store, key=PERSON)),
    ):
        return given(user=PERSON, client_id=emulator.client_id, authority=emulator.authority)


class _Fleet(Scenario):
    def __init__(self, story: Story, crew: Crew, emulator: Emulator) -> None:
        super().__init__(story, emulator)
        self._crew = crew
        self._told = CrewReport(story, crew, self.report)
        self._processes: dict[int, WorkerProcess] = {}
        self._faults: dict[int, str] = {}
        self._ready: set[int] = set()
        self._assignment: Assignment
        self._is_assigned, self._may_return, self._news = Event(), Event(), Event()

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """Start the workers. They work while the block runs, and finish at its end."""
        async with create_task_group() as group:
            group.start_soon(self._watch)
            for worker in self._crew.workers:
                group.start_soon(self._keep, worker)
            await self._until_true(lambda: len(self._ready) == len(self._crew.workers))
            yield
            self._working = False
            group.cancel_scope.deadline = current_time() + _LAST_WAIT
            for process in self._processes.values():
                await process.end()
        self.report.catch_up()

    def assign(self, assignment: Assignment) -> None:
        """Let the workers begin to send requests."""
        self._assignment = assignment
        self._is_assigned.set()

    async def _assigned(self) -> Assignment:
        await self._is_assigned.wait()
        return self._assignment

    async def _keep(self, worker: Worker) -> None:
        """Run a worker's process, and after its killing the one that takes its place."""
        await self._run(worker)
        if worker.is_down:
            await self._may_return.wait()
            self._told.start_again(worker)
            await self._run(worker)

    async def _run(self, worker: Worker) -> None:
        process = self._processes[worker.number] = WorkerProcess(self._assigned, partial(self._hear, worker))
        status = await process.run()
        if self._working and not worker.is_down:
            await sleep(_GRACE)
            reason = self._faults.get(worker.number, f"exit status {status}")
            raise click.ClickException(
                f"{worker.name} could not go on ({reason}): run it again, with fewer workers where memory is short"
            )

    def _hear(self, worker: Worker, message: dict[str, Any]) -> None:
        match message:
            case {"told": "ready"}:
                self._ready.add(worker.number)
            case {"told": "fault", "error": error}:
                self._faults[worker.number] = error
        self._told.hear(worker, message)
        news, self._news = self._news, Event()
        news.set()

    async def play_with_a_death(self) -> None:
        """Kill the worker that fetched the second token, let the others renew it, start that worker anew, and wait."""
        story, crew = self._story, self._crew
        await self._until_all_hold(1)
        await self._until_all_hold(len(story.tokens) + 1)
        await sleep(0.15 * story.lifetime)  # by then it holds no lease, and the next renewal is not due yet
        victim = crew.last_fetcher
        self._told.kill(victim)
        self._processes[victim.number].kill()
        await self._until_all_hold(len(story.tokens) + 1)
        await sleep(0.05 * story.lifetime)
        self._may_return.set()
        await self._until_true(lambda: victim.token is not None)
        await self._until(story.seconds)

    async def _until_all_hold(self, token_number: int) -> None:
        await self._until_true(lambda: self._crew.all_hold(token_number))

    async def _until_true(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await self._news.wait()
