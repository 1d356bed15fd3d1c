"""The traceback of a mistake of our own, for the report of it: nothing in it that a terminal obeys, and no secret.

Python's own would print the text of every exception in it as it is, and a service or a file wrote some of them.
"""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from ._output import in_a_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator


def print_traceback(error: BaseException) -> None:
    """Write it to standard error, which may be closed or full.

    Args:
        error: What nobody expected. What led to it comes before it; each text is one line.
    """
    if sys.stderr is None:
        return
    lines = [line for each in reversed(_led_to(error)) for line in _lines(each)]
    lines.append("acs-credential: this is a mistake of acs-credential's: please report it with these lines")
    text = "\n".join(map(printable, lines))
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    with suppress(OSError):
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()


def _led_to(error: BaseException) -> list[BaseException]:
    """The error, and before it what it was raised from or during, as far as that is shown."""
    found = [error]
    while (
        earlier := found[-1].__cause__ or (None if found[-1].__suppress_context__ else found[-1].__context__)
    ) is not None and not any(earlier is each for each in found):
        found.append(earlier)
    return found


def _lines(error: BaseException) -> Iterator[str]:
    yield "Traceback (most recent call last):"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        if frame.line:
            yield f"    {frame.line}"
    try:
        text = in_a_line(str(error))
    except Exception:  # noqa: BLE001 - it is somebody else's
        text = "<it has no text>"
    yield f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__
    for note in getattr(error, "__notes__", ()):
        yield in_a_line(str(note))
