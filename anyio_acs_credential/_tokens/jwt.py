"""The text of an access token, and the claims inside one that is a JWT."""

from __future__ import annotations

import json
import re
from typing import Any

from .._common.errors import InvalidTokenError, explained

_SEGMENTS = r"[A-Za-z0-9_-]+=*\.[A-Za-z0-9_-]+=*\.[A-Za-z0-9_-]*=*"
_HEADER_TEXT = r"[!-~]+"


def check_text(token: object) -> str:
    """The text of a token, which can stand behind "Bearer " in a header.

    Raises:
        InvalidTokenError: when it cannot.
    """
    if not isinstance(token, str):
        kind, token = type(token).__name__, ""  # bytes may hold a token, which no frame may show
        raise explained("invalid-token", InvalidTokenError(f"an access token is text (str), not {kind}"))
    plain = str.__str__(token)  # the `__str__` of a subclass may give another text
    if (fault := _fault_of(plain)) is not None:
        token = plain = ""  # no frame that an error passes shows it
        raise fault
    return plain


def _fault_of(token: str) -> InvalidTokenError | None:
    if not token.strip():
        return explained("invalid-token", InvalidTokenError("the access token is blank: give its text"))
    if token[:7].lower() == "bearer ":
        return explained(
            "bearer-prefix", InvalidTokenError('leave out the "Bearer " prefix: the token alone is wanted')
        )
    if not re.fullmatch(_HEADER_TEXT, token):
        return explained(
            "invalid-token",
            InvalidTokenError(
                "the access token contains white space or a character that no HTTP header can carry: copy it again"
            ),
        )
    return None


def read_claims(token: str) -> dict[str, Any]:
    """The payload of a JWT (RFC 7519), whose signature is not verified.

    Raises:
        InvalidTokenError: when the text is no JWT.
    """
    claims = _read(token)
    if isinstance(claims, InvalidTokenError):
        token = ""  # no frame that an error passes shows it
        raise claims
    return claims


def _read(token: str) -> dict[str, Any] | InvalidTokenError:
    if token.count(".") == 4:
        return explained(
            "encrypted-token",
            InvalidTokenError("the token is encrypted (a JWE); say when it ends: AccessToken(token, expires_on)"),
        )
    if not re.fullmatch(_SEGMENTS, token):
        return explained(
            "invalid-token",
            InvalidTokenError(
                "the token is not a JWT: three base64url segments with dots between them are wanted. "
                "If it is an opaque token, say when it ends: AccessToken(token, expires_on)"
            ),
        )
    claims = _decode(token)
    if not isinstance(claims, dict):
        return explained(
            "invalid-token",
            InvalidTokenError("the token's payload is not a JSON object in UTF-8; it was cut or changed on its way"),
        )
    return claims


def peek(token: str) -> dict[str, Any]:
    """The payload of a JWT, without checks and without importing PyJWT; empty where it cannot be read."""
    from base64 import urlsafe_b64decode  # needed for some tokens only, and never at import

    payload = token.split(".", 2)[1] if token.count(".") == 2 else ""
    try:
        found = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _decode(token: str) -> object:
    from jwt.api_jws import decode_complete  # it brings cryptography, twice the cost of all the rest: never at import

    def read(payload: str, signature: str) -> bytes:
        # "e30" is an empty header. PyJWT would judge what the token's own header says of keys and extensions (`kid`,
        # `crit`, `b64`), which only the service can judge.
        content: bytes = decode_complete(f"e30.{payload}.{signature}", options={"verify_signature": False})["payload"]
        return content

    try:
        header, payload, signature = token.split(".")
        if not isinstance(json.loads(read(header, "")), dict):
            return None
        # Decoded here: given bytes, the json module would guess UTF-16 and UTF-32 too.
        return json.loads(read(payload, signature).decode("utf-8"))
    except Exception:  # noqa: BLE001 - PyJWT and json fail in many ways, RecursionError included; all mean one thing
        # The caller raises, outside this block: the error caught here may quote the token, and would be the context.
        return None
