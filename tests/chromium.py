"""A real Chromium without a window, driven through the pipe of its DevTools protocol."""

from __future__ import annotations

import json
import os
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

__all__ = ("Chromium", "needs_chromium", "open_chromium")

_COMMAND = (
    "chromium",
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # it does not start as root with one; the pages are ours
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",  # the emulator has an authority of its own
)
_ON_ITS_PIPES = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'  # it reads commands at 3 and answers at 4
_TIMEOUT = 20.0

needs_chromium = pytest.mark.skipif(
    shutil.which(_COMMAND[0]) is None, reason="there is no chromium here; Debian's package of that name is one"
)


class Chromium:
    """A browser, and the tab in it that is looked at. One task uses it at a time."""

    def __init__(self, process: Process) -> None:
        assert process.stdin
        assert process.stdout
        self._commands = process.stdin
        self._messages = BufferedByteReceiveStream(process.stdout)
        self._events: deque[str] = deque()
        self._count = 0
        self._session: dict[str, str] = {}

    async def new_tab(self) -> None:
        """Look at a new, empty tab."""
        self._session = {}
        target = await self.call("Target.createTarget", url="about:blank")
        session = await self.call("Target.attachToTarget", flatten=True, **target)
        self._session = {"sessionId": session["sessionId"]}
        await self.call("Page.enable")

    async def visit(self, uri: str) -> None:
        await self.call("Page.navigate", url=uri)

    async def wait_for(self, heading: str) -> str:
        """Wait until a page with this heading has loaded; gives all its text."""
        while await self.run("document.readyState == 'complete' && document.querySelector('h1')?.innerText") != heading:
            while await self._next_event() != "Page.loadEventFired":
                pass
        return str(await self.run("document.body.innerText"))

    async def click(self, button: str) -> None:
        """Press the button that says this."""
        await self.run(f"[...document.querySelectorAll('button')].find(it => it.innerText == {button!r}).click()")

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; None from one page to the next."""
        done = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return done.get("result", {}).get("value")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command; gives its result, which is empty when it has failed."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": params, **self._session}
        await self._commands.send(json.dumps(command).encode() + b"\0")
        while (message := await self._receive()).get("id") != self._count:
            self._events.append(message["method"])
        result: dict[str, Any] = message.get("result", {})
        return result

    async def _next_event(self) -> str:
        return self._events.popleft() if self._events else str((await self._receive())["method"])

    async def _receive(self) -> dict[str, Any]:
        with anyio.fail_after(_TIMEOUT):
            message: dict[str, Any] = json.loads(await self._messages.receive_until(b"\0", 2**20))
        return message


@asynccontextmanager
async def open_chromium() -> AsyncGenerator[Chromium]:
    """A browser with an empty profile, both gone when the block ends."""
    with TemporaryDirectory(prefix="chromium-") as folder:
        command = ("sh", "-c", _ON_ITS_PIPES, "sh", *_COMMAND, f"--user-data-dir={folder}/profile")
        env = {**os.environ, "TMPDIR": folder}
        process = await anyio.open_process(command, stderr=DEVNULL, env=env)
        try:
            yield Chromium(process)
        finally:
            # It ends when its pipes are closed. Killed, it would leave children that still write to the folder.
            with anyio.move_on_after(_TIMEOUT, shield=True):
                await process.aclose()
