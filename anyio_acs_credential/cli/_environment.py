"""The environment variables by which a program finds the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpx import AsyncClient

from .. import CommunicationIdentityClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..emulator import Emulator


async def environment_of(emulator: Emulator) -> Mapping[str, str]:
    """Variables that name the emulator's resource, a user of it, and its Entra tenant. No real secret is in them.

    It makes the user, and waits for the emulator. Cancelling it closes the connection.
    """
    async with (
        AsyncClient(verify=emulator.ssl_context, trust_env=False) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as identity,
    ):
        user, token = await identity.create_user_and_token(["chat", "voip"])
    return {
        "ACS_CONNECTION_STRING": emulator.connection_string,
        "ACS_ENDPOINT": emulator.endpoint,
        "ACS_USER_ID": user.raw_id,
        "ACS_TOKEN": token.token,
        "ENTRA_AUTHORITY": f"{emulator.authority}/v2.0",
        "ENTRA_CLIENT_ID": emulator.client_id,
        "ENTRA_CLIENT_SECRET": emulator.client_secret,
        "AZURE_AUTHORITY_HOST": emulator.endpoint,
        "AZURE_CLIENT_ID": emulator.client_id,
        "AZURE_TENANT_ID": emulator.tenant_id,
        "SSL_CERT_FILE": emulator.ca_file,
        "REQUESTS_CA_BUNDLE": emulator.ca_file,  # azure-identity reads this one instead of SSL_CERT_FILE
    }
