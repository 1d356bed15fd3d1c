"""A fleet of real processes on one SQLite file, half of them on trio: one fetch for all, whoever is killed."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import kill_campaign
import pytest
from fleets import Fleet, Worker, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals are another matter elsewhere"),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]
BACKENDS = ("asyncio", "trio", "asyncio", "trio")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


async def all_told(workers: list[Worker], how: str) -> list[dict[str, Any]]:
    for worker in workers:
        await worker.ask(how)
    return [await worker.told() for worker in workers]


@pytest.mark.promise("R65", "R69")
async def test_four_processes_make_one_fetch_a_life(directory: Path) -> None:
    """However they come upon each other: at their start, and each time that all want another token at once."""
    async with service() as served, AsyncExitStack() as stack:
        fleet = Fleet(directory, served.url)
        workers = [await stack.enter_async_context(fleet.worker(backend)) for backend in BACKENDS]
        for life in range(1, 6):
            told = await all_told(workers, "get" if life == 1 else "refresh")
            assert len({each["token"] for each in told}) == 1
            assert len(served.issued) == life
        assert sum(each["shared"] for each in told) == 3 * 5
        assert served.overlaps == []
        assert fleet.clear_text() == []


class HeldFirst:
    """Holds the question of the process that asks first, until the gate is opened."""

    def __init__(self) -> None:
        self.pid = 0
        self.arrived, self.gate = anyio.Event(), anyio.Event()

    async def hold(self, pid: int) -> None:
        if not self.pid:
            self.pid = pid
            self.arrived.set()
            await self.gate.wait()


@pytest.mark.promise("R65")
async def test_a_holder_that_is_killed_is_replaced(directory: Path) -> None:
    """It is killed while the service has its question."""
    first = HeldFirst()
    async with service() as served, AsyncExitStack() as stack:
        served.before = first.hold
        fleet = Fleet(directory, served.url)
        workers = [await stack.enter_async_context(fleet.worker(backend)) for backend in BACKENDS]
        for worker in workers:
            await worker.ask("get")
        with anyio.fail_after(60):
            await first.arrived.wait()
        os.kill(first.pid, signal.SIGKILL)
        others = [worker for worker in workers if worker.process.pid != first.pid]
        assert len(others) == 3
        told = [await worker.told() for worker in others]
        assert len({each["token"] for each in told}) == 1
        assert len(served.issued) == 1
        first.gate.set()


@pytest.mark.promise("R66")
async def test_a_holder_that_is_stopped_keeps_what_it_gets(directory: Path) -> None:
    """It goes on after another has taken its place: nobody else sees its token, and it has one."""
    first = HeldFirst()
    async with service() as served, AsyncExitStack() as stack:
        served.before = first.hold
        fleet = Fleet(directory, served.url, lease=1)
        workers = [await stack.enter_async_context(fleet.worker(backend)) for backend in BACKENDS[:2]]
        for worker in workers:
            await worker.ask("get")
        with anyio.fail_after(60):
            await first.arrived.wait()
        (stopped,) = [worker for worker in workers if worker.process.pid == first.pid]
        others = [worker for worker in workers if worker is not stopped]
        os.kill(first.pid, signal.SIGSTOP)
        told = [await worker.told() for worker in others]
        first.gate.set()
        os.kill(first.pid, signal.SIGCONT)
        late = await stopped.told()
        assert len({each["token"] for each in told}) == 1
        assert late["token"] != told[0]["token"]
        async with fleet.worker("trio") as another:
            await another.ask("get")
            assert (await another.told())["token"] == told[0]["token"]
        assert len(served.issued) == 2


@pytest.mark.promise("R65", "R66", "R69")
@pytest.mark.parametrize("seed", [1, 2])
async def test_whoever_is_killed_or_stopped(seed: int) -> None:
    """One run of the campaign of each kind; `nox -s kills` makes many."""
    report = await kill_campaign.run(seed)
    assert report["errors"] == []
    assert report["fetches"] > 0
