"""A fleet of real processes on one SQLite file, half of them on trio: one fetch for all, whoever is killed."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import kill_campaign
import pytest
from fleets import Question, Worker, fleet, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals are another matter elsewhere"),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]
BACKENDS = ("asyncio", "trio", "asyncio", "trio")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "tokens.db"


async def all_told(workers: list[Worker], how: str) -> list[dict[str, Any]]:
    for worker in workers:
        await worker.ask(how)
    return [await worker.told() for worker in workers]


@pytest.mark.promise("R65", "R69")
async def test_four_processes_make_one_fetch_a_life(path: Path) -> None:
    """However they come upon each other: at their start, and each time that all want another token at once."""
    async with service() as served, fleet(served.url) as processes, AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(processes.worker(backend, path)) for backend in BACKENDS]
        for life in range(1, 6):
            told = await all_told(workers, "get" if life == 1 else "refresh")
            assert len({each["token"] for each in told}) == 1
            assert len(served.issued) == life
        assert sum(each["shared"] for each in told) == 3 * 5
        assert served.overlaps == []
        assert not any(served.is_shown_in(file.read_bytes()) for file in path.parent.iterdir())


class HeldFirst:
    """Holds the question of the process that asks first, until the gate is opened."""

    def __init__(self) -> None:
        self.pid = 0
        self.arrived, self.gate = anyio.Event(), anyio.Event()

    async def hold(self, question: Question) -> None:
        if not self.pid:
            self.pid = question.pid
            self.arrived.set()
            await self.gate.wait()


@pytest.mark.promise("R65")
async def test_a_holder_that_is_killed_is_replaced(path: Path) -> None:
    """It is killed while the service has its question."""
    first = HeldFirst()
    async with service() as served, fleet(served.url) as processes, AsyncExitStack() as stack:
        served.before = first.hold
        workers = [await stack.enter_async_context(processes.worker(backend, path)) for backend in BACKENDS]
        for worker in workers:
            await worker.ask("get")
        with anyio.fail_after(60):
            await first.arrived.wait()
        os.kill(first.pid, signal.SIGKILL)
        others = [worker for worker in workers if worker.pid != first.pid]
        assert len(others) == 3
        told = [await worker.told() for worker in others]
        assert len({each["token"] for each in told}) == 1
        assert len(served.issued) == 1
        first.gate.set()


@pytest.mark.promise("R66")
async def test_a_holder_that_is_stopped_keeps_what_it_gets(path: Path) -> None:
    """It goes on after another has taken its place: nobody else sees its token, and it has one."""
    first = HeldFirst()
    async with service() as served, fleet(served.url, lease=1) as processes, AsyncExitStack() as stack:
        served.before = first.hold
        workers = [await stack.enter_async_context(processes.worker(backend, path)) for backend in BACKENDS[:2]]
        for worker in workers:
            await worker.ask("get")
        with anyio.fail_after(60):
            await first.arrived.wait()
        (stopped,) = [worker for worker in workers if worker.pid == first.pid]
        others = [worker for worker in workers if worker is not stopped]
        os.kill(first.pid, signal.SIGSTOP)
        told = [await worker.told() for worker in others]
        first.gate.set()
        os.kill(first.pid, signal.SIGCONT)
        late = await stopped.told()
        assert len({each["token"] for each in told}) == 1
        assert late["token"] != told[0]["token"]
        async with processes.worker("trio", path) as another:
            await another.ask("get")
            assert (await another.told())["token"] == told[0]["token"]
        assert len(served.issued) == 2


@pytest.mark.promise("R65", "R66", "R68", "R69", "R77")
@pytest.mark.parametrize("seed", [1, 2], ids=["redis", "sqlite"])
async def test_whatever_happens_to_processes_and_their_store(seed: int) -> None:
    """A short run of the campaign on each store; `nox -s kills` makes many."""
    report = await kill_campaign.run(seed, hurries=True)
    assert report["errors"] == []
    assert report["fetches"] > 0
    assert min(report["counts"].values()) > 0
