"""Connections that need no thread of the program's own pools.

asyncio resolves names in its default executor, and trio with its default limiter. The program uses both, too; where all
of its threads wait for a token, the connection that would bring one must not wait for those threads.
"""

from __future__ import annotations

import socket
from functools import partial
from ipaddress import ip_address
from itertools import chain, zip_longest
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
from anyio import CapacityLimiter, Event, to_thread

from .._loops.closing import close_quietly
from .._loops.per_loop import PerLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from httpcore import AsyncNetworkStream

_LOOKUPS = 8  # lookups at the same time, abandoned ones included
_POLL = 0.05  # seconds between looks at whether one of those has ended
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


class _Resolver:
    """The system's resolver, in threads of one event loop.

    Attributes:
        limiter: Bounds the threads that are waited for.
    """

    def __init__(self) -> None:
        self.limiter = CapacityLimiter(_LOOKUPS)
        self._running = BoundedSemaphore(_LOOKUPS)  # an abandoned thread of asyncio's has left the limiter

    def ask(self, host: str) -> list[tuple[Any, ...]] | None:
        """What `getaddrinfo` says, or None where too many threads are asking."""
        if not self._running.acquire(blocking=False):
            return None
        try:
            return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        finally:
            self._running.release()


_RESOLVERS = PerLoop(_Resolver)


async def _resolve(host: str) -> list[str]:
    """The addresses of a host in the order in which to try them, the families in turn (RFC 8305, section 4)."""
    try:
        ip_address(host)
    except ValueError:
        resolver = _RESOLVERS.get()
    else:
        return [host]
    ask = partial(to_thread.run_sync, resolver.ask, host, abandon_on_cancel=True, limiter=resolver.limiter)
    try:
        while (found := await ask()) is None:  # noqa: ASYNC110 - an abandoned thread tells nobody that it has ended
            await anyio.sleep(_POLL)
    except (OSError, UnicodeError) as error:  # UnicodeError: IDNA refuses the name
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
