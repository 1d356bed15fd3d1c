"""What the environment says of proxies: which one to use, and for which hosts to use none."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING

from .endpoint import one_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_BRACKETS = re.compile(r"\[([^]]*)\](/[0-9]+)?(?::([0-9]+))?")


def find_proxy(proxies: Mapping[str, str]) -> tuple[str, str] | None:
    """Which proxy requests by https go to. Those in plain text are for loopback, and go to none.

    Args:
        proxies: What `urllib.request.getproxies()` has found.

    Returns:
        What names the proxy, for a message, and its address as it is named there; None where there is no proxy.
    """
    key = "https" if proxies.get("https") else "all"
    if not (address := proxies.get(key)):
        return None
    names = (name for name, value in os.environ.items() if name.lower() == f"{key}_proxy" and value == address)
    return next(names, "the system's proxy for https"), address


class Exemptions:
    """The hosts that `NO_PROXY` names, in each way in which curl, requests and httpx let them be named.

    An entry is a domain, which stands for its subdomains as well, an address, or a network ("10.0.0.0/8", "fe80::/10"),
    IPv6 with or without brackets; each may have a port after it and a scheme before it. "*" stands for all hosts. Any
    other entry stands for no host, and does no harm.

    Args:
        text: The entries, between commas or white space.
    """

    def __init__(self, text: str) -> None:
        entries = re.split(r"[,\s]+", text.strip().lower())
        self.everything = "*" in entries
        self._entries = [_read(entry) for entry in filter(None, entries)]

    def covers(self, scheme: str, host: str, port: int) -> bool:
        """Whether a host is reached without a proxy.

        Args:
            scheme: The scheme of the request, in lower case.
            host: Its host in ASCII, without brackets.
            port: Its port, also where that is the usual one.
        """
        return self.everything or any(
            schemes in {"", "all", scheme} and ports in {"", str(port)} and _is_in(host.lower().rstrip("."), place)
            for schemes, ports, place in self._entries
        )


def unreadable(text: str) -> list[str]:
    """The entries of `NO_PROXY` that stand for no host, whatever they were meant for.

    Args:
        text: As for `Exemptions`.
    """
    entries = re.split(r"[,\s]+", text.strip().lower())
    return [entry for entry in entries if entry not in {"", "*"} and not _names_somebody(*_read(entry))]


def _names_somebody(_scheme: str, port: str, place: Network | str) -> bool:
    is_port = port == "" or (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536)
    return is_port and (not isinstance(place, str) or bool(_HOST.fullmatch(place)))


def _read(entry: str) -> tuple[str, str, Network | str]:
    scheme, _, place = entry.rpartition("://")
    port = ""
    if found := _BRACKETS.fullmatch(place):
        place, port = found[1] + (found[2] or ""), found[3] or ""
    elif place.count(":") == 1:
        place, _, port = place.partition(":")
    try:
        return scheme, port, ipaddress.ip_network(place, strict=False)
    except ValueError:
        return scheme, port, one_form(place.lstrip("*").strip("."))


def _is_in(host: str, place: Network | str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return isinstance(place, str) and place != "" and f".{host}".endswith(f".{place}")
    return not isinstance(place, str) and address in place
