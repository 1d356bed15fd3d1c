"""`httpx.Auth` for an access key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from .._common.checks import check_clock
from .._common.errors import CredentialUsageError, explained
from .._common.public import public
from .._common.redaction import Secret
from .._http.endpoint import is_secure
from .._tokens.service_clock import Moment, Proof, ServiceClock, proof_in
from ._keys import AccessKeyCredential, Signer

if TYPE_CHECKING:
    from collections.abc import Generator

    from .._tokens.clock import WallClock
    from ._keys import SupportsKey


class AccessKeyAuth(httpx.Auth):
    """Signs each request of an httpx client, sync or async, with an access key of a Communication Services resource.

    The signature covers exactly the bytes that are sent, so a streamed body is read into memory first. A signature is
    dated, and the service refuses one whose date is minutes from the service's own time. Where this machine's clock is
    wrong, signatures are dated by the service's clock, as the `Date` of its answers shows it. Requests that were signed
    before the first answer are refused once each, and signed and sent once more. A response hook of the client that
    raises for a status keeps those answers from here: raise for it after the call.

    Args:
        key: The access key, an `AccessKeyCredential`, or anything with a `.key`, which is read at each request.
        clock: Any object with `time()`, in Unix seconds, which is asked at each request.

    Raises:
        TypeError: when the key is neither text nor an object with a `.key` that is text, or `clock` is no object with
            `time()`.
        ValueError: when it is not base64.
    """

    requires_request_body = True

    def __init__(self, key: str | SupportsKey, *, clock: WallClock = time) -> None:
        given, key = Secret(key), ""  # no frame that an error passes shows it
        self._sign = Signer(AccessKeyCredential(given.value) if isinstance(given.value, str) else given.value)
        check_clock(clock, "time")
        self._clock = clock
        self._services: dict[str, ServiceClock] = {}  # one, as a rule: a key is for one resource

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign a request. httpx calls it, for sync and async clients.

        Args:
            request: The request, whose body has been read.

        Yields:
            The request, signed; and once more where the service refused the date of its signature.

        Raises:
            CredentialUsageError: when the request would leave this machine over plain http.
        """
        given = Secret(request)
        del request  # no frame that an error passes shows a password in its address
        url = given.value.url
        if not is_secure(url.scheme, url.host):
            raise explained(
                "https-only",
                CredentialUsageError(f"a signature is sent over https only: use https://{url.host}"),
            )
        service = self._service_of(url)
        signed = service.time()
        self._sign(given.value, signed)
        sent = self._now()
        response = yield given.value
        proof = self._learn(service, url, response, sent)
        if response.status_code == 401 and service.refuses(proof, signed):
            self._sign(given.value, service.time())
            sent = self._now()
            self._learn(service, url, (yield given.value), sent)

    def _now(self) -> Moment:
        return Moment(self._clock.time(), time.monotonic())

    def _service_of(self, url: httpx.URL) -> ServiceClock:
        name = url.netloc.decode("ascii")
        found = self._services.get(name)
        if found is None:
            found = self._services[name] = ServiceClock(name, self._clock)
        return found

    def _learn(self, service: ServiceClock, url: httpx.URL, response: httpx.Response, sent: Moment) -> Proof | None:
        if response.request.url.netloc != url.netloc or response.request.url.scheme != url.scheme:
            return None  # a redirect led elsewhere: to another clock
        proof = proof_in(response.headers.multi_items(), sent, self._now())
        service.learn(proof)
        return proof


public(AccessKeyAuth)
