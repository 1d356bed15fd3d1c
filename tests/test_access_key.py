"""Access keys and their signatures."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import pytest
from servers import answer, serve
from told import told

from anyio_acs_credential import AccessKeyCredential, CredentialUsageError, parse_connection_string
from anyio_acs_credential.identity._auth import AccessKeyAuth
from anyio_acs_credential.identity._keys import decode_key, sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from servers import Request

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER_KEY = "b3RoZXIga2V5"
DATE = "Mon, 05 Jan 2026 07:08:09 GMT"
NOTHING = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
CONTOSO = "contoso.communication.azure.com"

# Requests with the signatures that the service computes for them: method in upper case, path and query as sent, the
# host as in the Host header.
SIGNED = [
    (
        ("POST", "/identities?api-version=2023-10-01", CONTOSO, '{"createTokenWithScopes":["chat"]}'),
        ("WTRvgEjjVd+bvyKw3WgXgDkU81aV8FWq+4/BE+he0+A=", "Gf5jnAEzZ5yDPf3X3tCivjvN80d1kjHBVzxMCQPOl4Q="),
    ),
    (
        ("DELETE", "/identities/8%3Aacs%3Aaaa_bbb?api-version=2023-10-01", f"{CONTOSO}:8443", ""),
        (NOTHING, "Adifnnd4h1NlxkdSNf9BLESiaR8Q5mCYG0J4Uz9XFYs="),
    ),
    (
        ("GET", "/phoneNumbers?q=a%20b&x=%2B1&y=%3A&z=~*'()", CONTOSO, ""),
        (NOTHING, "08ZQ7Y2RSlyBZJuNd7sBFOAMXt9NFy9v6G3Ec3L1Vng="),
    ),
    (
        ("PUT", "/a", CONTOSO, "h\u00e9llo \u2603"),
        ("w6PoSzAyfI4/BKeI2LaNo/2UwiNTxaMOP+bKfr3jqz8=", "k0YpMXbXpvnl4HDWHhQKVKCheeA54zLMwXOjvOswtrQ="),
    ),
    (("get", "/a?b", CONTOSO, ""), (NOTHING, "uzxr/kf+IdVwBgT9R3bERJt/KPnjfQA0BgSOUhqhemA=")),
]


class StoppedClock:
    now = 1767596889.75

    def time(self) -> float:
        return self.now


class RotatedKey:
    """Like azure-core's AzureKeyCredential: the key may change under its user."""

    def __init__(self, key: str) -> None:
        self.key = key


def expected(request: Request, key: str = KEY) -> str:
    """The header that the service expects, from what reached it and nothing else."""
    content_hash = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
    assert request.headers["x-ms-content-sha256"] == content_hash
    text = (
        f"{request.method}\n{request.target}\n{request.headers['x-ms-date']};{request.headers['host']};{content_hash}"
    )
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), "sha256")).decode()
    return f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"


@pytest.mark.parametrize(("request_", "wanted"), SIGNED, ids=[case[0][0] for case in SIGNED])
def test_signatures_are_those_of_the_service(request_: tuple[str, str, str, str], wanted: tuple[str, str]) -> None:
    method, target, host, body = request_
    headers = sign(decode_key(KEY), method, target, host=host, date=DATE, body=body.encode())
    assert headers == {
        "x-ms-date": DATE,
        "x-ms-content-sha256": wanted[0],
        "Authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={wanted[1]}",
    }


@pytest.mark.parametrize(
    ("url", "method", "body", "signature"),
    [
        (f"https://{CONTOSO}/identities?api-version=2023-10-01", "POST", SIGNED[0][0][3], SIGNED[0][1][1]),
        (f"https://{CONTOSO}:8443{SIGNED[1][0][1]}", "DELETE", "", SIGNED[1][1][1]),
        (f"https://{CONTOSO}/a", "PUT", SIGNED[3][0][3], SIGNED[3][1][1]),
        ("https://Contoso.Communication.Azure.com:443/a?b", "get", "", SIGNED[4][1][1]),
    ],
)
def test_an_httpx_request_is_signed_as_it_will_be_sent(url: str, method: str, body: str, signature: str) -> None:
    """The date has English names, a default port is not signed, and the host is in lower case."""
    request = httpx.Request(method, url, content=body.encode())
    next(AccessKeyAuth(KEY, clock=StoppedClock()).auth_flow(request))
    assert request.headers["x-ms-date"] == DATE
    assert request.headers["authorization"].endswith(f"Signature={signature}")


async def numbers() -> AsyncIterator[bytes]:
    for number in range(3):
        yield str(number).encode()


def sync_numbers() -> Iterator[bytes]:
    yield from (b"0", b"1", b"2")


PATHS = ["/", "/a%20b/8%3Aacs%3Ax_y", "/a b?q=a%20b&x=%2B1&y=%3A&z=~*'()", "/?b", "/ü?ü=☃"]


