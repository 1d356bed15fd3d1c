"""What the environment says of proxies and certificates: to this library, and to an httpx client of one's own."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.request import getproxies

import httpx
from anyio import CapacityLimiter, to_thread

from ..._errors import ServiceError
from ..._http.environment import unreadable
from ..._http.own_client import client_factory
from ._finding import Finding, explain, ok, warning
from ._network import way_to

if TYPE_CHECKING:
    from ._case import Case


async def check_environment(case: Case) -> Finding:
    """Whether clients can be made of what the environment says.

    It waits for files.
    """
    try:
        case.client = await case.stack.enter_async_context(client_factory(None)())
    except ServiceError as error:
        return explain(error)
    exempt = getproxies().get("no", "")
    if strange := unreadable(exempt):
        return warning(f"NO_PROXY has what names no host ({', '.join(strange)})", "correct it, or take it out")
    if (problem := await to_thread.run_sync(_ask_httpx, limiter=CapacityLimiter(1))) is not None:
        return _judge_httpx(problem, exempt)
    return ok(f"{_proxy(case)}; trusted authorities: {_authorities()}")


def _ask_httpx() -> str | None:
    """Why httpx makes no client here: the name of its error, whose text may have a proxy's password in it."""
    try:
        with httpx.Client():
            return None
    except Exception as error:  # noqa: BLE001 - httpx lets through what its parts raise
        return type(error).__name__


def _judge_httpx(problem: str, exempt: str) -> Finding:
    entries = [entry for entry in map(str.strip, exempt.split(",")) if entry and not _httpx_takes(entry)]
    if entries:
        named = f"NO_PROXY has what httpx cannot take ({', '.join(entries)})"
    else:
        named = f"httpx can make nothing of the proxies or certificates that the environment names ({problem})"
    text = f"{named}: this library does, an httpx.AsyncClient() of your own fails"
    return warning(text, "write domains and single addresses alone, or give your client trust_env=False", "environment")


def _httpx_takes(entry: str) -> bool:
    """Whether httpx reads an entry, as it makes a pattern of it."""
    pattern = entry if "://" in entry else f"all://*{entry}"
    with suppress(ValueError):
        ipaddress.IPv6Address(entry.partition("/")[0])
        pattern = f"all://[{entry}]"
    try:
        httpx.URL(pattern)
    except httpx.InvalidURL:
        return False
    return True


def _proxy(case: Case) -> str:
    if not case.endpoint:
        return "it can be used"
    way = way_to(case.endpoint)
    return f"requests go by {way}" if way.named_by else "requests go directly"


def _authorities() -> str:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if value := os.environ.get(name):
            return f"{name}={value}"
    return "those of certifi"
