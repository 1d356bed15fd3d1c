"""The emulator as its users see it."""

from __future__ import annotations

import inspect
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import CancelScope, CapacityLimiter, to_thread
from starlette.applications import Starlette

from .._common.errors import explained
from .._loops.guarded import guarded
from .._loops.virtual import refuse_real_time
from ._entra import sign_in_routes, token_routes
from ._entra.errors import OAuthError, oauth_answer
from ._entra.state import Entra
from ._entra.switches import EntraSwitches
from ._fault_switches import FaultSwitches
from ._faults import Faults
from ._front import Front
from ._operations import Operations
from ._server import bind, serving
from ._service import chat_routes, exchange_routes, identity_routes, teams_phone_routes
from ._service.answers import EXCEPTION_HANDLERS
from ._service.state import Service
from ._settings import OwnClock, check_clock, check_offset, check_port, check_seconds, check_switch
from ._signing import signing_key
from ._tls import Certificates

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Iterable

    from starlette.routing import Route

    from ._front import RequestRecord
    from ._settings import Clock
    from ._signing import SigningKey


class Emulator(EntraSwitches, FaultSwitches):
    """A Communication Services resource and an Entra tenant on this machine; `open_emulator` makes them.

    Attributes:
        endpoint: The resource's address, such as `https://127.0.0.1:41234`.
        ca_file: Path of the certificate authority to trust, in PEM. The file is removed when the block ends.
        ssl_context: A context for clients, which trusts that authority alone.
    """

    endpoint: str
    ca_file: str
    ssl_context: ssl.SSLContext
    _service: Service
    _log: Iterable[RequestRecord]
    _clock: OwnClock

    def __init__(self) -> None:
        problem = "an emulator is not made like this: write async with open_emulator() as emulator"
        raise explained("emulator-arguments", TypeError(problem))

    @property
    def clock_offset(self) -> float:
        """Seconds that its clock is ahead of this machine's. Assign to it to set the clock, while it runs."""
        return self._clock.offset

    @clock_offset.setter
    def clock_offset(self, seconds: float) -> None:
        check_offset(seconds)
        self._clock.offset = seconds

    @property
    def access_key(self) -> str:
        """The access key of the resource, in base64. Each emulator makes a new one."""
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


_ASSIGNABLE = [name for name, found in inspect.getmembers(Emulator) if getattr(found, "fset", None) is not None]


class _Opened(Emulator):
    """An emulator with its parts, which the public class's signature does not name."""

    _is_made = False

    def __init__(
        self,
        service: Service,
        entra: Entra,
        certificates: Certificates,
        faults: Faults,
        log: Iterable[RequestRecord],
        *,
        clock: OwnClock,
    ) -> None:
        self.endpoint, self.authority = entra.endpoint, entra.authority
        self.tenant_id, self.client_id, self.client_secret = entra.tenant_id, entra.client_id, entra.client_secret
        self.ca_file, self.ssl_context = certificates.ca_file, certificates.client
        self._service, self._entra, self._faults = service, entra, faults
        self._log, self._clock = log, clock
        self._is_made = True

    def __setattr__(self, name: str, value: object) -> None:
        # Python would take any name, and a test that means a setting, or misspells one, would prove nothing.
        if self._is_made and name not in _ASSIGNABLE:
            known = inspect.signature(open_emulator).parameters
            what = f"give open_emulator({name}=...)" if name in known else f"assign to {' or '.join(_ASSIGNABLE)} alone"
            raise explained("emulator-arguments", AttributeError(f"{name} of an open emulator is not assigned: {what}"))
        super().__setattr__(name, value)


