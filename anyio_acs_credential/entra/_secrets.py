"""Keeping the secrets of a sign-in out of messages, and out of what MSAL and urllib3 log while they work for us."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .._redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN: ContextVar[set[str]] = ContextVar("secrets")
"""What the call in progress, if there is one, has sent or received and nobody may see."""

_FIELDS = (
    "access_token",
    "assertion",
    "client_assertion",
    "client_info",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "id_token",
    "nonce",
    "refresh_token",
    "state",
)
# In JSON, in the text of a dict, in a form or a URL; also where the end is missing.
_FIELD = re.compile(rf"""(?<![\w-])({"|".join(_FIELDS)})(["']?\s*[:=]\s*["']?)[^"'\s&,}}]+""")
_GUARDED = ("msal", "requests", "urllib3", "httpx", "httpcore")
# Made by importing MSAL, but for these, which appear with its first request.
_LATE = ("urllib3.connectionpool", "urllib3.util.retry", "httpx", "httpcore.connection", "httpcore.http11")
_LIMIT = 4096
_SHORTEST = 8  # what is shorter is no secret, and cutting it out would spoil the text


class Texts(set[str]):
    """Secrets, which are not shown where they are kept."""

    def __repr__(self) -> str:
        return "<hidden>"


class Fields(dict[str, Any]):
    """What MSAL remembers of a sign-in, or an authority says of it: secrets among other things."""

    def __repr__(self) -> str:
        return "<hidden>"


def secrets_in(content: Mapping[str, Any]) -> set[str]:
    """The secrets among the fields of a form, an answer, or what MSAL remembers of a sign-in."""
    found = (content.get(name) for name in _FIELDS)
    return {value for value in found if isinstance(value, str) and len(value) >= _SHORTEST}


def note(content: Mapping[str, Any]) -> None:
    """Remember the secrets in a form, or in an answer, for the length of the call in progress."""
    KNOWN.get().update(secrets_in(content))


def hide(text: str) -> str:
    """The text on one line, without what the call in progress knows, and what looks like a secret."""
    return redact(_FIELD.sub(r"\1\2[redacted]", text), *KNOWN.get(()), limit=_LIMIT)


def guard_loggers() -> None:
    """Have the loggers of MSAL, and of what sends its requests, hide secrets while they log for a call of ours.

    What the rest of the program logs through them stays as it is.
    """
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _GUARDED]
    for name in (*names, *_LATE):
        logging.getLogger(name).addFilter(_hide_in_record)


def _hide_in_record(record: logging.LogRecord) -> bool:
    if KNOWN.get(None) is not None:
        record.msg, record.args = hide(record.getMessage()), ()
        record.exc_info = record.exc_text = None  # our own error says it, without what an exception may quote
    return True
