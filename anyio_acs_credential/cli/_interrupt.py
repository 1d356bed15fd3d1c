"""Ctrl-C while nothing but modules is loaded: it ends the process at once, and says nothing."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def loading() -> Iterator[None]:
    """For imports alone: SIGINT ends the process as the system does, without a traceback and without cleaning up.

    A `KeyboardInterrupt` in an import can be swallowed, or told as "Exception ignored", by whatever is imported. Where
    somebody else handles the signal, or ignores it, nothing changes.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # in another thread than the main one, where no signal is handled
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
