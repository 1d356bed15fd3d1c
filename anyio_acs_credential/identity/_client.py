"""The client of the Identity REST API of Communication Services.

The API is documented at https://learn.microsoft.com/rest/api/communication/identity/communication-identity.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Literal, Self

from anyio.lowlevel import checkpoint_if_cancelled

from .._common.errors import CredentialUsageError, explained
from .._common.redaction import Secret
from .._exchange.issued import read_issued
from .._http.answer import error_from, read_object
from .._http.endpoint import check_endpoint
from .._http.own_client import client_factory
from .._http.request import Call
from .._http.retries import Limits
from .._loops.block import Block, check_entering, leaving
from .._loops.home import Home
from .._tokens.service_clock import ServiceClock
from ._authorization import authorization_of
from ._connection import parse_connection_string
from ._keys import AccessKeyCredential
from ._teams_phone import (
    ASSIGNMENTS_QUERY,
    TeamsPhoneAssignment,
    assignment_body,
    assignment_path,
    read_assignment,
    refuse_assignment,
)
from ._wire import check_id, check_scopes, expiry, path_of, query_of, read_user, text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta
    from types import TracebackType

    from .._exchange.entra_tokens import SupportsGetToken
    from .._http.answer import Answer
    from .._http.request import HttpClient
    from .._tokens.access_token import AccessToken
    from .._tokens.clock import Clock
    from ..identifiers._kinds import CommunicationUserIdentifier
    from ._keys import SupportsKey
    from ._wire import SupportsRawId, SupportsToken


class CommunicationIdentityClient:
    """Makes and deletes users of a Communication Services resource, and issues and revokes their access tokens.

    It also reads and sets who may use Teams Phone through the resource. Use it in an `async with` block, from as many
    tasks at once as you like: they share its connections. Every method waits for the network, and for an Entra token
    where the credential gives those, for 30 seconds at most. Cancelling a call closes its connection; the service may
    have done the work all the same. A call is tried three times where that is safe: a call that makes a user is
    repeated only after a 429, or where nothing was sent.

    Where this machine's clock is wrong, signatures with an access key are dated by the service's clock from its first
    answer on. Requests that were signed before that answer are refused once each, and sent again by themselves.

    Args:
        endpoint: The resource's address, `https://<resource>.communication.azure.com`.
        credential: An `AccessKeyCredential`; anything with a `.key`, which is read at each request; or an Entra token
            credential, async or plain, whose identity may manage the resource. A plain one is called in a worker
            thread. Its tokens are held until 5 minutes before their expiry, and a claims challenge is answered once.
        http_client: An `httpx.AsyncClient` or `httpx2.AsyncClient` to use, which is not closed here. By default the
            block opens one of its own, which honours the environment's proxies and certificates. It looks up names
            without asyncio's default executor or trio's default limiter; a client of yours needs a place there.
            Entering raises a permanent `ServiceError` where the environment names a proxy or certificates that cannot
            be used.
        api_version: The version of the REST API. The methods about Teams Phone use a version of their own.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when the endpoint is not an https address, or the key is not base64.
    """

    _limits = Limits()
    _clock: Clock = time

    def __init__(
        self,
        endpoint: str,
        credential: SupportsKey | SupportsGetToken,
        *,
        http_client: HttpClient | None = None,
        api_version: str = "2023-10-01",
    ) -> None:
        # Perhaps a password in the address, or a key's text by mistake: no frame that an error passes shows them.
        hidden, address, client = Secret(credential), Secret(endpoint), Secret(http_client)
        del credential, endpoint, http_client
        self._endpoint = check_endpoint(address.value)
        self._service = ServiceClock(self._endpoint, self._clock)
        self._authorization = authorization_of(hidden.value, self._service)
        self._make_client = client_factory(client.value)
        import jwt.api_jws  # noqa: F401 - reads expiries; imported here, so that no call stalls the event loop by it

        self._query = query_of(api_version)
        self._open: HttpClient | None = None
        self._client: AbstractAsyncContextManager[HttpClient]
        self._block: Block | None = None
        self._home: Home | None = None

    @classmethod
    def from_connection_string(
        cls, text: str, *, http_client: HttpClient | None = None, api_version: str = "2023-10-01"
    ) -> Self:
        """A client for the resource and the key that a connection string names.

        Args:
            text: `endpoint=https://<resource>.communication.azure.com/;accesskey=<key>`.
            http_client: As for the class.
            api_version: As for the class.

        Raises:
            TypeError: when it is not text.
            ValueError: when it is not a connection string. The message does not repeat it.
        """
        hidden, client = Secret(text), Secret(http_client)
        del text, http_client  # no frame that an error passes shows them
        said = parse_connection_string(hidden.value)
        key = AccessKeyCredential(said.access_key)
        return cls(said.endpoint, key, http_client=client.value, api_version=api_version)

    async def __aenter__(self) -> Self:
        check_entering(self._block, "the identity client")
        block, client = Block(), self._make_client()
        await block.__aenter__()
        self._open = await client.__aenter__()
        self._home = Home(
            "identity client",
            "the identity client was entered in another event loop: enter it, and the credential whose token "
            "source it is, in the same one",
        )
        self._block, self._client = block, client
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        block = leaving(self._block)
        self._block = self._open = None
        if block is not None:
            await self._client.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - it closes sockets alone

    async def create_user(self) -> CommunicationUserIdentifier:
        """Make a user.

        It waits for the service. Cancelling it closes the connection; the user may have been made all the same.

        Returns:
            The new user.

        Raises:
            ServiceError: when the service refuses, cannot be reached or answers nonsense. Unless the status says
                otherwise, the user may have been made all the same.
            TokenSourceError: when the Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        return read_user(_check(await self._send("POST", "/identities", {}, repeatable=False)))

    async def create_user_and_token(
        self, scopes: Iterable[str], *, token_expires_in: timedelta | None = None
    ) -> tuple[CommunicationUserIdentifier, AccessToken]:
        """Make a user, and issue an access token for it, in one request.

        It waits for the service. Cancelling it closes the connection; the user may have been made all the same.

        Args:
            scopes: What the token is good for, such as "chat" and "voip".
            token_expires_in: How long the token lives, from 60 to 1440 minutes; see `get_token`.

        Returns:
            The new user and its token.

        Raises:
            TypeError: when an argument is of a wrong type.
            ValueError: when there is no scope, or `token_expires_in` is out of bounds.
            ServiceError: as for `create_user`.
            TokenSourceError: when the Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        body = {"createTokenWithScopes": check_scopes(scopes), **expiry(token_expires_in)}
        answer = _check(await self._send("POST", "/identities", body, repeatable=False))
        return read_user(answer), read_issued(answer, read_object(answer).get("accessToken"), self._service)

    async def get_token(
        self, user: SupportsRawId | str, scopes: Iterable[str], *, token_expires_in: timedelta | None = None
    ) -> AccessToken:
        """Issue a new access token for a user.

        It waits for the service; cancelling it closes the connection.
        `functools.partial(client.get_token, user, ["chat"])` is a token refresher.

        Args:
            user: An identifier, or its raw id.
            scopes: What the token is good for, such as "chat" and "voip".
            token_expires_in: How long the token lives, from 60 to 1440 minutes, which are the bounds of the REST API's
                `expiresInMinutes`; None for the service's default of 24 hours. Seconds beyond a whole minute are
                dropped, since the service counts in minutes.

        Returns:
            The token.

        Raises:
            TypeError: when an argument is of a wrong type.
            ValueError: when there is no scope, or `token_expires_in` is out of bounds.
            ServiceError: when the service refuses, cannot be reached or answers nonsense.
            TokenSourceError: when the Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        body = {"scopes": check_scopes(scopes), **expiry(token_expires_in)}
        answer = _check(await self._send("POST", f"{path_of(user)}/:issueAccessToken", body))
        return read_issued(answer, read_object(answer), self._service)

    async def revoke_tokens(self, user: SupportsRawId | str) -> None:
        """Revoke every access token that was issued for a user.

        It waits for the service. Cancelling it closes the connection; the tokens may have been revoked all the same.

        Args:
            user: An identifier, or its raw id.

        Raises:
            TypeError: when `user` is neither an identifier nor text.
            ServiceError: when the service refuses, cannot be reached or answers nonsense.
            TokenSourceError: when the Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        _check(await self._send("POST", f"{path_of(user)}/:revokeAccessTokens"))

    async def delete_user(self, user: SupportsRawId | str) -> None:
        """Delete a user with all its data, and revoke its access tokens.

        It waits for the service. Cancelling it closes the connection; the user may have been deleted all the same.
        Where an answer is lost, the request is repeated, and a 404 to the repetition counts as success.

        Args:
            user: An identifier, or its raw id.

        Raises:
            TypeError: when `user` is neither an identifier nor text.
            ServiceError: when the service refuses, cannot be reached or answers nonsense.
            TokenSourceError: when the Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        answer = await self._send("DELETE", path_of(user))
        if not (answer.status == 404 and answer.repeated):
            _check(answer)

    async def get_token_for_teams_user(
        self,
        aad_token: str | SupportsToken | Callable[[], Awaitable[str | SupportsToken]],
        client_id: str,
        user_object_id: str,
    ) -> AccessToken:
        """Exchange an Entra token of a Teams user for an access token, which expires when the Entra token does.

        It waits for the service; cancelling it closes the connection. With an async function in place of the token, it
        makes a token refresher:
        `functools.partial(client.get_token_for_teams_user, get_entra_token, client_id, user_object_id)`.

        Args:
            aad_token: The user's Entra token, with the scopes
                "https://auth.msft.communication.azure.com/Teams.ManageCalls" and ".../Teams.ManageChats": its text,
                an object with a `.token`, or an async function without arguments that returns either. The function is
                waited for without a time limit.
            client_id: The application that the token was issued to; the service compares it with the token's `appid`.
            user_object_id: The user's object id in Entra; the service compares it with the token's `oid`.

        Returns:
            The token.

        Raises:
            TypeError: when an argument is of a wrong type.
            ValueError: when an id is empty.
            InvalidTokenError: when the Entra token is not usable text.
            ServiceError: when the service refuses, cannot be reached or answers nonsense.
            TokenSourceError: when the client's own Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        given, application, user = Secret(aad_token), Secret(client_id), Secret(user_object_id)
        del aad_token, client_id, user_object_id  # no frame that an error passes shows the token, wherever it was given
        ids = {
            "appId": Secret(check_id("client_id", application.value)),
            "userId": Secret(check_id("user_object_id", user.value)),
        }
        await checkpoint_if_cancelled()
        token = Secret(await text_of(given.value))
        answer = await self._send("POST", "/teamsUser/:exchangeAccessToken", {"token": token, **ids}, secret=token)
        return read_issued(answer, read_object(_check(answer)), self._service)

    async def get_teams_phone_assignment(self, tenant_id: str, object_id: str) -> TeamsPhoneAssignment:
        """Whether somebody may use Teams Phone through this resource, and how.

        It waits for the service; cancelling it closes the connection.

        Args:
            tenant_id: The Entra tenant of the person or of the Teams resource account.
            object_id: Its object id there.

        Returns:
            The assignment.

        Raises:
            TypeError: when an id is not text.
            ValueError: when an id does not have the form of an Entra id.
            ServiceError: with the status 404 when there is no assignment; with 403 and the code
                "SubscriptionNotAllowed" when the resource's subscription may not use Teams Phone Extensibility; and
                when the service refuses otherwise, cannot be reached or answers nonsense.
            TokenSourceError: when the Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        return await self._assign("GET", tenant_id, object_id)

    async def set_teams_phone_assignment(
        self,
        tenant_id: str,
        object_id: str,
        *,
        principal_type: Literal["user", "resource_account"],
        client_ids: Iterable[str] = (),
    ) -> TeamsPhoneAssignment:
        """Let somebody use Teams Phone through this resource. It replaces an earlier assignment to the same principal.

        From then on, the service exchanges a person's Entra token for `TEAMS_PHONE_SCOPE`, and calls to a Teams
        resource account reach the resource. It waits for the service. Cancelling it closes the connection; the
        assignment may have been made all the same, and making it again does no harm.

        Args:
            tenant_id: The Entra tenant of the person or of the Teams resource account.
            object_id: Its object id there.
            principal_type: Which of the two it is: "user" or "resource_account".
            client_ids: The applications that a person may use; empty to leave them unnamed.

        Returns:
            The assignment, as the service has it now.

        Raises:
            TypeError: when an argument is of a wrong type.
            ValueError: when an id does not have the form of an Entra id, a client id is empty, or `principal_type` is
                unknown.
            ServiceError: as for `get_teams_phone_assignment`.
            TokenSourceError: when the Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        return await self._assign("PUT", tenant_id, object_id, assignment_body(principal_type, client_ids))

    async def delete_teams_phone_assignment(self, tenant_id: str, object_id: str) -> None:
        """Remove somebody's right to use Teams Phone through this resource.

        It waits for the service. Cancelling it closes the connection; the assignment may be gone all the same. Where an
        answer is lost, the request is repeated, and a 404 to the repetition counts as success.

        Args:
            tenant_id: The Entra tenant of the person or of the Teams resource account.
            object_id: Its object id there.

        Raises:
            TypeError: when an id is not text.
            ValueError: when an id does not have the form of an Entra id.
            ServiceError: as for `get_teams_phone_assignment`.
            TokenSourceError: when the Entra token credential gives no token.
            CredentialUsageError: outside the `async with` block, or in another event loop.
        """
        answer = await self._send("DELETE", assignment_path(tenant_id, object_id), query=ASSIGNMENTS_QUERY)
        if not (answer.is_success or (answer.status == 404 and answer.repeated)):
            refuse_assignment(answer, tenant_id, object_id)

    async def _assign(
        self, method: str, tenant_id: str, object_id: str, body: Mapping[str, Any] | None = None
    ) -> TeamsPhoneAssignment:
        path = assignment_path(tenant_id, object_id)
        answer = await self._send(method, path, body, query=ASSIGNMENTS_QUERY)
        if not answer.is_success:
            refuse_assignment(answer, tenant_id, object_id)
        return read_assignment(answer, tenant_id, object_id)

    async def _send(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        *,
        query: str = "",
        repeatable: bool = True,
        secret: Secret | None = None,
    ) -> Answer:
        if self._open is None or self._home is None:
            raise explained(
                "identity-client-not-open",
                CredentialUsageError("the identity client is not open: use it inside `async with client:`"),
            )
        self._home.check()
        url = f"{self._endpoint}{path}{query or self._query}"
        call = Call(
            method,
            url,
            _body_of(content),
            repeatable,
            () if secret is None else (secret.value,),  # not in a local variable: an error passes this frame
            self._clock,
            self._service.learn,
        )
        return await self._authorization.send(self._open, call, self._limits)


def _body_of(content: Mapping[str, Any] | None) -> bytes | None:
    return None if content is None else json.dumps(content, default=lambda secret: secret.value).encode()


def _check(answer: Answer) -> Answer:
    if not answer.is_success:
        raise error_from(answer)
    return answer
