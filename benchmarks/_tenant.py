"""An emulated Entra tenant in a process of its own, whose work is not measured with ours."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
from anyio import to_thread

from anyio_acs_credential.emulator import open_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from anyio_acs_credential.emulator import Emulator

SCOPE = "https://communication.azure.com/clients/.default"


class Tenant(NamedTuple):
    """What a client has to know, in whichever process it is.

    Attributes:
        endpoint: The Communication Services resource.
        authority: Where users sign in.
        client_id: The application.
        client_secret: Its secret.
        ca_file: Whom to trust.
        assertion: What a user called the application with.
        entra_token: What the resource exchanges.
    """

    endpoint: str
    authority: str
    client_id: str
    client_secret: str
    ca_file: str
    assertion: str
    entra_token: str


@contextmanager
def tenant_apart(fault: str = "", *arguments: Any) -> Iterator[Tenant]:
    """A tenant for the length of the block.

    Args:
        fault: The name of the emulator's method that orders a fault; none without.
        arguments: Of that method.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_live, args=(theirs, fault, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _live(connection: Connection, fault: str, arguments: tuple[Any, ...]) -> None:
    anyio.run(partial(_serve, connection, fault, arguments))


async def _serve(connection: Connection, fault: str, arguments: tuple[Any, ...]) -> None:
    async with open_emulator(device_code_interval=1) as emulator:
        if fault:
            getattr(emulator, fault)(*arguments)
        connection.send(_as_seen(emulator))
        await to_thread.run_sync(connection.poll, None)  # until the other end is closed


def _as_seen(emulator: Emulator) -> Tenant:
    return Tenant(
        emulator.endpoint,
        emulator.authority,
        emulator.client_id,
        emulator.client_secret,
        emulator.ca_file,
        assertion_of(emulator, "alice"),
        emulator.issue_entra_token(SCOPE, user="alice"),
    )


def assertion_of(emulator: Emulator, user: str) -> str:
    """What a user calls the tenant's application with."""
    return emulator.issue_entra_token(f"api://{emulator.client_id}/access_as_user", user=user)
