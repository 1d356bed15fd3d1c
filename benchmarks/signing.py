"""Signing a request with an access key: what each request to the identity API costs besides the network."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from hmac import digest
from itertools import repeat
from typing import TYPE_CHECKING, Any

import httpx
from azure.communication.chat._shared.policy import HMACCredentialsPolicy
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest

from anyio_acs_credential import AccessKeyAuth
from anyio_acs_credential.identity._keys import decode_key, sign

from ._measure import Spread, Turns
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUESTS = 500
LIMIT = 1.3
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg=="
DECODED = decode_key(KEY)
HOST = "contoso.communication.azure.com"
TARGET = "/identities/8%3Aacs%3Abbbcbc1e-9f06-482a-b5d8-20e3f26ef0cd_45ab2481/:issueAccessToken?api-version=2023-10-01"
DATE = "Mon, 05 Jan 2026 07:08:09 GMT"
BODY = b'{"scopes":["chat","voip"]}'


def measure(quick: bool) -> Iterator[Row]:
    """The signature alone, and a request with it."""
    turns = Turns()
    subjects = {"bare": bare, "ours": ours, "request": of_httpx_request(), "official": of_azure_core_request()}
    for name in turns.take(subjects, 20 if quick else 300):
        with turns.clock(name):
            _repeat(subjects[name])
    yield _row("signing a request", turns.ratio("ours", "bare"), turns, LIMIT)
    yield _row("the same with its date, and the headers of an httpx request", turns.ratio("request", "bare"), turns)


def _row(figure: str, ratio: Spread, turns: Turns, limit: float | None = None) -> Row:
    official = f"official, its own request {turns.ratio('official', 'bare').median:.1f}"
    return Row(
        figure=f"{figure}, over the standard library's HMAC over the same bytes",
        target=f"≤ {limit}" if limit else "—",
        measured=f"{ratio:.2f}",
        reached=limit is None or ratio.median <= limit,
        floor=f"{turns.seconds('bare').median / REQUESTS * 1e6:.1f} µs",
        others="none does this apart" if limit else official,
    )


def _repeat(call: Callable[[], object]) -> None:
    for _ in repeat(None, REQUESTS):
        call()


def bare() -> str:
    content_hash = b64encode(sha256(BODY).digest()).decode()
    text = f"POST\n{TARGET}\n{DATE};{HOST};{content_hash}"
    return b64encode(digest(DECODED, text.encode(), "sha256")).decode()


def ours() -> object:
    return sign(DECODED, "POST", TARGET, host=HOST, date=DATE, body=BODY)


def of_httpx_request() -> Callable[[], object]:
    auth = AccessKeyAuth(KEY)
    request = httpx.Request("POST", f"https://{HOST}{TARGET}", content=BODY)
    return lambda: next(auth.auth_flow(request))


def of_azure_core_request() -> Callable[[], object]:
    policy: Any = HMACCredentialsPolicy(f"https://{HOST}", KEY)
    legacy = HttpRequest("POST", f"https://{HOST}{TARGET}", data=BODY.decode())
    request = PipelineRequest(legacy, PipelineContext(None))
    return lambda: policy.on_request(request)
