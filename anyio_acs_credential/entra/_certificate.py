"""The certificate with which a service says who it is: the forms in which it is given, as MSAL takes it.

MSAL refuses a wrong one at the first token, with errors that name none of our arguments, or not at all: it would send a
mapping that is no dict to the authority as a secret, private key and all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._common.errors import explained, wrong_type
from .._common.redaction import Secret

_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_KEY, _CERTIFICATE = re.compile(r"([A-Z0-9]+ )?PRIVATE KEY"), re.compile("CERTIFICATE")
_ENCRYPTED = re.compile("BEGIN ENCRYPTED|,ENCRYPTED")  # PKCS #8, and the header of OpenSSL's older form
_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")  # of SHA-1, which MSAL takes it for
_NO_PAIR = "does not hold one private key and its certificate: give the content of a PEM file with both (not its path)"


def check_certificate(given: Secret) -> Secret:
    """The certificate as MSAL takes it for `client_credential`.

    Args:
        given: The text of a PEM file with the private key and the certificate, or a mapping as MSAL takes it.

    Raises:
        TypeError: when it is of a wrong type.
        ValueError: when it cannot prove who the service is. The message repeats nothing of it.
    """
    if not isinstance(given.value, Mapping | str | bytes):
        fix = ": give path.read_bytes() of a path"
        raise wrong_type(
            "client-certificate", "client_certificate is the text of a PEM file, or a mapping", given.value, fix
        )
    # With an empty mapping, MSAL would ask as a public client.
    certificate = Secret(dict(given.value) if isinstance(given.value, Mapping) else _read(given.value))
    if problem := _find_problem(certificate.value) if certificate.value else _NO_PAIR:
        raise explained("client-certificate", ValueError(f"client_certificate {problem}"))
    return certificate


def _read(given: str | bytes) -> dict[str, str]:
    keys, certificates = _blocks(given, _KEY), _blocks(given, _CERTIFICATE)
    if len(keys) != 1 or not certificates:
        return {}
    return {"private_key": keys[0], "public_certificate": "\n".join(certificates)}


def _find_problem(fields: Mapping[str, Any]) -> str | None:
    """The first reason why MSAL could not work with the fields; None where there is none."""
    if fields.get("client_assertion") or fields.get("private_key_pfx_path"):
        return None
    key, thumbprint, certificate = map(fields.get, ("private_key", "thumbprint", "public_certificate"))
    checks = {
        "has no private_key, private_key_pfx_path or client_assertion: give one of them, as MSAL names it": not key,
        "has a private_key that is none: give the content of its PEM file (not its path)": not (
            _blocks(key, _KEY) or hasattr(key, "private_bytes")
        ),
        "has an encrypted private key and no passphrase: give a mapping with the key and its passphrase": (
            bool(_ENCRYPTED.search(_text(key))) and not fields.get("passphrase")
        ),
        "has a private_key alone: give its certificate, a text in PEM, as public_certificate; or the certificate's "
        "thumbprint": not (thumbprint or certificate),
        "has a thumbprint that is none: give that of SHA-1, 40 hexadecimal digits without colons": bool(thumbprint)
        and not (isinstance(thumbprint, str) and _THUMBPRINT.fullmatch(thumbprint)),
        "has a public_certificate that is none: give the content of its PEM file as text (not its path)": not thumbprint
        and not (isinstance(certificate, str) and _blocks(certificate, _CERTIFICATE)),
    }
    return next((problem for problem, found in checks.items() if found), None)


def _blocks(given: object, kind: re.Pattern[str]) -> list[str]:
    return [block[0] for block in _PEM_BLOCK.finditer(_text(given)) if kind.fullmatch(block[1])]


def _text(given: object) -> str:
    """The text of a PEM file; empty for what is neither text nor bytes."""
    return given.decode("latin-1") if isinstance(given, bytes) else given if isinstance(given, str) else ""
