"""The client of the Communication Services' identity REST API."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from anyio import AsyncContextManagerMixin

from .._answer import error_from, read_object
from .._attempt import Call
from .._endpoint import check_endpoint
from .._errors import CredentialUsageError
from .._http import Limits, client_factory, send
from ._connection import parse_connection_string
from ._keys import AccessKeyCredential, Signer
from ._wire import check_scopes, expiry, path_of, read_token, read_user

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from datetime import timedelta

    from .._answer import Answer
    from .._attempt import Authorize, HttpClient
    from .._token import AccessToken
    from ..identifiers import CommunicationUserIdentifier
    from ._keys import SupportsKey
    from ._wire import SupportsRawId

__all__ = ("CommunicationIdentityClient",)


class CommunicationIdentityClient(AsyncContextManagerMixin):
    """Makes users of a Communication Services resource, and issues and revokes their access tokens.

    Use it in an `async with` block. Every method waits for the network, for 30 seconds at most; cancelling one closes
    its connection. A call is tried three times where that is safe: what may have made a user is repeated only after
    a 429, or where nothing was sent.

    Args:
        endpoint: The resource's address, "https://<resource>.communication.azure.com".
        credential: An `AccessKeyCredential`, or anything with a `.key`, which is read at each request.
        http_client: An `httpx.AsyncClient` or `httpx2.AsyncClient` to use. It is not closed here. By default the
            block opens one of its own, which honours the environment's proxies and certificates.
        api_version: The version of the REST API.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when the endpoint or the key is not one.
    """

    _limits = Limits()

    def __init__(
        self,
        endpoint: str,
        credential: SupportsKey,
        *,
        http_client: HttpClient | None = None,
        api_version: str = "2023-10-01",
    ) -> None:
        self._endpoint = check_endpoint(endpoint)
        self._authorize = _authorizer(credential)
        self._make_client = client_factory(http_client)
        self._query = f"?api-version={quote(api_version, safe='')}"
        self._open: HttpClient | None = None

    @classmethod
    def from_connection_string(
        cls, text: str, *, http_client: HttpClient | None = None, api_version: str = "2023-10-01"
    ) -> Self:
        """A client for the resource and the key that a connection string names.

        Args:
            text: "endpoint=https://<resource>.communication.azure.com/;accesskey=<key>".
            http_client: As for the class.
            api_version: As for the class.

        Raises:
            TypeError: when it is not text.
            ValueError: when it is no connection string. The text is not repeated.
        """
        said = parse_connection_string(text)
        key = AccessKeyCredential(said.access_key)
        return cls(said.endpoint, key, http_client=http_client, api_version=api_version)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with self._make_client() as client:
            self._open = client
            try:
                yield self
            finally:
                self._open = None

    async def create_user(self) -> CommunicationUserIdentifier:
        """Make a user.

        Returns:
            The new user.

        Raises:
            TokenExchangeError: when the service refuses, cannot be reached or answers nonsense. It may have made the
                user all the same unless the status says otherwise.
            CredentialUsageError: outside the `async with` block.
        """
        answer = await self._call("POST", "/identities", {}, repeatable=False)
        return read_user(answer)

    async def create_user_and_token(
        self, scopes: Iterable[str], *, token_expires_in: timedelta | None = None
    ) -> tuple[CommunicationUserIdentifier, AccessToken]:
        """Make a user, and issue an access token for it, in one request.

        Args:
            scopes: What the token is good for, such as "chat" and "voip".
            token_expires_in: How long the token lives; see `get_token`.

        Returns:
            The new user and its token.

        Raises:
            TypeError: when an argument is of a wrong type.
            ValueError: when there are no scopes, or the time is not positive.
            TokenExchangeError: as for `create_user`.
            CredentialUsageError: outside the `async with` block.
        """
        body = {"createTokenWithScopes": check_scopes(scopes), **expiry(token_expires_in)}
        answer = await self._call("POST", "/identities", body, repeatable=False)
        return read_user(answer), read_token(answer, read_object(answer).get("accessToken"))

    async def get_token(
        self, user: SupportsRawId | str, scopes: Iterable[str], *, token_expires_in: timedelta | None = None
    ) -> AccessToken:
        """Issue a new access token for a user.

        `functools.partial(client.get_token, user, ["chat"])` is a token refresher.

        Args:
            user: An identifier, or its raw id.
            scopes: What the token is good for, such as "chat" and "voip".
            token_expires_in: How long it lives; None for the service's 24 hours. The service counts in whole minutes,
                from 60 to 1440: seconds beyond a minute are dropped, and less than a minute is sent as one.

        Returns:
            The token.

        Raises:
            TypeError: when an argument is of a wrong type.
            ValueError: when there are no scopes, or the time is not positive.
            TokenExchangeError: when the service refuses, cannot be reached or answers nonsense.
            CredentialUsageError: outside the `async with` block.
        """
        body = {"scopes": check_scopes(scopes), **expiry(token_expires_in)}
        answer = await self._call("POST", f"{path_of(user)}/:issueAccessToken", body)
        return read_token(answer, read_object(answer))

    async def revoke_tokens(self, user: SupportsRawId | str) -> None:
        """Revoke every access token that was issued for a user.

        Args:
            user: An identifier, or its raw id.

        Raises:
            TypeError: when the user is neither.
            TokenExchangeError: when the service refuses, cannot be reached or answers nonsense.
            CredentialUsageError: outside the `async with` block.
        """
        await self._call("POST", f"{path_of(user)}/:revokeAccessTokens")

    async def _call(
        self, method: str, path: str, content: Mapping[str, Any] | None = None, *, repeatable: bool = True
    ) -> Answer:
        if self._open is None:
            raise CredentialUsageError("the identity client is not open: use it inside `async with client:`")
        body = None if content is None else json.dumps(content).encode()
        call = Call(method, f"{self._endpoint}{path}{self._query}", body, repeatable)
        answer = await send(self._open, call, self._authorize, self._limits)
        if not answer.is_success:
            raise error_from(answer)
        return answer


def _authorizer(credential: SupportsKey) -> Authorize:
    """How a credential authorizes a request. An Entra token credential needs another answer here."""
    if not hasattr(credential, "key"):
        raise TypeError(
            f"credential is {type(credential).__name__}: give AccessKeyCredential(key), or another object with a `.key`"
        )
    signer = Signer(credential)

    async def authorize(request: Any) -> None:
        signer(request)

    return authorize
