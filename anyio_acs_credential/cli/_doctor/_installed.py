"""What is installed: this package, its extras, and whether what it needs is new enough."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

from ..._http.request import VERSION
from ._finding import Finding, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._case import Case

_NAME = "anyio-acs-credential"
_NEED = re.compile(r"""([\w.-]+)(?:[^;>]*>=\s*([0-9.]+))?[^;]*(?:;.*\bextra\s*==\s*["'](\w+))?""")


async def check_versions(_case: Case) -> Finding:
    """What is installed. It waits for files."""
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
    """Whether what is installed is new enough.

    Args:
        needs: The requirements of this package, as its metadata has them.
        installed: The versions of those that are installed.
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
