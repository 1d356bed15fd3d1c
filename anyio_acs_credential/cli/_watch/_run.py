"""How a credential is watched until somebody ends it: on a terminal, or as lines.

The lines are ASCII only, so that any encoding can carry them.
"""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING

from anyio import sleep_forever

from .._running import run
from .._times import clock_time
from .._view import drawing, find_terminal, lines, live
from ._log import Log

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ._log import Entry
    from ._users import EntraUser, ResourceUser


def show(user: ResourceUser | EntraUser, backend: str, *, as_json: bool) -> int:
    """Show what a user's credential does, as it happens.

    Args:
        user: The user.
        backend: "asyncio" or "trio".
        as_json: Whether to show it as JSON lines.

    Returns:
        The exit status.
    """
    log = Log(user.endpoint)
    with _output(log, as_json) as draw:
        return run(partial(drawing, draw, partial(_watch, user, log)), backend)


async def _watch(user: ResourceUser | EntraUser, log: Log) -> None:
    async with user.ready(log) as make_credential:
        log.credential = make_credential(observer=log.observe)
        async with log.credential:
            await sleep_forever()


def _output(log: Log, as_json: bool) -> AbstractContextManager[Callable[[], None]]:
    from ._live import LEAST_HEIGHT, LEAST_WIDTH, picture

    if as_json:
        return lines(log.entries, entry_as_json)
    console = find_terminal(LEAST_WIDTH, LEAST_HEIGHT)
    if console is None:
        return lines(log.entries, entry_as_line)
    return live(console, lambda width, height: picture(log, time.time(), width, height))


def entry_as_line(entry: Entry) -> str:
    """The line of an event: the time, and what happened."""
    return f"{clock_time(entry.at)}  {entry.text}".encode("ascii", "backslashreplace").decode()


def entry_as_json(entry: Entry) -> str:
    """An event as a JSON object."""
    return json.dumps({"event": entry.kind, "at": round(entry.at, 3), "text": entry.text, **entry.details})
