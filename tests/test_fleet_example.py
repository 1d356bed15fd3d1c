"""The example of several workers: served by two processes, which fetch one token."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from test_example_threads import started
from test_examples import issued

from anyio_acs_credential.fleet import new_encryption_key

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.mark.promise("R65")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_several_workers(directory: Path) -> None:
    """Each has it, and one of them has fetched it."""
    store: dict[str, Any] = {
        "FLEET_STORE": str(directory / "tokens.db"),
        "FLEET_KEY": new_encryption_key(),
        "WEB_CONCURRENCY": "2",
    }
    answers: dict[int, tuple[int, int]] = {}
    async with started("several_workers.py", **store) as program:

        async def ask() -> None:
            with suppress(httpx.ConnectError):  # where none of them listens yet
                async with httpx.AsyncClient(timeout=60) as client:
                    answer = (await client.get(f"http://{program.address}/")).raise_for_status().json()
                    answers[answer["worker"]] = (answer["expires_on"], answer["shared"])

        with anyio.fail_after(50):
            while len(answers) < 2:
                async with anyio.create_task_group() as group:
                    for _ in range(20):
                        group.start_soon(ask)
                await anyio.sleep(0.05)  # for one that does not listen yet
        assert issued(program.emulator) == 1
    assert len({expires_on for expires_on, _ in answers.values()}) == 1
    assert sorted(shared for _, shared in answers.values()) == [0, 1]
