"""The checks of this machine: the installed packages, and the environment's proxies and certificates."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING
from urllib.request import getproxies

import httpx
from anyio import CapacityLimiter, to_thread

from ..._common.errors import ServiceError
from ..._http.environment import unreadable
from ..._http.own_client import client_factory
from ..._http.request import VERSION
from ._finding import Finding, explain, ok, warning
from ._network import way_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._case import Case

_NAME = "anyio-acs-credential"
_NEED = re.compile(r"""([\w.-]+)(?:[^;>]*>=\s*([0-9.]+))?[^;]*(?:;.*\bextra\s*==\s*["'](\w+))?""")


async def check_versions(_case: Case) -> Finding:
    """Whether the installed packages are new enough. It blocks for reading files."""
    return await to_thread.run_sync(_read, limiter=CapacityLimiter(1))


def _read() -> Finding:
    try:
        needs = metadata.requires(_NAME) or []
    except metadata.PackageNotFoundError:
        needs = []
    installed = {name: found for need in needs if (found := _version_of(name := _parts(need)[0]))}
    return judge_versions(needs, installed)


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _parts(need: str) -> tuple[str, str, str]:
    """The name, the least version and the extra of a requirement; the last two may be empty."""
    found = _NEED.match(need)
    return (found[1], found[2] or "", found[3] or "") if found else ("", "", "")


def judge_versions(needs: Iterable[str], installed: Mapping[str, str]) -> Finding:
    """Whether the installed packages are new enough.

    Args:
        needs: The requirements of this package, as its metadata has them.
        installed: The versions of the installed packages, by name.
    """
    extras: dict[str, bool] = {}
    too_old = {}
    for name, least, extra in map(_parts, needs):
        if extra not in {"", "all"}:
            extras[extra] = extras.get(extra, True) and name in installed
        if name in installed and _numbers(installed[name]) < _numbers(least):
            too_old[f"{name}>={least}"] = f"{name} {installed[name]}"
    if too_old:
        command = f"pip install --upgrade {' '.join(f'{need!r}' for need in too_old)}"
        return warning(f"{', '.join(too_old.values())} is older than this package needs", command)
    there = ", ".join(sorted(extra for extra, whole in extras.items() if whole)) or "none"
    return ok(f"{_NAME} {VERSION} on Python {platform.python_version()}, {platform.system()}; extras: {there}")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"[0-9]+", re.split(r"[^0-9.]", version)[0])]


async def check_environment(case: Case) -> Finding:
    """Whether this library and httpx can make clients with the environment's proxies and certificates.

    It blocks for reading files.
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
    """Why httpx makes no client here: the name of its error, since its text may have a proxy's password in it."""
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
    """Whether httpx can read an entry of NO_PROXY, of which it makes a URL pattern."""
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
