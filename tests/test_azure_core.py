"""The credential in azure-core's pipelines, by its shape alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest
from azure.core import AsyncPipelineClient
from azure.core.credentials_async import AsyncSupportsTokenInfo
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy
from azure.core.rest import HttpRequest

from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.testing import make_jwt

THREADS = "/chat/threads?api-version=2024-03-07"


def a_transport(backend: str, ca_file: str) -> Any:
    if backend == "trio":
        from azure.core.pipeline.transport import TrioRequestsTransport

        return TrioRequestsTransport(connection_verify=ca_file)
    from azure.core.pipeline.transport import AioHttpTransport

    return AioHttpTransport(connection_verify=ca_file)


@pytest.fixture(params=[("asyncio", {}), ("trio", {})], ids=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_its_bearer_policy_sends_the_newest_token(anyio_backend_name: str) -> None:
    """Each request carries the token that is held at that moment, also after a refresh that the client knows not of."""
    async with open_emulator() as emulator, httpx.AsyncClient(verify=emulator.ssl_context) as http:
        identity = CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http)
        async with identity:
            user = await identity.create_user()
            refresher = partial(identity.get_token, user, ["chat"])
            async with CommunicationTokenCredential(token_refresher=refresher) as credential:
                policy: Any = AsyncBearerTokenCredentialPolicy(credential, "scope")  # type: ignore[arg-type]
                transport = a_transport(anyio_backend_name, emulator.ca_file)
                client: Any = AsyncPipelineClient(emulator.endpoint, policies=[policy], transport=transport)
                async with client:
                    assert (
                        await client.send_request(HttpRequest("GET", emulator.endpoint + THREADS))
                    ).status_code == 200
                    await identity.revoke_tokens(user)
                    await credential.refresh()
                    assert (
                        await client.send_request(HttpRequest("GET", emulator.endpoint + THREADS))
                    ).status_code == 200


def test_its_protocol_is_met() -> None:
    """azure-core recognises the credential as one that gives token info."""
    assert isinstance(CommunicationTokenCredential(make_jwt()), AsyncSupportsTokenInfo)
