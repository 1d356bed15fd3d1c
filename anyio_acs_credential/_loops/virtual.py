"""Refusing the real clock in virtual time: no sleep moves that clock, and a test with it would prove nothing."""

from __future__ import annotations

import sys
import time
from typing import Any

from anyio.lowlevel import current_token

from .._common.errors import CredentialUsageError, explained


def refuse_real_time(what: str, clock: object, *, beside: str = "the credential") -> None:
    """Refuse the `time` module in an event loop whose time is virtual.

    Args:
        what: What has the clock, as the message names it.
        clock: The clock. A clock of the user's own is accepted, also where it gives the real time on purpose.
        beside: What has to have the same clock, as the message names it.

    Raises:
        CredentialUsageError: when tokens would not end by the clock, however long the test sleeps.
    """
    if clock is time and _is_virtual():
        raise explained(
            "virtual-time",
            CredentialUsageError(
                f"{what} goes by the real clock in virtual time, where no sleep moves that: "
                f"give {what} and {beside} the same clock=VirtualClock()"
            ),
        )


def _is_virtual() -> bool:
    """Whether the running loop's time is that of `testing.virtual_time`, or of any `MockClock` of trio's."""
    try:
        loop: Any = current_token().native_token
    except RuntimeError:  # no loop runs in this thread
        return False
    if not hasattr(loop, "run_sync_soon") or "trio.testing" not in sys.modules:
        return getattr(loop, "is_virtual", False)
    from trio.lowlevel import current_clock
    from trio.testing import MockClock

    return isinstance(current_clock(), MockClock)
