"""The bearer token of a credential in the `Authorization` header of httpx's requests."""

from __future__ import annotations

import httpx

from .._common.public import public
from .bearer import BearerFlow


class BearerAuth(BearerFlow[httpx.Request, httpx.Response], httpx.Auth):
    __doc__ = BearerFlow.__doc__


public(BearerAuth)
