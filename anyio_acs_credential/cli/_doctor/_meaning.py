"""What an answer of the resource means, or a missing answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..._http.answer import error_from, is_transient
from ._certificate import judge_refused_certificate, judge_trusted_certificate, read_certificate
from ._finding import Finding, explain, failure, ok, warning

if TYPE_CHECKING:
    from ..._http.answer import Answer

_KEYS = 'copy the connection string from the "Keys" page of the resource in the Azure portal'
_LATER = "try again later, and see https://azure.status.microsoft"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer.

    Attributes:
        kind: The certificate was refused, TLS failed otherwise, a proxy refused the connection, no answer came in time,
            or the connection was lost.
        detail: What is known of it.
        code: OpenSSL's reason to refuse the certificate.
    """

    kind: Literal["certificate", "tls", "proxy", "silent", "lost"]
    detail: str = ""
    code: int = 0


@dataclass(frozen=True, slots=True)
class Visit:
    """A first request to the resource.

    Attributes:
        answer: Its answer, or None.
        trouble: Why there is no answer.
        secured: Whether TLS was established, or is not needed since the resource is on this machine.
        certificate: The certificate that was shown there, in DER.
        received: When its answer was read, or the request was given up, in Unix seconds by this machine's clock.
    """

    answer: Answer | None
    trouble: Trouble | None
    secured: bool
    certificate: bytes | None
    received: float


def judge_tls(visit: Visit, shown: bytes | None, host: str) -> Finding:
    """Whether TLS succeeded, and with whom.

    Args:
        visit: The first request.
        shown: The certificate that was refused, in DER, if it is known.
        host: The host that was asked.
    """
    trouble = visit.trouble
    if trouble is None or (visit.secured and trouble.kind in {"silent", "lost"}):  # a proxy may have a TLS of its own
        return _judge_success(visit, host)
    match trouble.kind:
        case "certificate":
            found = read_certificate(shown) if shown else None
            return judge_refused_certificate(trouble.code, found, host, visit.received)
        case "tls":
            fix = "correct the endpoint's port, and see what listens there"
            return failure(f"{host} speaks no TLS that this machine does ({trouble.detail})", fix, "unreachable")
        case "proxy":
            fix = "correct the proxy's address, user name or password, or have it let this host through"
            return failure(f"the proxy refuses the way to {host} ({trouble.detail})", fix, "unreachable")
        case "silent":
            fix = "see what listens there, and what a firewall or a proxy on the way lets through"
            return failure(f"{host} takes the connection, and says nothing", fix, "unreachable")
        case _:
            fix = "see what a firewall or a proxy on the way lets through"
            text = f"the connection to {host} was cut before it was secure ({trouble.detail})"
            return failure(text, fix, "unreachable")


def _judge_success(visit: Visit, host: str) -> Finding:
    if visit.certificate is None:
        return ok("there is none, and nothing leaves this machine")
    found = read_certificate(visit.certificate)
    return judge_trusted_certificate(found, host) if found else ok(f"the certificate of {host} is trusted")


def judge_resource(visit: Visit, host: str) -> Finding:
    """Whether a Communication Services resource answers: it refuses an unsigned request with a code of its own."""
    answer = visit.answer
    if answer is None:
        lost = visit.trouble.detail if visit.trouble else ""
        what = f"what comes back is no whole answer ({lost})" if lost else "no answer comes"
        fix = "correct the endpoint, or see what a proxy on the way does"
        return failure(f"{host} takes a request, and {what}", fix, "unreachable")
    code = error_from(answer).code
    if answer.status in {401, 403} and (code or answer.header("ms-cv")):
        return ok(f"{host} is a Communication Services resource")
    if is_transient(answer.status):
        return failure(f"{host} answers {answer.status}{f' ({code})' if code else ''}", _LATER, "refused")
    if 300 <= answer.status < 400:
        fix = "correct the endpoint, or log in where the network that you are in asks you to"
        return failure(f"{host} points to another address ({answer.status})", fix, "refused")
    text = f"{host} is no Communication Services resource: it answers {answer.status} where one asks for a signature"
    return failure(text, _KEYS, "malformed-answer")


def judge_key(answer: Answer) -> Finding:
    """Whether the access key is accepted, by the answer to a signed request for a token of an unknown user."""
    if is_transient(answer.status):
        return warning(f"the resource answers {answer.status}, which says nothing of the key", _LATER, "refused")
    if answer.status == 401:
        text = "the resource refuses the access key: it is another resource's, or was replaced"
        return failure(text, _KEYS, "refused")
    return ok("the resource accepts the access key")  # whatever it says of the user, a 403 for a foreign one included


def judge_exchange(answer: Answer) -> Finding:
    """Whether the exchange answers, by its refusal of an invalid Entra token."""
    error = error_from(answer)
    if answer.status in {400, 401, 403} and error.code:
        return ok("the exchange answers; whether it takes a person's Entra token was not tried (ACS_ENTRA_TOKEN)")
    return explain(error)


def judge_user(answer: Answer) -> Finding:
    """Why no token was issued for a user."""
    if answer.status == 404:
        fix = "give the raw id of one who exists, or make one with acs-credential token"
        return failure("the user does not exist: it was deleted, or is another resource's", fix, "refused")
    return explain(error_from(answer))


def judge_chat(answer: Answer) -> Finding:
    """Whether the chat endpoint takes the token."""
    if answer.is_success:
        return ok("the chat endpoint takes the token")
    if answer.status == 401:
        fix = "see who revokes the user's tokens or deletes the user, and whether the clock is right"
        return failure("the chat endpoint refuses the token: it was revoked, or has ended", fix, "rejected")
    return explain(error_from(answer))
