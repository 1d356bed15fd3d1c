"""Ending spans in a thread of its own: some exporters wait for the network in `Span.end()`, or raise there."""

from __future__ import annotations

import atexit
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_MOST = 1000  # spans that wait for an exporter that hangs; any more are dropped
_LAST_WAIT = 2.0  # seconds that the interpreter's end waits for the exporter

_ended: SimpleQueue[tuple[Span, int] | threading.Event] = SimpleQueue()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def end_elsewhere(span: Span) -> None:
    """End a span now, as it says, and soon, as its exporter sees it. It never waits."""
    global _thread  # noqa: PLW0603 - one for the process
    if _ended.qsize() < _MOST:
        _ended.put((span, time.time_ns()))
    with _lock:
        if _thread is None or not _thread.is_alive():  # the first, or after a fork
            _thread = threading.Thread(target=_run, name="anyio_acs_credential.otel", daemon=True)
            _thread.start()


def _run() -> None:
    while True:
        ended = _ended.get()
        if isinstance(ended, threading.Event):
            ended.set()
        else:
            span, end_time = ended
            with suppress(Exception):
                span.end(end_time)


@atexit.register
def flush(timeout: float = _LAST_WAIT) -> bool:
    """Wait until the spans that were ended so far have been handed to their exporter.

    Args:
        timeout: Seconds to wait at most.

    Returns:
        Whether they have.
    """
    if _thread is None:
        return True
    reached = threading.Event()
    _ended.put(reached)
    return reached.wait(timeout)