@pytest.mark.parametrize("path", ["", *PATHS])
async def test_the_signature_covers_exactly_what_is_sent(path: str) -> None:
    """Whatever the client makes of a URL, what reaches the server carries the signature of what reached it."""
    async with serve(answer(204)) as server, httpx.AsyncClient(auth=AccessKeyAuth(KEY)) as client:
        await client.put(f"{server.url}{path}", content="h\u00e9llo")
    (request,) = server.requests
    assert request.headers["authorization"] == expected(request)


async def test_streams_are_signed_too() -> None:
    async with serve(answer(204)) as server, httpx.AsyncClient(auth=AccessKeyAuth(KEY)) as client:
        await client.post(server.url, content=numbers())
    (request,) = server.requests
    assert request.body == b"012"
    assert request.headers["authorization"] == expected(request)


async def test_sync_clients_sign_too() -> None:
    def run() -> None:
        with httpx.Client(auth=AccessKeyAuth(AccessKeyCredential(KEY))) as client:
            client.post(server.url, content=sync_numbers())

    async with serve(answer(204)) as server:
        await anyio.to_thread.run_sync(run)
    (request,) = server.requests
    assert request.body == b"012"
    assert request.headers["authorization"] == expected(request)


def test_date_and_key_are_read_at_each_sending() -> None:
    """A rotated key and the time of each request count, not those of the construction."""
    credential, clock = RotatedKey(KEY), StoppedClock()
    auth = AccessKeyAuth(credential, clock=clock)
    first, second = httpx.Request("GET", "https://a.example/"), httpx.Request("GET", "https://a.example/")
    next(auth.auth_flow(first))
    credential.key, clock.now = OTHER_KEY, 0.0
    next(auth.auth_flow(second))
    assert second.headers["x-ms-date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    wanted = sign(decode_key(OTHER_KEY), "GET", "/", host="a.example", date=second.headers["x-ms-date"], body=b"")
    assert second.headers["authorization"] == wanted["Authorization"]
    assert first.headers["x-ms-date"] == DATE


def test_an_access_key_credential_gives_its_key_and_never_shows_it() -> None:
    credential = AccessKeyCredential(KEY)
    assert credential.key == KEY
    assert KEY not in f"{credential!r} {credential!s} {credential}"
    assert not hasattr(credential, "__dict__")


def test_a_copy_is_itself_and_pickling_is_refused() -> None:
    credential = AccessKeyCredential(KEY)
    assert copy.copy(credential) is credential
    assert copy.deepcopy(credential) is credential
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(credential)
    with pytest.raises(AttributeError):
        credential.key = OTHER_KEY  # type: ignore[misc]


@pytest.mark.parametrize("make", [AccessKeyCredential, AccessKeyAuth, lambda key: AccessKeyAuth(RotatedKey(key))])
@pytest.mark.parametrize(
    "key", ["", "hunter2", "aHVudGVyMg", "aHVudGVyMg==\n", " aHVudGVyMg==", "aHVud-_yMg==", "h\u00fcnter2="]
)
def test_a_key_that_is_not_base64_is_refused_with_the_place_to_find_one(make: Any, key: str) -> None:
    with pytest.raises(ValueError, match='"Keys" page') as caught:
        make(key)
    assert not key or key.strip() not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_key_is_text() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        AccessKeyCredential(b"AAAA")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key",
    [KEY.encode(), None, parse_connection_string(f"endpoint=https://{CONTOSO};accesskey={KEY}"), AccessKeyCredential],
)
def test_a_signature_needs_a_key(key: Any) -> None:
    with pytest.raises(TypeError) as caught:
        AccessKeyAuth(key)
    name = "the class AccessKeyCredential" if isinstance(key, type) else type(key).__name__
    fix = "give key.decode() of bytes, and the access_key of a ConnectionString"
    assert told(caught.value) == ("access-key", f"an access key is text, or an object with a `.key`, not {name}: {fix}")


@pytest.mark.parametrize(
    "module", ["identity._keys", "identity._connection", "_common.redaction", "_http.retry_after", "_http.endpoint"]
)
def test_pure_modules_load_no_http_client(module: str) -> None:
    program = f"import sys, anyio_acs_credential.{module}; print(sorted({{'httpx', 'jwt', 'msal'}} & set(sys.modules)))"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_plain_http_is_signed_for_this_machine_alone() -> None:
    """Elsewhere, whoever listens on the way could repeat the request."""
    auth = AccessKeyAuth(KEY)
    with pytest.raises(CredentialUsageError, match=r"use https://contoso\.example"):
        next(auth.auth_flow(httpx.Request("GET", "http://contoso.example/x")))
    for address in ("http://127.0.0.1:5000/x", "http://localhost/x", "https://contoso.example/x"):
        assert "Signature=" in next(auth.auth_flow(httpx.Request("GET", address))).headers["Authorization"]
