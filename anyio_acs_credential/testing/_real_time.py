"""The real clock where the event loop's time is virtual: a test with it would prove nothing."""

from __future__ import annotations

import sys
import time
from asyncio import AbstractEventLoop

from anyio.lowlevel import current_token

from .._errors import CredentialUsageError, explained
from ._virtual_time import VirtualTimeLoop


def refuse_real_time(what: str, clock: object) -> None:
    """Refuse the `time` module in an event loop whose time is virtual.

    Args:
        what: What has the clock.
        clock: The clock. One of the user's own is taken as it is.

    Raises:
        CredentialUsageError: when its tokens would not end, however long the test sleeps.
    """
    if clock is time and _is_virtual():
        raise explained(
            "scripted-source",
            CredentialUsageError(
                f"{what} goes by the real clock in virtual time, where no sleep moves that: "
                f"give {what} and the credential the same clock=VirtualClock()"
            ),
        )


def _is_virtual() -> bool:
    try:
        loop = current_token().native_token
    except RuntimeError:  # no loop runs in this thread
        return False
    if isinstance(loop, AbstractEventLoop) or "trio.testing" not in sys.modules:
        return isinstance(loop, VirtualTimeLoop)
    from trio.lowlevel import current_clock
    from trio.testing import MockClock

    return isinstance(current_clock(), MockClock)
