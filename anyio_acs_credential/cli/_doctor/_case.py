"""The case that is examined: what was given, and what the checks have learned so far."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from ..._tokens.service_clock import ServiceClock

if TYPE_CHECKING:
    from ..._common.redaction import Secret
    from ..._http.request import HttpClient
    from ..._tokens.access_token import AccessToken
    from ..._tokens.clock import Clock
    from ._meaning import Visit


class SignIn(NamedTuple):
    """Where people sign in.

    Attributes:
        client_id: The application that they sign in to.
        issuer: The address before "/.well-known/openid-configuration".
    """

    client_id: str
    issuer: str


@dataclass
class Case:
    """One examination.

    Attributes:
        endpoint: The resource's address; empty where none was given.
        key: Its access key.
        scopes: The scopes that tokens are to have.
        user: The raw id of a user of the resource.
        sign_in: Where people sign in to Entra.
        entra_token: An Entra token of such a person.
        tenant_id: The person's directory.
        object_id: The person's id in it.
        clock: This machine's clock.
        patience: Seconds for one step.
        stack: Closes what is open at the end.
        client: The HTTP client, once the environment allows one.
        visit: The first request to the resource.
        certificate: The certificate that was shown there and refused, in DER.
        service: The service's clock once an answer has shown it, and this machine's until then, so that the key is not
            blamed for a wrong clock.
        token: An access token, once there is one.
    """

    endpoint: str = ""
    key: Secret | None = None
    scopes: tuple[str, ...] = ("chat",)
    user: str | None = None
    sign_in: SignIn | None = None
    entra_token: Secret | None = None
    tenant_id: str | None = None
    object_id: str | None = None
    clock: Clock = time
    patience: float = 5.0
    stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)
    client: HttpClient = field(init=False)
    visit: Visit | None = field(default=None, init=False)
    certificate: bytes | None = field(default=None, init=False)
    service: ServiceClock = field(init=False)
    token: AccessToken | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.service = ServiceClock(self.endpoint, self.clock)

    @property
    def host(self) -> str:
        """The resource's host."""
        return urlsplit(self.endpoint).hostname or ""

    @property
    def is_for_entra(self) -> bool:
        """Whether tokens come from the exchange."""
        return bool(self.sign_in or self.entra_token or any("://" in scope for scope in self.scopes))

    def secrets(self) -> list[str]:
        """The texts that no line may show."""
        held = [secret.value for secret in (self.key, self.entra_token) if secret is not None]
        return held if self.token is None else [*held, self.token.token]
