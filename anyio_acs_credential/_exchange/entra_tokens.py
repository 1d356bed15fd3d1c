"""Entra tokens from other people's credentials: anything with `get_token(*scopes)`, async or plain.

The rules of this file:

* A plain (synchronous) credential is called in a thread of its own, never on the event loop. A thread cannot be
  stopped, so a cancelled caller abandons the call there, and the next call begins when the abandoned one has returned.
* Only a coroutine function is called on the event loop. Everything else is called in a thread, since it might block;
  if it returns an awaitable, that is awaited on the loop.
* The credential belongs to the caller, who closes it.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import time
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from .._common.errors import InvalidTokenError, SignInRequiredError, TokenSourceError, explained, name_of
from .._common.public import public
from .._common.redaction import Secret, redact
from .._loops.own_thread import in_own_thread
from .._tokens.results import accept
from .entra_codes import Cure, cure_for, cure_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._tokens.access_token import AccessToken

_POLL = 0.05  # seconds between looks at a call that was abandoned in its thread

# Errors are recognised by the names of their classes and by their text, so that azure-identity need not be imported.
# It raises one class for a refusal and for a network that is down, and often without a status.
_REFUSED = {400, 401, 403}
# Seconds for which MSAL's HTTP cache repeats a refusal (msal.throttled_http_client); a repeated refusal reaches us from
# azure-identity without the answer that would say what it was.
_MEMORY = 60.0
_NEEDS_ASYNCIO = ("no running event loop", "framework like asyncio")


class SupportsGetToken(Protocol):
    """A credential of this package, of azure-identity, or of a user's own."""

    def get_token(self, *scopes: str) -> Any:
        """An object with `.token` and `.expires_on` (Unix seconds), or an awaitable that returns one.

        It may take a keyword `claims` as well: the claims of a challenge, which the token has to meet.

        Args:
            scopes: What the Entra token is for.
        """
        ...


class EntraTokenSource:
    """Asks a token credential for Entra tokens, one at a time.

    Args:
        credential: Anything with `get_token(*scopes)`, azure-identity's credentials included. It is never closed here.

    Raises:
        TypeError: when the credential has no such method.
    """

    def __init__(self, credential: SupportsGetToken) -> None:
        hidden = Secret(credential)
        del credential  # no frame that an error passes shows it: it may be a token by mistake, or have a repr that does
        get_token = getattr(hidden.value, "get_token", None)
        if isinstance(hidden.value, type) or not callable(get_token):
            raise explained(
                "token-credential",
                TypeError(
                    f"token_credential is {name_of(hidden.value)}: give an object with get_token(*scopes), such as a "
                    "credential of anyio_acs_credential.entra or of azure-identity"
                ),
            )
        self._credential = hidden.value
        self._name = name_of(hidden.value)
        self._get_token: Callable[..., Any] = get_token
        self._is_async = inspect.iscoroutinefunction(get_token)
        self._takes_claims = _takes_claims(get_token)
        self._calling: dict[int, Lock] = {}
        self._passing_until = -math.inf

    @property
    def sign_ins(self) -> object:
        """A value that changes when a person signs in to the credential; None where the credential has none."""
        return getattr(self._credential, "sign_ins", None)

    async def get(self, scopes: tuple[str, ...], claims: str | None = None) -> AccessToken:
        """An Entra token.

        It waits for the credential. Cancelling it cancels an async credential, and abandons a plain one in its thread.

        Args:
            scopes: What the token is for.
            claims: The claims of a challenge that the token has to meet; dropped where the credential takes no claims.

        Raises:
            TokenSourceError: when the credential returns no token, needs asyncio and runs on trio, or says that trying
                again cannot help. Any other error of the credential passes unchanged.
        """
        await checkpoint_if_cancelled()
        options = {"claims": claims} if claims is not None and self._takes_claims else {}
        try:
            answer = Secret(await self._ask(scopes, options))
        except Exception as error:
            if (meaning := self._meaning(error)) is None:
                raise
            raise meaning from error
        return self._accept(answer)

    async def _ask(self, scopes: tuple[str, ...], options: Mapping[str, str]) -> object:
        if self._is_async:
            return await self._get_token(*scopes, **options)
        while True:
            answer = await in_own_thread(self._call, scopes, options)
            if answer is not None:
                return await answer[0] if inspect.isawaitable(answer[0]) else answer[0]
            # Polling, since the call in progress may be that of another event loop, which has no way to wake this one.
            await anyio.sleep(_POLL)

    def _call(self, scopes: tuple[str, ...], options: Mapping[str, str]) -> tuple[Any] | None:
        # One lock per process: a call in progress at a fork ends in the parent alone, and a child would wait for ever.
        calling = self._calling.setdefault(os.getpid(), Lock())
        if not calling.acquire(blocking=False):
            return None
        try:
            return (self._get_token(*scopes, **options),)  # in a tuple, since a credential may return None
        finally:
            calling.release()

    def _accept(self, answer: Secret) -> AccessToken:
        try:
            return accept(answer.value)
        except InvalidTokenError as error:
            fault = str(error)
        raise explained(
            "token-credential-failed",
            TokenSourceError(f"the token credential ({self._name}) gave no token that can be exchanged: {fault}"),
        )

    def _meaning(self, error: Exception) -> TokenSourceError | None:
        """Our error for one of the credential's, where it tells more than that the call failed; else None."""
        names = {cls.__name__ for cls in type(error).__mro__}
        text = str(error)
        if any(sign in text for sign in _NEEDS_ASYNCIO):
            return explained(
                "token-credential-failed",
                TokenSourceError(
                    f"the token credential ({self._name}) needs asyncio's event loop: on trio, use a plain credential "
                    "of azure-identity (from azure.identity, not azure.identity.aio) or one of "
                    "anyio_acs_credential.entra",
                    permanent=True,
                ),
            )
        if "ClientAuthenticationError" not in names and "AuthenticationRequiredError" not in names:
            return None
        cure = _cure(error, text)
        if "AuthenticationRequiredError" in names:
            if cure is Cure.TIME:
                self._passing_until = time.monotonic() + _MEMORY
            if time.monotonic() < self._passing_until and cure in (Cure.TIME, None):
                return None
            return explained(
                "sign-in-required",
                SignInRequiredError(f"only a person can sign in: call authenticate(), then refresh(). {redact(text)}"),
            )
        if cure is Cure.SETUP or cure is Cure.PERSON:
            return explained(
                "token-credential-failed",
                TokenSourceError(
                    f"Entra refused the token credential ({self._name}): correct it, then call refresh(). "
                    f"{redact(text)}",
                    permanent=True,
                ),
            )
        return None


def _cure(error: Exception, text: str) -> Cure | None:
    status = getattr(error, "status_code", None)
    if status is not None and status not in _REFUSED:
        return Cure.TIME
    with suppress(Exception):  # a foreign response may lack anything, or raise anything
        answer = json.loads(error.response.text())  # type: ignore[attr-defined]  # azure-core's error
        if "error" in answer:
            return cure_for(answer)
    if (told := cure_in(text)) is not None:
        return told
    return None if status is None else Cure.SETUP


def _takes_claims(get_token: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(get_token).parameters.values()
    except (TypeError, ValueError):
        return True  # some callables written in C have no signature
    return any(each.name == "claims" or each.kind is each.VAR_KEYWORD for each in parameters)


public(SupportsGetToken, module="typing")
