"""The resource that a connection string names: an HTTP client for it, and a user of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .. import AccessKeyCredential, CommunicationIdentityClient
from .._http.own_client import client_factory

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .. import ConnectionString


http_client = client_factory(None)
"""Makes an HTTP client as the library does by default."""


@asynccontextmanager
async def identity_client(connection: ConnectionString) -> AsyncGenerator[CommunicationIdentityClient]:
    """An open client of the resource.

    Args:
        connection: The resource's endpoint and key.
    """
    key = AccessKeyCredential(connection.access_key)
    async with (
        http_client() as http,
        CommunicationIdentityClient(connection.endpoint, key, http_client=http) as client,
    ):
        yield client