@guarded("the emulator")
@asynccontextmanager
async def open_emulator(
    *,
    port: int = 0,
    token_lifetime: float | None = None,
    entra_token_lifetime: float = 3600,
    entra_refresh_in: float | None = None,
    device_code_interval: float = 5,
    device_code_lifetime: float = 900,
    require_teams_phone_assignment: bool = False,
    clock_offset: float = 0,
    clock: Clock = time,
) -> AsyncGenerator[Emulator]:
    """A Communication Services resource and an Entra tenant on this machine, over TLS, while the block runs.

    It answers requests from the block's beginning on. Entering the first one in a process takes some tenths of a
    second, in which a worker thread makes a signing key; cancelling waits for that. Leaving ends every request and
    connection at once, and an exception of the block comes out unchanged. While a cancelled block cleans up, requests
    are still answered.

    Args:
        port: The port on 127.0.0.1; 0 for a free one.
        token_lifetime: Seconds that every access token lives, 1 or more, whatever a request asks; the service's own
            least is an hour. None for what each request asks. As in the service, a token's `exp` is cut to a whole
            second.
        entra_token_lifetime: Seconds that every Entra token lives, 1 or more.
        entra_refresh_in: Seconds after which clients are told to renew an Entra token. None to do as Entra does: half
            of the token's life where that is two hours or more, and otherwise nothing is said.
        device_code_interval: Seconds between a client's polls for a device code, 1 or more, cut to whole seconds.
        device_code_lifetime: Seconds that a device code lives, 1 or more.
        require_teams_phone_assignment: Whether to refuse, as the service does, the Entra token of a person whom nobody
            has allowed to use Teams Phone, with `set_teams_phone_assignment()` or `acs-credential teams-phone allow`.
        clock_offset: Seconds that the emulator's clock is ahead of `clock`; negative where it is behind. Tokens,
            signatures and the `Date` of each answer go by the emulator's clock.
        clock: Any object with `time()`, in Unix seconds. It tells the expiry of tokens, the age of signatures and the
            duration of faults.

    Yields:
        The emulator.

    Raises:
        TypeError: when a setting is of the wrong type.
        ValueError: when a setting is out of its range.
        OSError: when the port is taken.
        CredentialUsageError: in virtual time with the real clock; and where the block is left in another event loop, or
            on trio in another task, than it was entered in. The emulator then stays open, and can be left where it was
            entered.
    """
    check_port(port)
    check_seconds("token_lifetime", token_lifetime, least=1, optional=True)
    check_seconds("entra_token_lifetime", entra_token_lifetime, least=1)
    check_seconds("entra_refresh_in", entra_refresh_in, least=0, optional=True)
    check_seconds("device_code_interval", device_code_interval, least=1)
    check_seconds("device_code_lifetime", device_code_lifetime, least=1)
    check_switch("require_teams_phone_assignment", require_teams_phone_assignment)
    check_offset(clock_offset)
    check_clock(clock)
    refuse_real_time("open_emulator", clock)
    clock = own = OwnClock(clock, clock_offset)
    certificates, key = await to_thread.run_sync(_prepare, limiter=CapacityLimiter(1))
    try:
        with bind(port) as listener:
            service = Service(key, clock=clock, token_lifetime=token_lifetime)
            service.requires_assignment = require_teams_phone_assignment
            entra = Entra(key, clock, f"https://127.0.0.1:{listener.getsockname()[1]}")
            entra.tokens.lifetime, entra.tokens.refresh_in = entra_token_lifetime, entra_refresh_in
            entra.devices.interval, entra.devices.lifetime = int(device_code_interval), device_code_lifetime
            app = _application(service, entra)
            addresses = [(method, route.path) for route in _routes() for method in sorted(route.methods or ())]
            faults = Faults(clock, Operations(addresses, entra.tenant_id, service.identities))
            front = Front(app, faults, clock)
            emulator = _Opened(service, entra, certificates, faults, front.log, clock=own)
            async with serving(front, listener, certificates.server):
                yield emulator
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(certificates.remove, limiter=CapacityLimiter(1))


def _prepare() -> tuple[Certificates, SigningKey]:
    key = signing_key()
    return Certificates(), key


def _routes() -> list[Route]:
    parts = (identity_routes, chat_routes, exchange_routes, teams_phone_routes, token_routes, sign_in_routes)
    return [route for part in parts for route in part.ROUTES]


def _application(service: Service, entra: Entra) -> Starlette:
    app = Starlette(routes=_routes(), exception_handlers={**EXCEPTION_HANDLERS, OAuthError: oauth_answer})
    app.state.service, app.state.entra = service, entra
    return app
