"""Hiding secrets: in objects that do not show them, and by cutting them out of text that others wrote."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, NoReturn, Self
from urllib.parse import quote, quote_plus

from .errors import explained

_HIDDEN = "[redacted]"
# A JWT's header is a JSON object, and the base64url text of one begins with "eyJ". Other text of three long segments
# counts as a token, too. The look-behind keeps the search linear: it scans a long run of letters once, not from each.
_JWT_LIKE = (
    r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*|"
    r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]{16,}){2,}"
)


class Unpicklable:
    """Base of objects that hold a secret: they refuse to be pickled, and a copy of one is the object itself."""

    __slots__ = ()

    _refusal: ClassVar[str] = "{} holds a secret and is not pickled; to send the secret on purpose, send its text"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise explained("pickling", TypeError(self._refusal.format(type(self).__name__)))


class Secret(Unpicklable):
    """A box that keeps a secret and does not show it: error collectors record the locals of each frame."""

    __slots__ = ("value",)

    _refusal = "a secret is not pickled"

    def __init__(self, value: Any) -> None:
        self.value: Any = value

    def __repr__(self) -> str:
        return "<hidden>"


class Hidden(dict[str, Any]):
    """The fields of an answer or of a sign-in, by name. The repr hides them, secrets and all."""

    def __repr__(self) -> str:
        return "<hidden>"


def redact(text: str, *secrets: str, limit: int = 1024) -> str:
    """The text on one line, cut to a sane length, with secrets and everything that looks like a JWT taken out.

    Args:
        text: What somebody else wrote: a service, or the author of an exception.
        secrets: Texts that must not be shown. Empty ones are ignored.
        limit: The length of the longest result, in bytes of UTF-8.

    Returns:
        The text without them, without control characters, and with an ellipsis where it was cut.
    """
    spellings = {spelling for secret in filter(None, secrets) for spelling in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, _HIDDEN)
    text = re.sub(_JWT_LIKE, _HIDDEN, text)  # compiled at the first call, not at import
    # A blank takes the place of a letter that cannot be printed: else the pieces of a secret would join again.
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    data = line.encode()
    if len(data) <= limit:
        return line
    return data[: limit - 3].decode(errors="ignore") + "…"


def _spellings(secret: str) -> tuple[str, ...]:
    """A secret as it is, and as it is written in an address, a form or JSON."""
    return (
        secret,
        quote(secret, errors="replace"),
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
        json.dumps(secret)[1:-1],
    )
