"""Claims challenges: what an answer of 401 wants a new Entra token to say (continuous access evaluation).

Their form is that of https://learn.microsoft.com/entra/identity-platform/claims-challenge.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answer import Answer

# RFC 9110, section 11.6.1: challenges are a scheme and its parameters, all separated by commas. The look-behind and the
# possessive quantifiers keep the search linear, whatever a server sends.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105 - the grammar's word
_PARAMETER = re.compile(
    rf"""(?<![!#$%&'*+.^_`|~0-9A-Za-z-])
    (?:(?P<scheme>{_TOKEN})[ \t]++)?(?P<name>{_TOKEN})[ \t]*+=[ \t]*+
    (?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<bare>[^\s",]*+))""",
    re.VERBOSE,
)
_BASE64URL = str.maketrans("-_", "+/")


def claims_wanted(answer: Answer) -> str | None:
    """The claims that a 401 asks for, as JSON; None where it asks for none, as other answers do."""
    if answer.status != 401:
        return None
    return read_claims(", ".join(value for name, value in answer.headers if name == "www-authenticate"))


def read_claims(header: str) -> str | None:
    """The claims in a `WWW-Authenticate` header's Bearer challenges.

    Args:
        header: Its value; several headers are joined by commas.

    Returns:
        The JSON text of the first that is an object, or None.
    """
    bearer = False
    for found in _PARAMETER.finditer(header):
        if found["scheme"] is not None:
            bearer = found["scheme"].lower() == "bearer"
        if bearer and found["name"].lower() == "claims":
            claims = _decode(found["bare"] if found["quoted"] is None else found["quoted"])
            if claims is not None:
                return claims
    return None


def _decode(text: str) -> str | None:
    """JSON from base64url, with or without padding, in either alphabet."""
    data = text.translate(_BASE64URL).rstrip("=")
    try:
        claims = b64decode(data + "=" * (-len(data) % 4), validate=True).decode()
        return claims if isinstance(json.loads(claims), dict) else None
    except (binascii.Error, ValueError, RecursionError):
        return None
