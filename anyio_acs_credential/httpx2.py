"""`BearerAuth` for httpx2, the successor of httpx, which refuses another package's `Auth`."""

from __future__ import annotations

from ._clients.bearer import BearerFlow
from ._common.errors import explained

try:
    import httpx2
except ModuleNotFoundError as _missing:  # pragma: no cover - missing in a process of its own, which is not measured
    # No extra brings it: whoever has a client of httpx2 has httpx2.
    raise explained(
        "extra-missing", ImportError(f"{_missing.name} is not installed: pip install httpx2", name=_missing.name)
    ) from _missing

__all__ = ("BearerAuth",)


class BearerAuth(BearerFlow[httpx2.Request, httpx2.Response], httpx2.Auth):
    """`anyio_acs_credential.BearerAuth` for httpx2: the same arguments, behaviour and errors."""
