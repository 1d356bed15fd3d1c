"""The assertion by which an application proves that it has its certificate's key, dated by the authority's clock.

MSAL dates it by ours, and shows it again for nine minutes of ours. Where that clock is wrong, every one is refused;
where it is set back, the one that is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._redaction import Secret
    from .._tokens.service_clock import ServiceClock

_LIFE = 600  # seconds, as MSAL has it


def date_assertions(app: Any, credential: Secret, clock: ServiceClock) -> None:
    """Have an MSAL application show an assertion of the authority's time, made anew for each request.

    Args:
        app: The application, just made. It knows what belongs into an assertion.
        credential: What it was made with: a secret, which has no time, or a certificate as MSAL takes it.
        clock: The authority's.
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

    # The second is what MSAL makes further clients with, such as for a refresh token.
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
