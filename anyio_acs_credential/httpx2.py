"""What the package offers for httpx, for its successor httpx2, which refuses another package's `Auth`."""

from __future__ import annotations

import httpx2

from ._bearer import BearerFlow

__all__ = ("BearerAuth",)


class BearerAuth(BearerFlow[httpx2.Request, httpx2.Response], httpx2.Auth):
    """`BearerAuth` for httpx2; see there."""
