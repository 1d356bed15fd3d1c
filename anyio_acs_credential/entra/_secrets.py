"""How the secrets of a sign-in stay out of messages, and out of what MSAL and urllib3 log while they work for us."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .._common.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN: ContextVar[set[str]] = ContextVar("secrets")
"""The secrets that the call in progress has sent or received; not set where no call is in progress."""

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
# A field in JSON, in the repr of a dict, in a form or in a URL. The text may be cut off before the value ends.
_FIELD = re.compile(rf"""(?<![\w-])({"|".join(_FIELDS)})(["']?\s*[:=]\s*["']?)[^"'\s&,}}]+""")
_GUARDED = ("msal", "requests", "urllib3", "httpx", "httpcore")
# The import of MSAL makes all of its loggers but these, which the first request makes.
_LATE = ("urllib3.connectionpool", "urllib3.util.retry", "httpx", "httpcore.connection", "httpcore.http11")
_LIMIT = 4096
_SHORTEST = 8  # characters; a shorter value is not a secret, and to cut it out would spoil the text


class Texts(set[str]):
    """A set of secrets that its repr does not show."""

    def __repr__(self) -> str:
        return "<hidden>"


def secrets_in(content: Mapping[str, Any]) -> set[str]:
    """The secrets among the fields of a form, an answer, or a sign-in."""
    found = (content.get(name) for name in _FIELDS)
    return {value for value in found if isinstance(value, str) and len(value) >= _SHORTEST}


def note(content: Mapping[str, Any]) -> None:
    """Remember the secrets in a form or an answer for as long as the call in progress lasts."""
    KNOWN.get().update(secrets_in(content))


def hide(text: str) -> str:
    """The text on one line, without the secrets of the call in progress and without what looks like one."""
    return redact(_FIELD.sub(r"\1\2[redacted]", text), *KNOWN.get(()), limit=_LIMIT)


def guard_loggers() -> None:
    """Have the loggers of MSAL, and of what sends its requests, hide secrets while they log for a call of ours.

    Records that the rest of the program logs through them stay as they are.
    """
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _GUARDED]
    for name in (*names, *_LATE):
        logging.getLogger(name).addFilter(_hide_in_record)


def _hide_in_record(record: logging.LogRecord) -> bool:
    if KNOWN.get(None) is not None:
        record.msg, record.args = hide(record.getMessage()), ()
        record.exc_info = record.exc_text = None  # an exception may quote a secret; our own error says what happened
    return True
