"""Many callers that want a token at the same moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anyio import Event, create_task_group

from anyio_acs_credential import AccessToken

if TYPE_CHECKING:
    from ._others import Ask

CALLERS = 10_000


class Crowd:
    """Callers that all arrive before the source answers the first of them.

    Args:
        fails: Whether the source then fails.
    """

    def __init__(self, fails: bool) -> None:
        self.calls = 0
        self.answers: set[object] = set()
        self._fails = fails
        self._arrived = 0
        self._complete = Event()

    async def source(self) -> AccessToken:
        self.calls += 1
        await self._complete.wait()
        if self._fails:
            raise ConnectionError("the source is down")
        return AccessToken("fresh", int(time.time()) + 3600)

    async def come(self, ask: Ask) -> None:
        """Let them all ask, and wait until each has its answer."""
        async with create_task_group() as group:
            for _ in range(CALLERS):
                group.start_soon(self._call, ask)

    async def _call(self, ask: Ask) -> None:
        self._arrived += 1
        if self._arrived == CALLERS:
            self._complete.set()
        try:
            self.answers.add(id(await ask()))
        except Exception as error:  # noqa: BLE001 - each library has an error of its own
            self.answers.add((type(error), _frames(error)))

    async def come_to_event(self) -> None:
        """The floor: the same callers, woken by one event."""
        event = Event()

        async def release() -> None:
            await self._complete.wait()
            event.set()

        async with create_task_group() as group:
            group.start_soon(release)
            await self.come(event.wait)


def _frames(error: BaseException) -> int:
    frames, traceback = 0, error.__traceback__
    while traceback is not None:
        frames, traceback = frames + 1, traceback.tb_next
    return frames
