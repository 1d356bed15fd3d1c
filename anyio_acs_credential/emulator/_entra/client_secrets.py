"""How the application authenticates: by a secret, or by an assertion signed with its certificate's key."""

from __future__ import annotations

from base64 import b64decode
from hmac import compare_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import jwt
from cryptography.x509 import load_pem_x509_certificate

from .errors import OAuthError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._settings import Clock

_CLOCK_SKEW = 300  # seconds by which an assertion's `iat` may be ahead


class ClientSecrets:
    """The secrets of one application.

    Args:
        client_id: The application's id.
        secret: Its secret.
        clock: The emulator's clock.
    """

    def __init__(self, client_id: str, secret: str, clock: Clock) -> None:
        self._client_id = client_id
        self._secret = secret
        self._clock = clock
        self._keys: list[Any] = []

    def add_certificate(self, pem: bytes) -> None:
        """Accept assertions that are signed with the key of this certificate.

        Raises:
            ValueError: when there is no certificate in it.
        """
        self._keys.append(load_pem_x509_certificate(pem).public_key())

    def check(self, form: Mapping[str, str], *, required: bool) -> None:
        """Let a request pass whose secret or assertion is right, or which has neither and needs neither.

        Args:
            form: The fields of the request, with those of its header.
            required: Whether it needs one of the two.

        Raises:
            OAuthError: in every other case.
        """
        if "client_assertion" in form:
            self._check_assertion(form["client_assertion"])
        elif "client_secret" in form:
            if not compare_digest(form["client_secret"].encode(), self._secret.encode()):
                raise _refused(7000215, "Invalid client secret provided.")
        elif required:
            raise _refused(7000218, "The request must contain 'client_assertion' or 'client_secret'.")

    def _check_assertion(self, assertion: str) -> None:
        """Look for the key that signed an assertion (RFC 7523, section 2.2)."""
        for key in self._keys:
            try:
                claims = jwt.decode(assertion, key, algorithms=["RS256", "PS256"], options=_OPTIONS)
            except jwt.InvalidTokenError:
                continue
            if claims["iss"] == claims["sub"] == self._client_id and self._is_of_now(claims):
                return
        raise _refused(700027, "The client assertion is not valid now, or not signed with a known certificate's key.")

    def _is_of_now(self, claims: Mapping[str, Any]) -> bool:
        now = self._clock.time()
        return bool(now < claims["exp"] and claims.get("iat", now) <= now + _CLOCK_SKEW)


def read_client(header: str, form: Mapping[str, str]) -> dict[str, str]:
    """The fields of a request, those of its `Authorization` header among them (RFC 6749, section 2.3.1).

    Raises:
        OAuthError: when the header is malformed.
    """
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return dict(form)
    try:
        client_id, _, secret = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError as error:
        raise _refused(7000216, "The credentials are malformed.") from error
    return {**form, "client_id": unquote_plus(client_id), "client_secret": unquote_plus(secret)}


# PyJWT would read this machine's clock; the emulator's decides. The audience is the address of the token endpoint.
_OPTIONS: Any = {
    "require": ["iss", "sub", "exp"],
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False),
}


def _refused(code: int, description: str) -> OAuthError:
    return OAuthError("invalid_client", code, description, status=401)
