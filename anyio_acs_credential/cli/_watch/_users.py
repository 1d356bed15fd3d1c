"""Whose credential is watched: a user of the resource, or a person who signs in to Entra."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ... import CommunicationTokenCredential
from .._service import http_client, identity_client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from ... import ConnectionString
    from ._log import Log

    MakeCredential: TypeAlias = Callable[..., CommunicationTokenCredential]
    """Makes the user's credential. It takes the arguments that every credential takes, such as an observer."""


@dataclass(frozen=True)
class ResourceUser:
    """A user of the resource, whose tokens are issued with the resource's access key.

    Attributes:
        connection: The resource's endpoint and key.
        user: The raw id of an existing user; None to make one.
        scopes: The scopes of the tokens.
    """

    connection: ConnectionString
    user: str | None
    scopes: tuple[str, ...]

    @property
    def endpoint(self) -> str:
        """The resource's address."""
        return self.connection.endpoint

    @asynccontextmanager
    async def ready(self, log: Log) -> AsyncGenerator[MakeCredential]:
        """The user, who is made first where no raw id is given."""
        async with identity_client(self.connection) as identities:
            user = self.user
            if user is None:
                user = (await identities.create_user()).raw_id
                log.note("user_made", f"made the user {user}", identity=user)
            fetch_token = partial(identities.get_token, user, self.scopes)
            yield partial(CommunicationTokenCredential, token_refresher=fetch_token)


@dataclass(frozen=True)
class EntraUser:
    """A person who signs in with a device code, whose Entra tokens are exchanged.

    Attributes:
        endpoint: The resource's address.
        scopes: The scopes of the tokens.
        sign_in: Makes a `DeviceCodeCredential` from a `prompt_callback`.
    """

    endpoint: str
    scopes: tuple[str, ...]
    sign_in: Callable[..., AbstractAsyncContextManager[Any]]

    @asynccontextmanager
    async def ready(self, log: Log) -> AsyncGenerator[MakeCredential]:
        """The person, once signed in."""

        def ask(page: str, code: str, expires_on: int) -> None:
            text = f"To sign in, open {page} and enter the code {code}"
            log.note("sign_in_asked", text, verification_uri=page, user_code=code, expires_on=expires_on)

        async with http_client() as http, self.sign_in(prompt_callback=ask) as person:
            await person.sign_in(*self.scopes)
            log.note("signed_in", "signed in")
            yield partial(
                CommunicationTokenCredential,
                resource_endpoint=self.endpoint,
                token_credential=person,
                scopes=self.scopes,
                http_client=http,
            )
