"""The bearer token of a credential in the `Authorization` header of httpx's requests."""

from __future__ import annotations

import httpx

from ._bearer import BearerFlow
from ._public import public

__all__ = ("BearerAuth",)


class BearerAuth(BearerFlow[httpx.Request, httpx.Response], httpx.Auth):
    __doc__ = BearerFlow.__doc__


public(BearerAuth)
