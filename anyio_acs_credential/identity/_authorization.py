"""What stands in for the resource's owner at the identity API: its access key, or an Entra identity with the right to.

An Entra token is held until it is due and fetched once for all who wait, so that a credential is not asked at each
request: a plain one costs a worker thread each time.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from anyio import current_effective_deadline, current_time, move_on_after

from .._errors import TokenSourceError, explained
from .._exchange.entra_tokens import EntraTokenSource
from .._exchange.shared_answers import SharedAnswers
from .._http.challenge import claims_wanted
from .._http.retries import send
from .._redaction import redact
from .._tokens.access_token import AccessToken, life_of
from .._tokens.clock import Deadline
from ._keys import Signer

if TYPE_CHECKING:
    from .._exchange.entra_tokens import SupportsGetToken
    from .._http.answer import Answer
    from .._http.attempt import Call, HttpClient
    from .._http.retries import Limits
    from .._tokens.service_clock import ServiceClock
    from ._keys import SupportsKey

_SCOPE = "https://communication.azure.com//.default"
"""As the official clients ask: the resource is named with a slash at its end."""
_EARLY = 300.0
"""Seconds before its end at which a token is replaced, as azure-core has it."""
_PAUSE = 30.0
"""Seconds between attempts to replace a token that is still valid, as azure-identity has it."""


class Authorization(Protocol):
    """Sends requests in the name of a credential."""

    async def send(self, client: HttpClient, call: Call, limits: Limits) -> Answer:
        """The answer to a call, as `_http.send` has it."""
        ...


def authorization_of(credential: Any, clock: ServiceClock) -> Authorization:
    """How a credential authorizes requests to a service, whose clock learns from the answers to the calls.

    Raises:
        TypeError: when it is neither a key nor gives tokens.
        ValueError: when its key is none.
    """
    if hasattr(credential, "get_token"):
        return EntraAuthorization(credential)
    if hasattr(credential, "key"):
        return KeyAuthorization(credential, clock)
    kind, credential = type(credential).__name__, None  # no frame that an error passes shows a key's text
    raise explained(
        "token-credential",
        TypeError(
            f"credential is {kind}: give AccessKeyCredential(key), another object with a `.key`, "
            "or an Entra token credential, such as one of azure-identity"
        ),
    )


class KeyAuthorization:
    """Signs each request with the key that the credential holds at that moment, and by the service's clock.

    The clock learns from the answer to each try. So what is signed after one has come is not refused for its time; what
    was under way before it is, each once. To let the first request of a client go alone would spare these, and cost
    everybody whose clock is right a round trip.
    """

    def __init__(self, credential: SupportsKey, clock: ServiceClock) -> None:
        self._sign = Signer(credential)
        self._clock = clock

    async def send(self, client: HttpClient, call: Call, limits: Limits) -> Answer:
        """The answer to a call; where the time of its signature was refused, to the same with one of the right time."""
        deadline, signed = current_time() + limits.timeout, 0.0

        async def authorize(request: Any) -> None:
            nonlocal signed
            signed = self._clock.time()
            self._sign(request, signed)

        answer = await send(client, call, authorize, limits)
        if answer.status != 401 or not self._clock.refuses(answer.proof, signed):
            return answer
        again = await send(client, call, authorize, _what_is_left(limits, deadline))
        return replace(again, repeated=again.repeated or answer.repeated)


class EntraAuthorization:
    """Shows a token of an Entra credential with each request, and meets a claims challenge once."""

    def __init__(self, credential: SupportsGetToken) -> None:
        self._source = EntraTokenSource(credential)
        self._flights = SharedAnswers[AccessToken]()
        self._held: AccessToken | None = None
        self._claims: str | None = None
        self._due = self._end = Deadline(0.0, 0.0)

    async def send(self, client: HttpClient, call: Call, limits: Limits) -> Answer:
        """The answer to a call; where it is a claims challenge, to the same with a token that meets it.

        Raises:
            TokenSourceError: when the credential gives no token.
            ServiceError: when there is no answer.
        """
        deadline = current_time() + limits.timeout
        answer = await send(client, call, self._authorize, limits)
        if answer.status == 401 and self._held is not None and self._held.token in answer.secrets:
            self._held = None
        if (claims := claims_wanted(answer)) is None:
            return answer
        return await send(client, call, partial(self._authorize, claims=claims), _what_is_left(limits, deadline))

    async def _authorize(self, request: Any, claims: str | None = None) -> None:
        held = self._find(claims)
        if held is None:
            held = await self._flights.ask(claims, partial(self._renew, claims))
        request.headers["Authorization"] = f"Bearer {held.token}"

    def _find(self, claims: str | None) -> AccessToken | None:
        """The held token, if it is not due and was asked for with the claims."""
        return self._held if self._due.left(time) > 0 and claims in {None, self._claims} else None

    async def _renew(self, claims: str | None) -> AccessToken:
        if (found := self._find(claims)) is not None:
            return found
        held = self._held
        if claims is None and held is not None and self._end.left(time) > 0:
            # A credential that fails, or takes half of the time, is done without while its last token is valid.
            with suppress(TokenSourceError):
                return await self._fetch(None, 0.5)
            self._due = Deadline.after(min(_PAUSE, self._end.left(time)), time)
            return held
        # It gives up before the request does, and says what it was that took so long.
        return await self._fetch(claims, 0.9)

    async def _fetch(self, claims: str | None, share: float) -> AccessToken:
        """Ask the credential, for no longer than this share of the time that is left to the call."""
        with move_on_after(share * (current_effective_deadline() - current_time())):
            try:
                token = await self._source.get((_SCOPE,), claims)
            except TokenSourceError:
                raise
            except Exception as error:
                text = redact(f"{type(error).__name__}: {error}")
                raise explained(
                    "token-credential-failed",
                    TokenSourceError(f"the token credential failed: try again later ({text})"),
                ) from error
            life = life_of(token, time)
            self._held, self._claims = token, claims
            self._due, self._end = Deadline.after(life - _EARLY, time), Deadline.after(life, time)
            return token
        raise explained(
            "token-credential-failed", TokenSourceError("the token credential took too long: try again later")
        )


def _what_is_left(limits: Limits, deadline: float) -> Limits:
    return replace(limits, timeout=round(max(0.0, deadline - current_time()), 3))
