"""The token source of an Entra user: each round gets an Entra token and exchanges it for an access token."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anyio import current_effective_deadline, current_time, move_on_after

from .._common.checks import check_claims
from .._common.errors import ServiceError
from .._common.public import public
from .._common.redaction import Secret
from .._http.challenge import claims_wanted
from .._http.endpoint import check_endpoint
from .._http.own_client import client_factory
from .._http.request import Call
from .._http.retries import Limits, send
from .._tokens.service_clock import ServiceClock
from .._tokens.token_source import TokenSource
from .entra_tokens import EntraTokenSource
from .kept_token import keep
from .scopes import DEFAULT_SCOPE, check_scopes, is_teams_phone
from .wire import EXCHANGE_BODY, allow_command, exchange_url, read_exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from .._http.answer import Answer
    from .._http.request import HttpClient
    from .._tokens.access_token import AccessToken
    from .._tokens.clock import Clock
    from .._tokens.token_source import Watch
    from .entra_tokens import SupportsGetToken
    from .kept_token import KeptToken
    from .wire import ExchangedToken

_LIMITS = Limits()
_LAST_MOMENTS = 60  # seconds of life below which an Entra token may expire on its way, or by the service's clock


class EntraTokenExchange(TokenSource):
    """A token source that exchanges the Entra token of a token credential for an access token, at the resource.

    `CommunicationTokenCredential(resource_endpoint=..., token_credential=...)` makes one for itself. Make one yourself
    to pass it as a `token_refresher=`, or into `fleet.shared()`. Give each credential a source of its own.

    Each round makes an exchange, so that no access token is handed out twice as new, and the Entra token of another
    user counts at once. Only the last Entra token is kept, for rounds in which the token credential fails. Once another
    person may have signed in, the kept token is not used.

    Args:
        resource_endpoint: The resource's address, `https://<resource>.communication.azure.com`.
        token_credential: Anything with `get_token(*scopes)`. It is never closed here.
        scopes: What the Entra token is for. All belong to one family: `DEFAULT_SCOPE`'s or `TEAMS_PHONE_SCOPE`'s.
        http_client: The `httpx.AsyncClient` or `httpx2.AsyncClient` to use, which stays open. By default each round
            opens a client of its own: rounds are about an hour apart, and no connection lasts that long.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when the endpoint is not an https address, or the scopes cannot be exchanged together.
    """

    def __init__(
        self,
        resource_endpoint: str,
        token_credential: SupportsGetToken,
        *,
        scopes: Iterable[str] = (DEFAULT_SCOPE,),
        http_client: HttpClient | None = None,
    ) -> None:
        address, credential, client = Secret(resource_endpoint), Secret(token_credential), Secret(http_client)
        # No frame that an error passes shows a password, or what a credential is by mistake or shows in its repr.
        del resource_endpoint, token_credential, http_client
        self._make_client = client_factory(client.value)
        import jwt.api_jws  # noqa: F401 - reads expiries; imported here, so that no round stalls the event loop by it

        self._scopes = check_scopes(scopes)
        self._url = check_endpoint(address.value)
        self._call = Call("POST", exchange_url(self._url, self._scopes), EXCHANGE_BODY)
        self._go_by(self.clock)
        self._credential = EntraTokenSource(credential.value)
        self._kept: KeptToken | None = None
        self._sign_ins: object = None
        self._watch: Watch = _unwatched

    def use(self, clock: Clock) -> None:
        """Go by the clock of a credential, which calls this as it is made.

        Args:
            clock: The credential's.
        """
        super().use(clock)
        self._go_by(clock)

    def _go_by(self, clock: Clock) -> None:
        self._service = ServiceClock(self._url, clock)
        self._call = replace(self._call, clock=clock, learn=self._service.learn)

    async def __call__(self, claims: str | None = None) -> ExchangedToken:
        """Get an Entra token and exchange it.

        It waits for the token credential and the network. Cancelling it closes the connection in use.

        Args:
            claims: The claims of a challenge that the Entra token has to meet.

        Returns:
            The access token, with the raw id of its user.

        Raises:
            ServiceError: when the service refuses, cannot be reached or answers nonsense.
            TypeError: when `claims` is not text.
            Exception: what the credential raises, unless its last token is still valid and no claims are asked for.
        """
        hidden, claims = Secret(claims), None  # no frame that an error passes shows it: it may be anything as yet
        claims = check_claims(hidden.value)
        entra = await self._entra_token(claims)
        async with self._make_client() as client:
            answer = await self._meet(client, entra)
        try:
            return read_exchange(answer, self._service, allow=self._allow())
        except ServiceError as error:
            if error.status_code == 401 and self._is_ending():
                error.permanent = False  # the Entra token may just have expired, and the next one may be accepted
            raise

    async def _meet(self, client: HttpClient, entra: AccessToken) -> Answer:
        """The answer to an exchange, which is made again after a claims challenge, with a token that meets it."""
        answer = await self._exchange(client, entra)
        if (wanted := claims_wanted(answer)) is None:
            return answer
        # Once only: a service that challenges each new token would be asked in a circle.
        return await self._exchange(client, await self._entra_token(wanted))

    async def _entra_token(self, claims: str | None) -> AccessToken:
        sign_ins = self._credential.sign_ins
        kept = self._kept if sign_ins == self._sign_ins else None
        if claims is None and kept is not None and kept.is_valid:
            entra = kept.token
            # While the kept Entra token is valid, a credential that fails or takes half of the round is not waited for.
            with suppress(Exception), move_on_after(_until_deadline() / 2):
                entra = await self._credential.get(self._scopes)
        else:
            entra = await self._credential.get(self._scopes, claims)
        self._kept, self._sign_ins = keep(entra, self._kept, self.clock), sign_ins
        return entra

    def _allow(self) -> str:
        """The command that allows the Entra token's person to use Teams Phone; empty where none is needed."""
        if not is_teams_phone(self._scopes):
            return ""
        claims = {} if self._kept is None else self._kept.token.claims
        return allow_command(claims.get("tid"), claims.get("oid"))

    def _is_ending(self) -> bool:
        return self._kept is not None and self._kept.left < _LAST_MOMENTS

    async def _exchange(self, client: HttpClient, entra: AccessToken) -> Answer:
        async def authorize(request: Any) -> None:
            request.headers["Authorization"] = f"Bearer {entra.token}"

        # It gives up before the round's own time limit, since its error says more than that the round took too long.
        timeout = round(max(0.0, min(_LIMITS.timeout, 0.9 * _until_deadline())), 3)
        with self._watch(self._call.url) as answered:
            answer = await send(client, self._call, authorize, replace(_LIMITS, timeout=timeout))
            answered(answer.status)
        return answer

    def secrets(self) -> list[str]:
        """The texts that no log line may show."""
        return [] if self._kept is None else [self._kept.token.token]

    def watch_exchanges(self, watch: Watch) -> None:
        """Have each exchange watched, as for an OpenTelemetry span.

        Args:
            watch: Makes the context manager that is entered around each exchange. It is called with the exchange's
                address, and what it gives is called with the status of the answer.
        """
        self._watch = watch


def _unwatched(_url: str) -> AbstractContextManager[Callable[[int], object]]:
    return nullcontext(lambda _status: None)


def _until_deadline() -> float:
    """Seconds until the round is cancelled; infinite without a limit."""
    return current_effective_deadline() - current_time()


public(EntraTokenExchange)
