"""The claims of a challenge, as callers bring them."""

from __future__ import annotations

from .._errors import wrong_type


def check_claims(claims: object) -> None:
    """Refuse what cannot be the claims of a challenge. Whether a text is JSON is for Entra's own credentials to say.

    Raises:
        TypeError: when they are not text.
    """
    if not isinstance(claims, str):
        fix = ": give claims.decode() of bytes, and json.dumps(claims) of a dict"
        raise wrong_type("claims", "claims are the text of a JSON object", claims, fix)
