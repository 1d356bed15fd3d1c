"""One try of a request, with an HTTP client that is taken by its shape: httpx's or httpx2's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from .._common.chains import chain_of
from .._common.errors import ServiceError, explained
from .._common.redaction import Secret, redact
from .._loops.closing import close_quietly
from .._tokens.service_clock import Moment, proof_in
from .answer import Answer
from .reading import reading_answer, surround_hooks
from .request import build

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .request import Call, HttpClient

    Authorize = Callable[[Any], Awaitable[None]]
    """Adds the credential's headers to a request, just before it is sent. It is called anew at each try."""

# Exceptions are told apart by the names of their classes, which httpx and httpx2 share.
_NOTHING_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})
# The reasons that OpenSSL gives where the other side speaks no TLS, such as the page of a portal, or where the server
# itself has failed. An alert that refuses our version of TLS or our ciphers is not among them: it stays until somebody
# acts.
_PLAIN_OR_FAILING = frozenset(
    {
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "TLSV1_ALERT_INTERNAL_ERROR",
        "WRONG_VERSION_NUMBER",
    }
)
_HANDSHAKE_GOES_ON = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that brought no answer.

    Attributes:
        error: What to raise for it.
        sent: Whether the service may have received the request.
        at_once: Whether another try may succeed in a moment.
    """

    error: ServiceError
    sent: bool
    at_once: bool


async def try_once(client: HttpClient, call: Call, authorize: Authorize) -> Answer | Failure:
    """Send a request once and read its answer. However it ends, the connection is closed or free again.

    Raises:
        ServiceError: when the address is not one that secrets are sent to. What `authorize` raises passes.
    """
    request = build(client, call)
    request.extensions["trace"] = connecting = Connecting()
    await authorize(request)
    surround_hooks(client)
    secrets = Secret((*_secrets_of(request), *call.secrets))
    sent = Moment.now(call.clock)
    with reading_answer(request, client) as reading:
        try:
            try:
                response = await client.send(request, stream=True, auth=None, follow_redirects=False)
            finally:
                connecting.end()
            await reading.finish(response)
        except Exception as error:  # noqa: BLE001 - httpx lets some of ssl's and anyio's through, as other transports
            # A hook may raise for an answer that has been read, such as for its status: the answer counts all the
            # same. Nothing is raised from here: errors of HTTP libraries quote headers, and would be the context.
            await reading.find(error)
            if not reading.is_done:
                return _read_failure(error, request.url.host, secrets.value)
    proof = proof_in(reading.headers, sent, Moment.now(call.clock))  # over https or loopback: `build` sees to that
    call.learn(proof)
    return Answer(reading.status, reading.headers, reading.body, reading.problem, secrets.value, proof=proof)


class Connecting:
    """Sees a new connection through to its first byte, as httpx's "trace" extension.

    httpcore leaves a connection whose TLS handshake is cancelled to the garbage collector, and one that is cancelled
    between the handshake and the first byte in its pool, where nobody uses it again and it counts for ever.
    """

    def __init__(self) -> None:
        self._connection: Any = None
        self._shield: anyio.CancelScope | None = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore with the name of each step, which has begun, is complete or has failed."""
        self.end()
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._connection = info["return_value"]
            self._shield = anyio.CancelScope(shield=True)
            self._shield.__enter__()
        elif event.endswith(".start_tls.failed"):
            await close_quietly(self._connection.aclose)

    def end(self) -> None:
        """Let cancellations through again."""
        shield, self._shield = self._shield, None
        if shield is not None:
            shield.__exit__(None, None, None)


def _secrets_of(request: Any) -> tuple[str, ...]:
    value: str = request.headers.get("authorization", "")
    return (*value.split()[1:], value.rpartition("Signature=")[2])


def _read_failure(error: Exception, host: str, secrets: tuple[str, ...]) -> Failure:
    names = {cls.__name__ for cls in type(error).__mro__}
    connecting = not names.isdisjoint(_NOTHING_SENT)
    tls = tls_failure(error) if connecting else None
    permanent, advice = False, f"the request failed: try again later ({type(error).__name__}: {error})"
    if "LocalProtocolError" in names:  # the error's text quotes the header that cannot be sent
        permanent, advice = True, "the request cannot be sent: the credential holds what no HTTP header can carry"
    elif tls is not None:
        # A certificate that is not trusted may be that of a portal, to which a person has yet to log in.
        permanent = not isinstance(tls, ssl.SSLCertVerificationError) and tls.reason not in _PLAIN_OR_FAILING
        # What the HTTP library raised on trio has no text of its own.
        advice = f"no secure connection: check the address and the trusted certificates ({tls})"
    return Failure(
        explained("unreachable", ServiceError(redact(f"{host}: {advice}", *secrets), permanent=permanent)),
        sent=not connecting,
        at_once=not permanent and tls is None,
    )


def tls_failure(error: BaseException | None) -> ssl.SSLError | None:
    """Why TLS itself failed; None where it did not, as for a connection that was lost in the middle of a handshake."""
    for each in chain_of(error):
        if isinstance(each, ssl.SSLError) and not isinstance(each, _HANDSHAKE_GOES_ON):
            return each
    return None
