"""Connections that need no thread of the program's own pools.

asyncio resolves names in its default executor, and trio with its default limiter. The program uses both, too; where all
of its threads wait for a token, the connection that would bring one must not wait for those threads.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
from anyio import CapacityLimiter, Event

from .._loops.closing import close_quietly
from .._loops.own_thread import in_own_thread
from .._loops.per_loop import PerLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from httpcore import AsyncNetworkStream

_HEAD_START = 0.25  # seconds that an address is given before the next one is tried as well (RFC 8305, section 5)


class Network(httpcore.AnyIOBackend):
    """How httpcore connects, on asyncio and trio alike."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """A connection to the first of a host's addresses that takes one.

        It waits for the resolver and for the host. Cancelling it closes what is open, and abandons the lookup's thread.

        Args:
            host: A name in ASCII, or an address.
            port: The port.
            timeout: Seconds for all of it; None for as long as it takes.
            local_address: The address to connect from; see httpcore.
            socket_options: Options of the socket; see httpcore.

        Returns:
            The connection.

        Raises:
            httpcore.ConnectTimeout: when it takes longer.
            httpcore.ConnectError: when there is no such host, or the host takes no connection.
        """
        connect = partial(super().connect_tcp, port=port, local_address=local_address, socket_options=socket_options)
        with anyio.move_on_after(timeout):
            return await _race(await _resolve(host), connect)
        raise httpcore.ConnectTimeout(f"no connection within {timeout:g} seconds")


_LOOKUPS = PerLoop(lambda: CapacityLimiter(8))  # at the same time, abandoned ones included


async def ask_resolver(host: str) -> list[Any]:
    """What the system's resolver says of a host.

    It waits for one of the threads in which this event loop asks, and for the resolver. Cancelling it abandons the
    thread.

    Args:
        host: The name.

    Returns:
        What `socket.getaddrinfo` returns.

    Raises:
        OSError: when the host has no address.
        UnicodeError: when IDNA refuses the name.
    """
    ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    return await in_own_thread(ask, limiter=_LOOKUPS.get())


async def _resolve(host: str) -> list[str]:
    """The addresses of a host in the order in which to try them, the families in turn (RFC 8305, section 4)."""
    with suppress(ValueError):
        ip_address(host)
        return [host]
    try:
        found = await ask_resolver(host)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    families: dict[int, list[str]] = {}
    for family, *_, address in found:
        families.setdefault(family, []).append(address[0])
    return [address for address in chain(*zip_longest(*families.values())) if address is not None]


async def _race(addresses: list[str], connect: Callable[[str], Awaitable[AsyncNetworkStream]]) -> AsyncNetworkStream:
    """The first connection to one of the addresses, which are tried one after another, each with a head start."""
    first: AsyncNetworkStream | None = None
    errors: list[Exception] = []

    async def run(address: str, ended: Event) -> None:
        nonlocal first
        try:
            stream = await connect(address)
        except Exception as error:  # noqa: BLE001 - whatever keeps one address from connecting, another may
            errors.append(error)
        else:
            if first is None:
                first = stream
                group.cancel_scope.cancel("there is a connection")
            else:
                await close_quietly(stream.aclose)
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                ended = Event()
                group.start_soon(run, address, ended)
                with anyio.move_on_after(_HEAD_START):
                    await ended.wait()
    except BaseException:
        if first is not None:
            await close_quietly(first.aclose)  # noqa: ASYNC102 - it is shielded
        raise
    if first is None:
        raise errors.pop()
    return first
