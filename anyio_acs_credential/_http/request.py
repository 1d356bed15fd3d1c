"""A request of ours, made by an HTTP client that may be the program's, with none of that client's own settings in it.

What a client has of its own for the requests of its program (headers, parameters, cookies, a base address) must not
reach a service that they were not meant for, and must not break what is signed. Its transport, proxies, certificates,
limits and time limits are used: for them the program gives us its client.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .._common.errors import ServiceError, explained
from .._common.public import public
from .endpoint import is_secure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from .._tokens.clock import Clock
    from .._tokens.service_clock import Proof

_LIBRARIES = ("httpx", "httpx2")

VERSION = "0.1.0"
"""The version in pyproject.toml. Asking which one is installed would read files on an event loop."""


class HttpClient(Protocol):
    """The part of an `httpx.AsyncClient` or `httpx2.AsyncClient` that this package uses."""

    @property
    def is_closed(self) -> bool:
        """Whether the client has been closed."""
        ...

    def build_request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Any:
        """A request that is not sent yet.

        Args:
            method: The HTTP method.
            url: The whole address.
            headers: The headers to send.
            content: The body, or None for a request without one.

        Returns:
            The request, to be passed to `send()`.
        """
        ...

    async def send(
        self, request: Any, *, stream: bool = False, auth: None = None, follow_redirects: bool = False
    ) -> Any:
        """Send a request, and return when the headers of the answer are there.

        It waits for the network. Cancelling it has to free the connection.

        Args:
            request: What `build_request()` gave.
            stream: Whether the body is left to be read.
            auth: None: the request is authorized already.
            follow_redirects: False: a secret is not sent on to another host.

        Returns:
            The answer, as httpx has it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request to make.

    Attributes:
        method: The HTTP method.
        url: The whole address.
        body: JSON, or None for a request without a body.
        repeatable: Whether doing it twice is as good as doing it once. If not, it is repeated only after a 429 or
            where nothing was sent.
        secrets: Texts that the body carries and no message may repeat.
        clock: Our clock, with which the service's is compared.
        learn: Called with what each answer proves of the service's clock, also where the try is repeated.
    """

    method: str
    url: str
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)
    clock: Clock = field(default=time, repr=False)
    learn: Callable[[Proof | None], object] = field(default=lambda _proof: None, repr=False)


def build(client: HttpClient, call: Call) -> Any:
    """The request, with the client's time limits and nothing else of its own.

    Raises:
        ServiceError: when the address is not one that secrets are sent to.
    """
    request = client.build_request(call.method, call.url, content=call.body)
    request.url = type(request.url)(call.url)  # a client's own parameters have taken the place of the query
    headers = {
        "Host": request.url.netloc.decode("ascii"),
        "Accept": "application/json",
        # Not gzip, a hundred kilobytes of which can hold a hundred megabytes.
        "Accept-Encoding": "identity",
        "User-Agent": user_agent(library_of(request)),
    }
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if call.method != "GET":
        headers["Content-Length"] = str(len(call.body or b""))
    request.headers = type(request.headers)(headers)
    if not is_secure(request.url.scheme, request.url.host):
        raise explained(
            "https-only", ServiceError("secrets are not sent without TLS: use an https:// address", permanent=True)
        )
    return request


def library_of(thing: object) -> ModuleType | None:
    """The HTTP library that the class of a thing comes from; None for a thing that has its shape alone.

    The bases are searched as well, since a program's own subclass is in a module of the program.
    """
    roots = {cls.__module__.partition(".")[0] for cls in type(thing).__mro__}
    return next((sys.modules.get(name) for name in _LIBRARIES if name in roots), None)


def user_agent(library: ModuleType | None) -> str:
    """What requests say of who sends them (RFC 9110, section 10.1.5)."""
    python = f"Python/{sys.version_info.major}.{sys.version_info.minor}"
    sender = f"anyio-acs-credential/{VERSION} {python}"
    return sender if library is None else f"{sender} {library.__name__}/{library.__version__}"


public(HttpClient, module="typing")
