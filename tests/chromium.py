"""A real Chromium without a window, driven through the pipe of its DevTools protocol."""

from __future__ import annotations

import json
import shutil
from collections import deque
from contextlib import asynccontextmanager
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import Process

__all__ = ("Tab", "needs_chromium", "open_chromium")

_COMMAND = (
    "chromium",
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # root has none, and neither has a container; the pages are ours
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",  # the emulator has an authority of its own
)
_PIPES = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'  # it reads commands at 3, and answers at 4
_TIMEOUT = 30.0

needs_chromium = pytest.mark.skipif(
    shutil.which(_COMMAND[0]) is None, reason='there is no "chromium" to open the pages in: Debian\'s package has it'
)


class Tab:
    """A tab of a browser. One task uses it at a time."""

    def __init__(self, process: Process) -> None:
        assert process.stdin
        assert process.stdout
        self._commands = process.stdin
        self._messages = BufferedByteReceiveStream(process.stdout)
        self._events: deque[str] = deque()
        self._count = 0
        self._session: dict[str, str] = {}

    async def attach(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        session = await self.call("Target.attachToTarget", flatten=True, **target)
        self._session = {"sessionId": session["sessionId"]}
        await self.call("Page.enable")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command; gives its result, which is empty where it failed."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": params, **self._session}
        await self._commands.send(json.dumps(command).encode() + b"\0")
        while (message := await self._receive()).get("id") != self._count:
            self._events.append(message["method"])
        result: dict[str, Any] = message.get("result", {})
        return result

    async def run(self, script: str) -> Any:
        """The value of an expression in the page, None between two pages."""
        done = await self.call("Runtime.evaluate", expression=script, returnByValue=True, userGesture=True)
        return done.get("result", {}).get("value")

    async def wait_for(self, heading: str) -> str:
        """Wait until a page with this heading has loaded; gives its text."""
        while await self.run("document.readyState == 'complete' && document.querySelector('h1')?.innerText") != heading:
            await self._wait_for_load()
        return str(await self.run("document.body.innerText"))

    async def click(self, button: str) -> None:
        """Press the button that says this."""
        await self.run(f"[...document.querySelectorAll('button')].find(it => it.innerText == {button!r}).click()")

    async def _wait_for_load(self) -> None:
        while (self._events.popleft() if self._events else (await self._receive()).get("method")) != "Page.loadEventFired":
            pass

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._messages.receive_until(b"\0", 2**20))
        return message


@asynccontextmanager
async def open_chromium() -> AsyncGenerator[Tab]:
    """A browser with an empty profile and one tab, which are gone when the block ends."""
    with anyio.fail_after(_TIMEOUT), TemporaryDirectory(prefix="chromium-") as profile:
        command = ("sh", "-c", _PIPES, "sh", *_COMMAND, f"--user-data-dir={profile}")
        async with await anyio.open_process(command, stderr=DEVNULL) as process:
            tab = Tab(process)
            await tab.attach()
            yield tab
            await tab.call("Browser.close")
            await process.wait()
