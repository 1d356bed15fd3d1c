"""The resource that a connection string names: an HTTP client for it, and a user of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click
import httpx

from .. import AccessKeyCredential, CommunicationIdentityClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .. import ConnectionString

__all__ = ("http_client", "identity_client")


@asynccontextmanager
async def http_client() -> AsyncGenerator[httpx.AsyncClient]:
    """An HTTP client as the library makes one by default.

    Raises:
        click.ClickException: when the environment names certificates or proxies that cannot be used.
    """
    try:
        client = httpx.AsyncClient(timeout=httpx.Timeout(30, connect=10))
    except OSError as error:
        problem = f"certificates cannot be read ({error}): correct SSL_CERT_FILE or SSL_CERT_DIR"
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        problem = f"no HTTP client can be made ({error}): correct the proxies that the environment names"
    else:
        async with client:
            yield client
        return
    raise click.ClickException(problem)


@asynccontextmanager
async def identity_client(connection: ConnectionString) -> AsyncGenerator[CommunicationIdentityClient]:
    """An open client of the resource.

    Args:
        connection: Names it, and has its key.
    """
    key = AccessKeyCredential(connection.access_key)
    async with (
        http_client() as http,
        CommunicationIdentityClient(connection.endpoint, key, http_client=http) as client,
    ):
        yield client
