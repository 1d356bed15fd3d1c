"""A user of the emulator, whose credential renews its token through the identity client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential
from anyio_acs_credential.emulator import open_emulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio_acs_credential.emulator import Emulator


@asynccontextmanager
async def a_user() -> AsyncGenerator[tuple[Emulator, CommunicationTokenCredential, CommunicationIdentityClient, Any]]:
    """An emulator, and a credential of a user there, with the identity client that it refreshes from."""
    async with open_emulator() as emulator, httpx.AsyncClient(verify=emulator.ssl_context) as http:
        client = CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http)
        async with client:
            user = await client.create_user()
            refresher = partial(client.get_token, user, ["chat"])
            async with CommunicationTokenCredential(token_refresher=refresher) as credential:
                await credential.get_token()
                yield emulator, credential, client, user
