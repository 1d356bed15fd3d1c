"""Acting for a user who called this service with a token (Entra's on-behalf-of flow)."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._common.errors import SignInRequiredError, TokenSourceError, explained
from .._common.redaction import Secret
from ._application import msal_thread
from ._arguments import check_names
from ._certificate import check_certificate
from ._credential import EntraCredential
from ._grant import Grant, take
from ._settings import check_secret, check_settings, check_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Unpack

    from ._settings import Options

_WHAT = "the token that the user called this service with"


class OnBehalfOfCredential(EntraCredential):
    """A user who called this service with a token, and for whom the service acts.

    Making it does no I/O. The assertion is sent once, and brings a refresh token by which later tokens come, so that
    long work outlives the assertion. One credential is for one user.

    Args:
        client_id: The application's id.
        user_assertion: The token that the user called with, or an async function that returns one. The function is
            called again when Entra no longer accepts the refresh token.
        client_secret: The application's secret.
        client_certificate: The application's certificate instead: the text of a PEM file with the private key and the
            certificate; or a mapping as MSAL takes it for `client_credential`, with a `private_key` and its
            `public_certificate` or `thumbprint`, a `private_key_pfx_path`, or a `client_assertion`.
        **options: As for `DeviceCodeCredential`.

    Raises:
        TypeError: when an argument is of a wrong type, or not exactly one of secret and certificate is given.
        ValueError: when an argument cannot work.
    """

    _advice = "have the user sign in at the caller and call again, and make a new credential with the new token"

    def __init__(
        self,
        client_id: str,
        *,
        user_assertion: str | Callable[[], Awaitable[str]],
        client_secret: str | None = None,
        client_certificate: str | bytes | Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> None:
        assertion, secret, certificate = Secret(user_assertion), Secret(client_secret), Secret(client_certificate)
        given = Secret(options)  # an address may have a password in it
        del user_assertion, client_secret, client_certificate, options  # no frame that an error passes shows them
        check_names(type(self), given)
        settings = check_settings(client_id, **given.value)
        if (secret.value is None) == (certificate.value is None):
            raise explained(
                "on-behalf-of",
                TypeError("give one of client_secret and client_certificate: the service has to say who it is"),
            )
        if not callable(assertion.value):
            assertion = Secret(check_text("user_assertion", assertion.value, _WHAT))
        self._user_assertion = assertion
        known = check_secret("client_secret", secret, "the application's secret")
        super().__init__(msal_thread(settings, known or check_certificate(certificate)), shares_cache=False)

    async def _acquire(self, scopes: list[str], claims: str | None) -> Grant:
        if self._account is not None:
            with suppress(SignInRequiredError):
                return await super()._acquire(scopes, claims)
        assertion = Secret(await self._assertion())
        grant = await self._in_turn(
            lambda app: take(
                app,
                app.acquire_token_on_behalf_of(assertion.value, scopes, claims_challenge=claims),
                self._advice,
                self._msal.clock,
            ),
            assertion.value,
        )
        if self._account is not None and grant.account != self._account:
            raise explained(
                "on-behalf-of",
                TokenSourceError(
                    "user_assertion gave another user's token: make a credential for each", permanent=True
                ),
            )
        self._account = grant.account
        return grant

    async def _assertion(self) -> str:
        given: Any = self._user_assertion.value
        if isinstance(given, str):
            return given
        answer = Secret(given())  # a plain function, given by mistake, returns the assertion itself
        if not inspect.isawaitable(answer.value):
            kind = type(answer.value).__name__
            raise explained(
                "on-behalf-of", TypeError(f"user_assertion returned {kind}: give an async function, or the text")
            )
        assertion = Secret(await answer.value)
        return check_text("what user_assertion returns", assertion.value, _WHAT)
