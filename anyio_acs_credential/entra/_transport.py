"""MSAL's HTTP: asked for in MSAL's thread, and done in the event loop, within the limits of every request of ours.

So cancelling the caller ends the request, and with it the work in MSAL's thread. MSAL gets answers that are JSON
objects, refusals as OAuth has them included; every other answer becomes an error of ours, with its `Retry-After`.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from anyio import CancelScope, current_effective_deadline, from_thread

from .._common.errors import ServiceError, explained
from .._common.redaction import Secret
from .._http.answer import error_from, is_transient, malformed, read_object
from .._http.request import Call
from .._http.retries import Limits, send
from .._loops.closing import close_quietly
from ._secrets import KNOWN, note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._http.answer import Answer
    from .._http.request import HttpClient
    from .._tokens.service_clock import ServiceClock

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# One try: a code or an assertion whose answer was lost may be spent, so the caller decides whether to try again.
_LIMITS = Limits(timeout=30.0, tries=1)
_KEPT = {"access_token", "client_info", "device_code", "error", "id_token", "refresh_token", "scope"}
_TEXT = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, in the shape that MSAL reads."""

    status_code: int
    text: str = field(repr=False)
    headers: dict[str, str]

    def raise_for_status(self) -> None:
        """Raise for a status of 400 or more, where MSAL asks; it reads refused token requests from their text."""
        if self.status_code >= 400:
            raise explained(
                "entra-refused",
                ServiceError(
                    f"Entra answered {self.status_code}: check the authority",
                    permanent=True,
                    status_code=self.status_code,
                ),
            )


class Transport:
    """One HTTP client for the requests of one call, or of many.

    Args:
        make_client: Makes the client. It reads certificates, so it is called in MSAL's thread, at the first request.
            None where the application has an HTTP client of its own.
        clock: The authority's clock, which learns from each answer.

    Attributes:
        closed: Whether it is closed. A closed transport refuses every request.
    """

    def __init__(self, make_client: Callable[[], Any] | None, clock: ServiceClock) -> None:
        self._make_client = make_client
        self._clock = clock
        self._client: Any = None
        self._requests: set[CancelScope] = set()
        self.closed = False

    def request(self, method: str, url: str, headers: Mapping[str, str], body: Secret | None) -> Response:
        """Send a request from MSAL's thread.

        Raises:
            ServiceError: when no answer comes that MSAL can read.
        """
        if self._client is None and self._make_client is not None and not self.closed:
            self._client = self._make_client()
        call = Call(method, url, None if body is None else body.value, repeatable=False, learn=self._clock.learn)
        return from_thread.run(self._send, call, headers)

    async def _send(self, call: Call, headers: Mapping[str, str]) -> Response:
        async def authorize(request: Any) -> None:
            request.headers.update(headers)

        # anyio cancels no task that begins in a cancelled scope, where its checkpoints turn without end on asyncio.
        is_cancelled = current_effective_deadline() == -inf
        if not self.closed and not is_cancelled:
            client: HttpClient = self._client
            with CancelScope() as scope:
                self._requests.add(scope)
                try:
                    return _read(await send(client, call, authorize, _LIMITS))
                finally:
                    self._requests.discard(scope)
        problem = "the credential was closed or cancelled while it was at work: try again"
        raise explained("unreachable", ServiceError(problem))

    async def aclose(self) -> None:
        """End the requests and close the client, within a second, also where the closing task is cancelled."""
        self.closed = True
        for scope in self._requests:  # closing the client does not end a connection that it is making
            scope.cancel("the transport is closed")
        if self._client is not None:
            await close_quietly(self._client.aclose)


CURRENT: ContextVar[Transport] = ContextVar("transport")
"""The transport of the call in progress."""


class Relay:
    """The `http_client` of an MSAL application: hands requests to the transport of the call in progress."""

    def post(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a form."""
        # urlencode sends what a subclass of str shows, which may be another text than it holds.
        form = {name: str.__str__(value) if isinstance(value, str) else value for name, value in (data or {}).items()}
        note(form)
        body = Secret(urlencode(form).encode())
        data = form = {}  # no frame of ours that an error passes shows them
        return CURRENT.get().request("POST", _with(url, params), {**(headers or {}), **_FORM}, body)

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Ask for a document."""
        return CURRENT.get().request("GET", _with(url, params), headers or {}, None)

    def close(self) -> None:
        """Do nothing: the transport owns the client."""


def _with(url: str, params: Mapping[str, str] | None) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params)}" if params else url


def _read(answer: Answer) -> Response:
    answer = replace(answer, secrets=(*answer.secrets, *KNOWN.get()))
    if 300 <= answer.status < 400 or is_transient(answer.status):
        raise error_from(answer)
    content = read_object(answer)
    note(content)
    if (odd := _odd_field(content)) is not None:
        malformed(answer, f"its {odd} is not text as OAuth has it")
    return Response(answer.status, answer.body.decode(), dict(answer.headers))


def _odd_field(content: Mapping[str, Any]) -> str | None:
    """A field that is not text as OAuth has it (RFC 6749, appendix A). MSAL would keep it, and fail from then on."""
    for name in sorted(_KEPT & content.keys()):
        value = content[name]
        if not isinstance(value, str) or not _TEXT.fullmatch(value):
            return name
    return None
