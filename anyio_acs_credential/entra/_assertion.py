"""The assertion with which an application proves that it has its certificate's key, dated by the authority's clock.

MSAL dates an assertion by this machine's clock, and sends it again for nine minutes by the same clock. Where that clock
is wrong, the authority refuses every assertion; where it is set back, it refuses the one that MSAL keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._common.redaction import Secret
    from .._tokens.service_clock import ServiceClock

_LIFE = 600  # seconds that an assertion is valid; MSAL's own assertions last as long


def date_assertions(app: Any, credential: Secret, clock: ServiceClock) -> None:
    """Have an MSAL application make a new assertion for each request, dated by the authority's clock.

    Args:
        app: The application, just made. Its own assertion is the template of the new ones.
        credential: The credential that it was made with. A secret needs no assertion; a certificate, as MSAL takes it,
            does.
        clock: The authority's clock.
    """
    if not isinstance(credential.value, dict) or "private_key" not in credential.value:
        return
    made: Callable[[], bytes] = app.client.client_assertion

    def assertion() -> str:
        import jwt

        template = made()
        header, now = jwt.get_unverified_header(template), int(clock.time())
        claims = jwt.decode(template, options={"verify_signature": False})
        claims.update(iat=now, exp=now + _LIFE, jti=str(uuid4()))
        return jwt.encode(claims, _key_of(credential), algorithm=header["alg"], headers=header)

    # MSAL makes further clients from `client_credential`, such as for a refresh token.
    app.client.client_assertion, app.client_credential = assertion, {"client_assertion": assertion}


def _key_of(credential: Secret) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = credential.value["private_key"]
    if not isinstance(key, str | bytes):
        return key
    phrase = credential.value.get("passphrase") or None
    return load_pem_private_key(_bytes(key), phrase and _bytes(phrase))


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
