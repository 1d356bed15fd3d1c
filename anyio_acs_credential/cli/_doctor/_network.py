"""The checks of the network: which host is asked first, its addresses, and whether it accepts a connection."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

import anyio
import httpcore

from ..._common.chains import chain_of
from ..._http.environment import Exemptions, find_proxy
from ..._http.network import Network, ask_resolver
from ..._loops.closing import close_quietly
from ._finding import Finding, failure, not_tried, ok

if TYPE_CHECKING:
    from ._case import Case

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


class Way(NamedTuple):
    """Where requests go first.

    Attributes:
        host: The resource's host, or a proxy's.
        port: Its port.
        named_by: The environment variable that names the proxy; empty without a proxy.
    """

    host: str
    port: int
    named_by: str = ""

    def __str__(self) -> str:
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"{where} (the proxy that {self.named_by} names)" if self.named_by else where


def way_to(endpoint: str) -> Way:
    """Where requests to an endpoint go first, according to the environment."""
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    proxies = getproxies()
    found = find_proxy(proxies) if parts.scheme == "https" else None
    if found is None or Exemptions(proxies.get("no", "")).covers(parts.scheme, host, port):
        return Way(host, port)
    named_by, address = found
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    return Way(proxy.hostname or "", proxy.port or _PORTS.get(proxy.scheme, 80), named_by)


async def _find_addresses(host: str) -> list[str]:
    """The addresses of a host, from the system's resolver.

    It waits for the resolver. Cancelling it abandons the resolver in its thread.

    Raises:
        OSError: when the host has no address.
    """
    try:
        found = await ask_resolver(host)
    except UnicodeError:
        raise OSError("it is no name") from None
    return list({str(entry[4][0]): None for entry in found})


async def check_name(case: Case) -> Finding:
    """Whether the host has an address."""
    if not case.endpoint and case.sign_in is not None:
        return not_tried("no resource is named: give --endpoint")
    if not case.endpoint:
        return failure("no resource is named", "set ACS_CONNECTION_STRING, or give --endpoint")
    return await look_up(way_to(case.endpoint), case.patience, "the endpoint")


async def look_up(way: Way, patience: float, given_by: str) -> Finding:
    """Whether a host has an address.

    Args:
        way: The host.
        patience: Seconds to wait.
        given_by: What names the host, to be corrected; for a proxy, `way` says it.
    """
    with suppress(ValueError):
        return ok(f"{ip_address(way.host)} is an address, and needs no name")
    with anyio.move_on_after(patience):
        try:
            found = await _find_addresses(way.host)
        except OSError as error:
            return _unknown(way, error, given_by)
        return ok(f"{way.host} has the address {', '.join(found[:3])}")
    fix = "see to this machine's name servers, its network and its VPN"
    return failure(f"the name servers do not say within {patience:g} seconds where {way.host} is", fix, "unreachable")


def _unknown(way: Way, error: OSError, given_by: str) -> Finding:
    if error.errno == socket.EAI_AGAIN:
        fix = "see to this machine's network, its VPN and its name servers"
    elif way.named_by:
        fix = f"correct {way.named_by}"
    else:
        fix = f"correct {given_by}; if that is private to a network, see whether its zone is known here"
    return failure(f"{way.host} has no address ({error.strerror or 'it is no name'})", fix, "unreachable")


async def check_tcp(case: Case) -> Finding:
    """Whether the host accepts a connection."""
    way = way_to(case.endpoint)
    try:
        stream = await Network().connect_tcp(way.host, way.port, case.patience)
    except httpcore.ConnectTimeout:
        fix = "see what a firewall lets through, and whether a proxy is to be named in HTTPS_PROXY"
        return failure(f"{way} does not answer within {case.patience:g} seconds", fix, "unreachable")
    except httpcore.ConnectError as error:
        fix = f"correct {way.named_by or 'the endpoint'}, or see why nobody listens there"
        return failure(f"{way} takes no connection ({reason_of(error)})", fix, "unreachable")
    await close_quietly(stream.aclose)
    return ok(f"{way} takes a connection")


def reason_of(error: BaseException | None) -> str:
    """The system's text for an error."""
    for each in chain_of(error):
        if isinstance(each, OSError) and each.errno:  # the error's own text differs between event loops
            return os.strerror(each.errno)
    return "it does not say why"
