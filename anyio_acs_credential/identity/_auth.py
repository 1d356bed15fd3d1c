"""`httpx.Auth` for an access key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from .._errors import CredentialUsageError, explained
from .._http.endpoint import is_secure
from .._public import public
from ._keys import AccessKeyCredential, Signer

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._keys import Clock, SupportsKey


class AccessKeyAuth(httpx.Auth):
    """Signs each request of an httpx client, sync or async, with an access key of a Communication Services resource.

    The signature covers exactly the bytes that are sent, so a body that is a stream is read into memory first.

    Args:
        key: The access key, an `AccessKeyCredential`, or anything with a `.key` that may be rotated.
        clock: What tells the time, at each sending. The service refuses requests from minutes ago.

    Raises:
        TypeError: when the key is not text.
        ValueError: when it is not base64.
        CredentialUsageError: when a request is to go to another machine by plain http.
    """

    requires_request_body = True

    def __init__(self, key: str | SupportsKey, *, clock: Clock = time) -> None:
        self._sign = Signer(AccessKeyCredential(key) if isinstance(key, str) else key, clock)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign a request. Called by httpx, for sync and async clients.

        Args:
            request: What is about to be sent, whole: a streamed body is read first.

        Yields:
            The request, signed.

        Raises:
            CredentialUsageError: when it is to go to another machine by plain http.
        """
        if not is_secure(request.url.scheme, request.url.host):
            raise explained(
                "https-only",
                CredentialUsageError(f"a signature is sent over https only: use https://{request.url.host}"),
            )
        self._sign(request)
        yield request


public(AccessKeyAuth)
