"""Ctrl-C while modules are loading: it ends the process at once, without a message."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def loading() -> Iterator[None]:
    """A block for imports alone, in which SIGINT ends the process by the system's default: no traceback, no clean-up.

    An imported module can swallow a `KeyboardInterrupt`, or have it reported as "Exception ignored". Where the signal
    has another handler or is ignored, nothing changes.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # only the main thread may set a handler
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
