"""The emulator as its users see it."""

from __future__ import annotations

import math
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from anyio import CancelScope, to_thread
from starlette.applications import Starlette

from . import _chat_routes, _identity_routes
from ._answers import EXCEPTION_HANDLERS
from ._faults import Faults
from ._front import Front
from ._server import bind, serving
from ._signing import signing_key
from ._state import Service
from ._switches import FaultSwitches
from ._tls import Certificates

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Iterable

    from ._front import RequestRecord
    from ._signing import SigningKey
    from ._state import Clock

__all__ = ("Emulator", "open_emulator")


class Emulator(FaultSwitches):
    """A Communication Services resource on this machine; `open_emulator` makes one.

    Attributes:
        endpoint: The resource's address, such as `https://127.0.0.1:41234`.
        authority: Where Entra users sign in.
        client_id: The application that they sign in to.
        ca_file: Path of the certificate authority to trust, in PEM. It is gone when the block has ended.
        ssl_context: For clients: it trusts that authority alone.
    """

    def __init__(
        self, port: int, service: Service, certificates: Certificates, faults: Faults, log: Iterable[RequestRecord]
    ) -> None:
        super().__init__(faults)
        self.endpoint: str = f"https://127.0.0.1:{port}"
        self.authority: str = f"{self.endpoint}/{uuid4()}"
        self.client_id: str = str(uuid4())
        self.ca_file: str = certificates.ca_file
        self.ssl_context: ssl.SSLContext = certificates.client
        self._service = service
        self._log = log

    @property
    def access_key(self) -> str:
        """The access key of the resource, in base64. Another one each time."""
        return self._service.access_key_text

    @property
    def connection_string(self) -> str:
        """Endpoint and access key, as the Azure portal shows them."""
        return f"endpoint={self.endpoint}/;accesskey={self.access_key}"

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The newest 10,000 requests, in the order of their answers."""
        return tuple(self._log)

    def __repr__(self) -> str:
        return f"<Emulator at {self.endpoint}>"


@asynccontextmanager
async def open_emulator(
    *, port: int = 0, token_lifetime: float | None = None, clock: Clock = time
) -> AsyncGenerator[Emulator]:
    """A Communication Services resource on this machine, over TLS, while the block runs.

    It serves when the block begins. Entering takes some tenths of a second for the first one in a process, which
    makes a signing key in a worker thread; cancelling waits for that. Leaving ends every request and connection at
    once, and what the block raises comes out as it is. While a cancelled block cleans up, requests are answered.

    Args:
        port: The port on 127.0.0.1; 0 for a free one.
        token_lifetime: Seconds that every access token lives, 1 or more, whatever a request asks, down from the
            service's least of an hour; None for what each request asks. As in the service, a token's `exp` is cut to
            a whole second.
        clock: Any object with `time()`, in Unix seconds: for the expiry of tokens, the age of signatures and the
            duration of faults.

    Yields:
        The emulator.

    Raises:
        TypeError: when a setting is of the wrong type.
        ValueError: when a setting is out of its range.
        OSError: when the port is taken.
    """
    _check(port, token_lifetime, clock)
    certificates, key = await to_thread.run_sync(_prepare)
    try:
        with bind(port) as listener:
            service = Service(key, clock=clock, token_lifetime=token_lifetime)
            faults = Faults(clock)
            front = Front(_application(service), faults, clock)
            emulator = Emulator(listener.getsockname()[1], service, certificates, faults, front.log)
            async with serving(front, listener, certificates.server):
                yield emulator
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(certificates.remove)


def _prepare() -> tuple[Certificates, SigningKey]:
    key = signing_key()
    return Certificates(), key


def _application(service: Service) -> Starlette:
    app = Starlette(routes=[*_identity_routes.ROUTES, *_chat_routes.ROUTES], exception_handlers=EXCEPTION_HANDLERS)
    app.state.service = service
    return app


def _check(port: object, token_lifetime: object, clock: object) -> None:
    if type(port) is not int:
        raise TypeError(f"port is a whole number, 0 for a free one, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port is from 0 (a free one) to 65535, not {port}")
    if token_lifetime is not None:
        if isinstance(token_lifetime, bool) or not isinstance(token_lifetime, int | float):
            raise TypeError(f"token_lifetime is seconds or None, not {type(token_lifetime).__name__}")
        if not 1 <= token_lifetime < math.inf:
            raise ValueError(f"token_lifetime is 1 second or more, and finite, not {token_lifetime}")
    if not callable(getattr(clock, "time", None)):
        raise TypeError("clock is an object with time(), such as the time module")
