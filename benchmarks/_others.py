"""Other libraries' ways to a token, each on a token source of ours, so that none asks a network."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client
from azure.communication.chat.aio import CommunicationTokenCredential as OfficialCredential
from azure.core.credentials import AccessToken
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy
from azure.core.pipeline.transport import AsyncHttpTransport, HttpRequest
from azure.identity.aio import ClientSecretCredential

from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

    Ask = Callable[[], Awaitable[object]]
    """What a program awaits for a token, and what a library awaits for the next one."""

_SCOPE = "https://communication.azure.com/.default"
_ANSWER = json.dumps({"access_token": "token", "expires_in": 3600, "token_type": "Bearer", "refresh_token": "again"})
_JSON = {"content-type": "application/json"}


def official(life: float, fetch: Ask, **options: Any) -> OfficialCredential:
    """The official credential, with a token that lives so many seconds.

    Never let two tasks ask it for an expired token but in a process that can be killed: its event loop freezes.
    """

    async def refresher() -> AccessToken:
        await fetch()
        return AccessToken(make_jwt(3600), int(time.time()) + 3600)

    return OfficialCredential(make_jwt(life), token_refresher=refresher, **options)


class _Credential:
    def __init__(self, fetch: Ask) -> None:
        self._fetch = fetch

    async def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        await self._fetch()
        return AccessToken("token", int(time.time()) + 3600)


def azure_core(fetch: Ask) -> Ask:
    """azure-core's policy, which keeps the token of a credential that fetches at every call."""
    policy: Any = AsyncBearerTokenCredentialPolicy(_Credential(fetch), "scope")  # type: ignore[arg-type]  # its shape is enough for azure-core
    return partial(policy.on_request, PipelineRequest(HttpRequest("GET", "https://localhost"), PipelineContext(None)))


class _Answer:
    """A token endpoint's answer, as azure-core's pipeline reads it."""

    status_code = 200
    reason = "OK"
    content_type = _JSON["content-type"]
    headers = _JSON

    def __init__(self, request: object) -> None:
        self.request = request

    def text(self, _encoding: str | None = None) -> str:
        return _ANSWER

    def body(self) -> bytes:
        return _ANSWER.encode()


class _Transport(AsyncHttpTransport[Any, Any]):
    def __init__(self, fetch: Ask) -> None:
        self._fetch = fetch

    async def send(self, request: object, **_options: object) -> _Answer:
        await self._fetch()
        return _Answer(request)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def __aexit__(self, *_error: object) -> None: ...


async def azure_identity(fetch: Ask, stack: AsyncExitStack) -> Ask:
    """azure-identity's client secret credential, which caches tokens as MSAL does."""
    credential = ClientSecretCredential("tenant", "client", "secret", transport=_Transport(fetch), retry_total=0)
    await stack.enter_async_context(credential)
    return partial(credential.get_token, _SCOPE)


async def authlib(life: float, fetch: Ask, stack: AsyncExitStack) -> Ask:
    """Authlib's client, which renews a token that ends in so many seconds under a lock, before a request."""

    async def answer(_request: httpx2.Request) -> httpx2.Response:
        await fetch()
        return httpx2.Response(200, text=_ANSWER, headers=_JSON)

    client = AsyncOAuth2Client(
        "client",
        token={"access_token": "token", "refresh_token": "again", "expires_at": int(time.time() + life)},
        token_endpoint="https://localhost/token",
        transport=httpx2.MockTransport(answer),
    )
    await stack.enter_async_context(client)
    return partial(client.ensure_active_token, client.token)
