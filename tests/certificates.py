"""Certificates that are made once: an RSA key takes a tenth of a second."""

from __future__ import annotations

from functools import cache

import trustme


@cache
def rsa_certificate(name: str) -> trustme.LeafCert:
    """One for that name, with its key, of an authority that nobody else has."""
    return trustme.CA(key_type=trustme.KeyType.RSA).issue_cert(name, key_type=trustme.KeyType.RSA)
