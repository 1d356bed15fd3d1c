"""Fleets of real processes that are killed and stopped at any moment: `kill_campaign.py [RUNS [SEED]]`.

In each run, four processes ask for tokens that live some seconds, and one is killed, or stopped for a while, again and
again, half of the times the one that asks the service. What must hold: a process that asks always has a token; where
none is stopped, the service is never asked by two living processes at once; and no token can be read in the store's
files. With an even seed, none is stopped.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from fleets import Fleet, Service, Worker, service

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 12.0
BACKENDS = ("asyncio", "trio", "asyncio", "trio")
LIFE, LEASE = 6.0, 3.0
PAUSE = 0.05  # seconds between two questions to a process
Report = dict[str, Any]


class Run:
    """One run.

    Args:
        seed: Makes it the same each time, but for the machine's own pace.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - the same each time
        self._only_kills = seed % 2 == 0
        self.report: Report = {"seed": seed, "kills": 0, "stops": 0, "fetches": 0, "errors": [], "overlaps": 0}
        self._dead: set[int] = set()
        self._up: set[int] = set()
        self._all_up = anyio.Event()

    async def go(self, directory: Path) -> Report:
        """Make it."""
        async with service(LIFE) as served:
            served.before = self._work
            fleet = Fleet(directory, served.url, LEASE)
            async with anyio.create_task_group() as group:
                for backend in BACKENDS:
                    group.start_soon(self._keep_one_alive, fleet, backend)
                await self._all_up.wait()
                with anyio.move_on_after(SECONDS):
                    await self._strike(served)
                group.cancel_scope.cancel()
            self._judge(served, fleet)
        return self.report

    async def _work(self, _pid: int) -> None:
        await anyio.sleep(self._chance.uniform(0, 1.5))

    async def _keep_one_alive(self, fleet: Fleet, backend: str) -> None:
        while True:
            async with AsyncExitStack() as stack:
                worker = await stack.enter_async_context(fleet.worker(backend))
                await self._ask(worker)

    async def _ask(self, worker: Worker) -> None:
        while True:
            try:
                await worker.ask("get")
                told = await worker.told()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead):
                if worker.process.pid not in self._dead:
                    self.report["errors"].append("a process ended by itself")
                return
            if "error" in told:
                self.report["errors"].append(told["error"])
            self._up.add(worker.process.pid)
            if len(self._up) == len(BACKENDS):
                self._all_up.set()
            await anyio.sleep(PAUSE)

    async def _strike(self, served: Service) -> None:
        while True:
            await anyio.sleep(self._chance.uniform(0.5, 2))
            alive = sorted(self._up - self._dead)
            asking = [pid for pid in alive if pid in served.asking]
            if not alive:
                continue
            pid = self._chance.choice(asking if asking and self._chance.random() < 0.5 else alive)
            if self._only_kills or self._chance.random() < 0.5:
                self.report["kills"] += 1
                self._dead.add(pid)
                os.kill(pid, signal.SIGKILL)
            else:
                self.report["stops"] += 1
                os.kill(pid, signal.SIGSTOP)
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(self._chance.uniform(0.1, 1.5 * LEASE))
                with suppress(ProcessLookupError):  # the run ended meanwhile
                    os.kill(pid, signal.SIGCONT)

    def _judge(self, served: Service, fleet: Fleet) -> None:
        self.report["fetches"] = len(served.issued)
        self.report["overlaps"] = sum(not set(pair) & self._dead for pair in served.overlaps)
        if self._only_kills and self.report["overlaps"]:
            self.report["errors"].append("two living processes asked at once")
        if not served.issued:
            self.report["errors"].append("nobody asked")
        self.report["errors"] += [f"{name} has a token in clear" for name in fleet.clear_text()]


async def run(seed: int) -> Report:
    """One run, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return await Run(seed).go(Path(directory))


async def main(runs: int, seed: int, tell: Callable[[str], object] = print) -> int:
    """All of them, one after the other; how many went wrong."""
    wrong = 0
    for each in range(seed, seed + runs):
        report = await run(each)
        tell(json.dumps(report))
        wrong += bool(report["errors"])
    return wrong


if __name__ == "__main__":
    count, first = (*map(int, sys.argv[1:]), *(10, 1)[len(sys.argv) - 1 :])
    sys.exit(anyio.run(main, count, first) > 0)
