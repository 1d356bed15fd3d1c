"""The RSA key of the emulated service: it signs and verifies JSON Web Tokens with RS256."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import cache
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

# PyJWT would read this machine's clock; the emulator's own decides. An ACS token names neither issuer nor audience.
_OPTIONS: Any = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss"), False)


class SigningKey:
    """A private key. It is never written to a file.

    Attributes:
        jwk: The public key (RFC 7517).
    """

    def __init__(self) -> None:
        self._private = generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._private.public_key()
        encoded = self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        thumbprint = urlsafe_b64encode(sha1(encoded, usedforsecurity=False).digest()).rstrip(b"=").decode()
        self._header = {"kid": thumbprint, "x5t": thumbprint}
        public: dict[str, Any] = RSAAlgorithm.to_jwk(self._public, as_dict=True)
        self.jwk: Mapping[str, Any] = {**self._header, "use": "sig", "alg": "RS256", **public}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JWT with these claims."""
        return jwt.encode(dict(claims), self._private, algorithm="RS256", headers=self._header)

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that this key signed.

        Args:
            token: A JWT, or whatever a client sent in its place.

        Raises:
            ValueError: when it is malformed, or signed with another key or algorithm.
        """
        try:
            claims: dict[str, Any] = jwt.decode(token, self._public, algorithms=["RS256"], options=_OPTIONS)
        except jwt.InvalidTokenError as error:
            raise ValueError("the token is malformed or its signature is wrong") from error
        return claims


@cache
def signing_key() -> SigningKey:
    """The key of this process. The first call takes a tenth of a second or more: make it in a worker thread."""
    return SigningKey()
