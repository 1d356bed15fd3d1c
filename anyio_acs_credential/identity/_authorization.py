"""How requests to the Identity API are authorized: by the resource's access key, or by an Entra identity.

An Entra token is held until it is due, and one fetch serves all requests that wait for it. Without that, each request
would ask the credential, and a plain (synchronous) credential costs a thread each time.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from anyio import current_effective_deadline, current_time, move_on_after

from .._common.errors import TokenSourceError, explained
from .._common.redaction import Secret, redact
from .._exchange.entra_tokens import EntraTokenSource
from .._exchange.kept_token import keep
from .._http.challenge import claims_wanted
from .._http.retries import send
from .._loops.apart import apart
from .._loops.cancellation import is_fault, native_cancellations
from .._loops.shared_answers import SharedAnswers
from .._tokens.access_token import AccessToken
from ._keys import Signer

if TYPE_CHECKING:
    from .._exchange.entra_tokens import SupportsGetToken
    from .._exchange.kept_token import KeptToken
    from .._http.answer import Answer
    from .._http.request import Call, HttpClient
    from .._http.retries import Limits
    from .._tokens.service_clock import ServiceClock

_SCOPE = "https://communication.azure.com//.default"
"""The scope that the official clients ask for. The double slash is intended: the resource's name ends with a slash."""
_EARLY = 300.0
"""Seconds before its expiry at which a token is replaced; azure-core's bearer token policy uses the same."""


class Authorization(Protocol):
    """Sends requests in the name of a credential."""

    async def send(self, client: HttpClient, call: Call, limits: Limits) -> Answer:
        """The answer to a call, as `_http.send` has it."""
        ...


def authorization_of(credential: Any, clock: ServiceClock) -> Authorization:
    """How a credential authorizes requests to a service.

    Args:
        credential: Anything with `.key`, or with `get_token()`.
        clock: The service's clock, by which signatures are dated.

    Raises:
        TypeError: when the credential has neither a key nor `get_token()`.
        ValueError: when its key is not base64.
    """
    hidden = Secret(credential)
    del credential  # no frame that an error passes shows a key's text, or what the repr of somebody's own class shows
    if hasattr(hidden.value, "get_token"):
        return EntraAuthorization(hidden.value)
    if hasattr(hidden.value, "key"):
        return KeyAuthorization(hidden, clock)
    kind = type(hidden.value).__name__
    raise explained(
        "token-credential",
        TypeError(
            f"credential is {kind}: give AccessKeyCredential(key), another object with a `.key`, "
            "or an Entra token credential, such as one of azure-identity"
        ),
    )


class KeyAuthorization:
    """Signs each request with the key that the credential holds at that moment, dated by the service's clock.

    Each answer teaches the service's clock. Where ours is wrong, the requests that were signed before the first answer
    are therefore refused once each. Sending one request ahead of the others would avoid that, but it would cost a round
    trip on every machine whose clock is right.
    """

    def __init__(self, credential: Secret, clock: ServiceClock) -> None:
        self._sign = Signer(credential.value)
        self._clock = clock

    async def send(self, client: HttpClient, call: Call, limits: Limits) -> Answer:
        """The answer to a call, which is signed and sent again where the service refuses the signature's date."""
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
    """Sends an Entra token with each request, and answers a claims challenge once."""

    def __init__(self, credential: SupportsGetToken) -> None:
        self._source = EntraTokenSource(credential)
        self._flights = SharedAnswers[AccessToken]()
        self._held: KeptToken | None = None
        self._claims: str | None = None

    async def send(self, client: HttpClient, call: Call, limits: Limits) -> Answer:
        """The answer to a call. After a claims challenge, the call is sent again with a token that meets it.

        Raises:
            TokenSourceError: when the credential gives no token.
            ServiceError: when there is no answer.
        """
        deadline = current_time() + limits.timeout
        answer = await send(client, call, self._authorize, limits)
        if answer.status == 401 and self._held is not None and self._held.token.token in answer.secrets:
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
        """The held token, if it is not due yet and meets the claims, where any are asked for; else None."""
        held = self._held
        return held.token if held is not None and held.is_fresh and claims in {None, self._claims} else None

    async def _renew(self, claims: str | None) -> AccessToken:
        if (found := self._find(claims)) is not None:
            return found
        held = self._held
        if claims is None and held is not None and held.is_valid:
            # While its last token is valid, a credential that fails or takes half of the time is not waited for.
            with suppress(TokenSourceError):
                return await self._fetch(None, 0.5)
            self._held = held.later()
            return held.token
        # It gives up before the request's own time limit, so that the error names the credential as what was slow.
        return await self._fetch(claims, 0.9)

    async def _fetch(self, claims: str | None, share: float) -> AccessToken:
        """Ask the credential, for at most this share (0 to 1) of the time that the call has left."""
        cancellations = native_cancellations()
        with move_on_after(share * (current_effective_deadline() - current_time())):
            try:
                token = await apart(lambda: self._source.get((_SCOPE,), claims), "token credential")
            except TokenSourceError:
                raise
            except BaseException as error:  # noqa: ASYNC103 - nobody has cancelled this task where it is a fault
                if not is_fault(error, cancellations):
                    raise
                text = redact(f"{type(error).__name__}: {error}")
                raise explained(  # noqa: ASYNC104 - likewise
                    "token-credential-failed",
                    TokenSourceError(f"the token credential failed: try again later ({text})"),
                ) from error
            self._held, self._claims = keep(token, self._held, time, early=_EARLY), claims
            return token
        raise explained(
            "token-credential-failed", TokenSourceError("the token credential took too long: try again later")
        )


def _what_is_left(limits: Limits, deadline: float) -> Limits:
    return replace(limits, timeout=round(max(0.0, deadline - current_time()), 3))
