"""Whose certificate a server showed, and what it means that TLS succeeded or failed with it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from .._times import date_and_time
from ._finding import Finding, failure, ok, warning

_AZURE = (".communication.azure.com", ".communication.azure.us")
_ITS_ISSUERS = ("microsoft", "digicert")
_NOT_YET, _OVER, _ANOTHER_NAME, _ANOTHER_ADDRESS = 9, 10, 62, 64  # OpenSSL's X509_V_ERR_…


@dataclass(frozen=True, slots=True)
class Certificate:
    """The fields of a certificate that the checks read.

    Attributes:
        issuer: Who signed it.
        signed_by_itself: Whether it is self-signed.
        names: The hosts that it is for.
        begins: When its validity begins, in Unix seconds.
        ends: When its validity ends, in Unix seconds.
    """

    issuer: str
    signed_by_itself: bool
    names: tuple[str, ...]
    begins: float
    ends: float


def read_certificate(der: bytes) -> Certificate | None:
    """The fields of a certificate; None where it cannot be read."""
    try:
        found = x509.load_der_x509_certificate(der)
        return Certificate(
            issuer=_name(found.issuer),
            signed_by_itself=found.issuer == found.subject,
            names=_hosts(found),
            begins=found.not_valid_before_utc.timestamp(),
            ends=found.not_valid_after_utc.timestamp(),
        )
    except ValueError:
        return None


def _name(name: x509.Name) -> str:
    """The common name and the organisation, as far as the certificate has them."""
    wanted = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    parts = [str(part.value) for oid in wanted for part in name.get_attributes_for_oid(oid)]
    return ", ".join(parts) or name.rfc4514_string() or "nobody who says a name"


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def judge_trusted_certificate(certificate: Certificate, host: str) -> Finding:
    """What it means that TLS succeeded: with the service, or with a proxy that opens connections on the way."""
    parts = certificate.issuer.lower().split(", ")
    if host.endswith(_AZURE) and not any(part.startswith(_ITS_ISSUERS) for part in parts):
        return warning(
            f"a proxy opens TLS: the certificate of {host} is signed by {certificate.issuer}, and not for Microsoft",
            "whoever runs it reads every token and key: ask them to leave this host alone",
        )
    return ok(f"the certificate of {host} is signed by {certificate.issuer}")


def judge_refused_certificate(code: int, certificate: Certificate | None, host: str, now: float) -> Finding:
    """What it means that the certificate was refused.

    Args:
        code: OpenSSL's reason, an X509_V_ERR.
        certificate: The certificate that was shown; None where it is unknown.
        host: The host that was asked.
        now: This machine's time, in Unix seconds.
    """
    if certificate is None:
        return failure(f"the certificate of {host} is not trusted", _ask(host), "unreachable")
    if code in {_NOT_YET, _OVER}:
        return _judge_time(certificate, host, now)
    if code in {_ANOTHER_NAME, _ANOTHER_ADDRESS}:
        names = ", ".join(certificate.names[:5]) or "no host"
        fix = "correct the endpoint, or see whether a proxy answers in its place"
        return failure(f"the certificate is for {names}, and not for {host}", fix, "unreachable")
    if certificate.signed_by_itself:
        text = f"the certificate of {host} is signed by itself ({certificate.issuer}), which nobody trusts"
        return failure(text, _ask(host), "unreachable")
    text = f"the certificate of {host} is signed by {certificate.issuer}, which this machine does not trust"
    return failure(text, _ask(host), "unreachable")


def _judge_time(certificate: Certificate, host: str, now: float) -> Finding:
    lasts = f"is valid from {date_and_time(certificate.begins)} to {date_and_time(certificate.ends)}"
    if now < certificate.begins:
        fix = "set this machine's clock"
    else:
        fix = "set this machine's clock if that is wrong; else whoever runs the server has to renew the certificate"
    return failure(f"the certificate of {host} {lasts}, and it is {date_and_time(now)} here", fix, "unreachable")


def _ask(host: str) -> str:
    if host.endswith(_AZURE):
        return (
            "if that is your organisation's proxy, have it leave this host alone, or name its authority's file in "
            "SSL_CERT_FILE; if not, somebody listens in"
        )
    return "if you know who that is, name the file of their authority in SSL_CERT_FILE; if not, correct the endpoint"
