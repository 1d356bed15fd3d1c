"""The way to standard output, which may fail, and to standard error. No control character of a terminal passes."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from errno import EPIPE
from typing import TYPE_CHECKING, TextIO

from .._common.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECRET = re.compile(r"(?i)(?<=accesskey=)(?!<)[^;\s]+|[A-Za-z0-9+/]{40,}=*")


class OutputError(Exception):
    """Standard output takes no more.

    Attributes:
        is_unread: Whether the reader of the pipe has gone.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the output cannot be written ({error.strerror}): send it elsewhere")
        self.is_unread = error.errno == EPIPE


def printable(text: str) -> str:
    """The text with JSON's escapes for unprintable characters: those that a terminal obeys, and bidi marks."""
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text).replace(
        "\x7f", "\\u007f"
    )


def in_a_line(text: str) -> str:
    """The text on one line and without secrets: click quotes arguments that it does not know, whatever they hold."""
    return _SECRET.sub("[redacted]", redact(text))


def say(*lines: str) -> None:
    """Write lines to standard output, at once.

    Args:
        lines: The lines. Each stays one line, whatever it holds; characters that the encoding lacks are escaped.

    Raises:
        OutputError: when they cannot be written.
    """
    text = "\n".join(map(printable, lines))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(error) from None


def complain(text: str) -> None:
    """Write a line to standard error. Where that is closed or full, the line is lost: there is nobody else to tell."""
    if sys.stderr is not None:
        _write_errors(f"acs-credential: {printable(text)}\n")


def require_output() -> None:
    """Replace a closed standard output, as after `>&-`, by one that goes nowhere."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as the process lives


def discard_output() -> None:
    """Send the rest of standard output nowhere, so that the interpreter's last flush does not fail with a message."""
    _discard(sys.stdout)


def _write_errors(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        with suppress(OSError):  # a stream of the program's own may have no descriptor
            _discard(sys.stderr)  # what is still in its buffer would end the process with the status 120


def _discard(stream: TextIO) -> None:
    descriptor = stream.fileno()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def print_traceback(error: BaseException) -> None:
    """Write the traceback of a mistake of our own to standard error, which may be closed or full.

    Python would print the text of each exception unchanged. A service or a file may have written that text, and it may
    hold secrets and control characters.

    Args:
        error: The error. Its causes come before it, and each text is one line.
    """
    if sys.stderr is None:
        return
    lines = [line for each in reversed(_led_to(error)) for line in _lines(each)]
    lines.append("acs-credential: this is a mistake of acs-credential's: please report it with these lines")
    text = "\n".join(map(printable, lines))
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    _write_errors(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _led_to(error: BaseException) -> list[BaseException]:
    """The error, its cause or context, that one's, and so on, as far as Python would show them."""
    found = [error]
    while (
        earlier := found[-1].__cause__ or (None if found[-1].__suppress_context__ else found[-1].__context__)
    ) is not None and not any(earlier is each for each in found):
        found.append(earlier)
    return found


def _lines(error: BaseException) -> Iterator[str]:
    import traceback  # imported here, so that a command without an error does not wait for it

    yield "Traceback (most recent call last):"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        if frame.line:
            yield f"    {frame.line}"
    try:
        text = in_a_line(str(error))
    except Exception:  # noqa: BLE001 - a foreign error's __str__ may raise anything
        text = "<it has no text>"
    yield f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__
    for note in getattr(error, "__notes__", ()):
        yield in_a_line(str(note))
