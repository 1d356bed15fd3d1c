"""A first request to the resource, with no secret in it: how far it came, and who answered."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
from anyio import CapacityLimiter, to_thread

from ..._http.answer import Answer
from ..._http.attempt import Connecting, tls_failure
from ..._http.reading import reading_answer
from ..._http.request import Call, build
from ..._loops.closing import close_quietly
from ..._tokens.service_clock import Moment, proof_in
from ._meaning import Trouble, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._http.request import HttpClient
    from ..._tokens.clock import Clock
    from ._case import Case

NOBODY = "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000"
"""A user that no resource has. The service refuses a token for it, so that asking changes nothing."""


def token_call(endpoint: str, user: str = NOBODY, body: bytes = b'{"scopes": ["chat"]}') -> Call:
    """The request for an access token of a user."""
    path = f"/identities/{quote(user, safe='')}/:issueAccessToken"
    return Call("POST", f"{endpoint}{path}?api-version=2023-10-01", body)


async def visit(case: Case, client: HttpClient) -> Visit:
    """Ask for a token of an unknown user, without a signature: the form of the refusal shows whether it is a resource.

    It waits for the answer for as long as the case has patience. Cancelling it closes the connection.
    """
    call = token_call(case.endpoint)
    request = build(client, call)
    request.extensions["trace"] = seen = _Seen()
    answer, trouble = None, Trouble("silent")
    with anyio.move_on_after(case.patience):
        try:
            answer = await _ask(client, request, seen, case.clock)
        except Exception as error:  # noqa: BLE001 - httpx lets some of ssl's and anyio's through
            trouble = _read(error)
    secured = seen.secured or call.url.startswith("http:")
    return Visit(answer, None if answer else trouble, secured, seen.certificate, case.clock.time())


async def _ask(client: HttpClient, request: Any, seen: _Seen, clock: Clock) -> Answer:
    sent = Moment.now(clock)
    with reading_answer(request, client) as reading:
        try:
            response = await client.send(request, stream=True, auth=None, follow_redirects=False)
        finally:
            seen.end()
        await reading.finish(response)
    proof = proof_in(reading.headers, sent, Moment.now(clock))  # `build` allows https and loopback alone
    return Answer(reading.status, reading.headers, reading.body, reading.problem, proof=proof)


class _Seen(Connecting):
    """Notes how far a connection came.

    Attributes:
        secured: Whether TLS is established.
        certificate: The certificate that the other side showed, in DER.
    """

    def __init__(self) -> None:
        super().__init__()
        self.secured = False
        self.certificate: bytes | None = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Note a step that has begun, is complete or has failed."""
        await super().__call__(event, info)
        if event.endswith(".start_tls.complete"):
            tls = info["return_value"].get_extra_info("ssl_object")
            self.secured, self.certificate = True, tls and tls.getpeercert(binary_form=True)


def _read(error: Exception) -> Trouble:
    """Why no answer came. Only a proxy's text is repeated, since the texts of HTTP libraries may quote headers."""
    name = type(error).__name__
    tls = tls_failure(error)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return Trouble("certificate", tls.verify_message, tls.verify_code)
    if tls is not None:
        return Trouble("tls", tls.reason or name)
    if name == "ProxyError":
        return Trouble("proxy", str(error))
    return Trouble("silent") if name.endswith("Timeout") else Trouble("lost", name)


async def certificate_of(case: Case) -> bytes | None:
    """The certificate that the host shows, whoever signed it. Nothing else of that connection is used.

    It waits for the host for as long as the case has patience.
    """
    from ..._http.own_transport import make_client

    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE
    client = await to_thread.run_sync(make_client, anything, limiter=CapacityLimiter(1))
    try:
        return (await visit(case, client)).certificate
    finally:
        await close_quietly(client.aclose)  # noqa: ASYNC102 - it is shielded
