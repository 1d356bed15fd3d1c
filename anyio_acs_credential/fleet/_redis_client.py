"""The client of Redis that a store makes for itself, from an address.

After a cancelled question, coredis goes on using the connection, even one whose answer never comes; and each cancelled
attempt to connect takes a place of its pool for good. So after any failure, a new client asks the next question.
"""

from __future__ import annotations

import re
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from anyio import CancelScope, Event, sleep, sleep_forever

from .._common.errors import CredentialClosedError, explained
from .._common.redaction import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_TRUST = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_NO_TRUST = {"ssl_cert_reqs", "ssl_check_hostname"}
_LONGEST_ANSWER = 5  # seconds after which a connection is given up; nobody waits for it longer than one
_IDLE = 60  # seconds after which an idle connection is closed; some routers silently drop one after four minutes
_PAUSE = 1.0  # seconds before a new client replaces one that failed by itself


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is.

    Attributes:
        shown: The address for messages, without user and password.
        passwords: The texts that no message may show.
        trust: The files that a connection over TLS reads; None without TLS.
    """

    shown: str
    passwords: Secret
    trust: dict[str, str] | None
    _url: Secret = field(repr=False)

    def make_factory(self) -> Callable[[], Any]:
        """A function that makes clients. Call this one in a thread: it imports coredis and reads certificates.

        Raises:
            ValueError: when coredis cannot read the address, or the files in it cannot be read.
        """
        from coredis import Redis
        from coredis.exceptions import ConnectionError as Lost
        from coredis.retry import ConstantRetryPolicy

        options: dict[str, Any] = {
            "decode_components": True,
            "verify_version": False,
            "connect_timeout": _LONGEST_ANSWER,
            "stream_timeout": _LONGEST_ANSWER,
            "max_idle_time": _IDLE,
            "retry_policy": ConstantRetryPolicy((Lost,), retries=1, delay=0),
        }

        def make() -> Any:
            return Redis.from_url(self._url.value, **options)

        try:
            if self.trust is not None:
                options["ssl_context"] = _context(**self.trust)
            make()
        except (ValueError, OSError) as error:
            problem = type(error).__name__
        else:
            return make
        raise explained(
            "redis-url",
            ValueError(f"the parameters in the URL of Redis cannot be used ({problem}): correct what follows the ?"),
        )


def _context(
    ssl_ca_certs: str | None = None, ssl_certfile: str | None = None, ssl_keyfile: str | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ssl_ca_certs)
    if ssl_certfile is not None:
        context.load_cert_chain(ssl_certfile, ssl_keyfile)
    return context


def read_address(url: Secret) -> Address:
    """The address in a URL.

    Args:
        url: The URL, which may hold a password.

    Raises:
        ValueError: when it is not a URL of Redis. The message shows nothing of it.
    """
    try:
        parts = Secret(urlsplit(url.value))
        host, port = parts.value.hostname, parts.value.port
    except ValueError:
        parts, host, port = Secret(None), None, None
    if parts.value is None or not _is_place(parts.value.scheme, host, parts.value.path):
        raise explained(
            "redis-url",
            ValueError(
                "the URL of Redis is none: give redis://host:6379/0, rediss:// for TLS, or unix:///path/of/socket; a "
                "password is percent-encoded"
            ),
        )
    scheme, path = parts.value.scheme, parts.value.path
    asked = parse_qs(parts.value.query)
    if _NO_TRUST & set(asked):
        raise explained(
            "redis-url",
            ValueError(
                "the certificate of Redis is always checked: leave ssl_cert_reqs and ssl_check_hostname out of the "
                "URL, and name the authority's certificate with ssl_ca_certs"
            ),
        )
    trust = {name: asked[name][0] for name in _TRUST if name in asked} if scheme == "rediss" else None
    shown = path if scheme == "unix" else f"{host}:{port or 6379}"
    return Address(shown, Secret([unquote(parts.value.password or ""), *asked.get("password", [])]), trust, url)


def _is_place(scheme: str, host: str | None, path: str) -> bool:
    if scheme == "unix":
        return bool(path)
    # What is no number coredis takes for database 0, and 1/2 for 12.
    return scheme in {"redis", "rediss"} and bool(host) and re.fullmatch("/?|/[0-9]+/?", path) is not None


class OwnClient:
    """A client of coredis, kept open by a task beside a block.

    Args:
        make: Makes a client.

    Attributes:
        crash: Always None: only `close()` ends the task.
    """

    crash: BaseException | None = None

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._closing = CancelScope(shield=True)
        self._using = CancelScope()
        self._ready = Event()
        self._client: Any = None
        self._asking = 0

    async def run(self) -> None:
        """Keep a client open until `close()`."""
        try:
            with self._closing:
                while True:
                    await self._keep_one_open()
        finally:
            self._client = None
            self._ready.set()

    async def _keep_one_open(self) -> None:
        with CancelScope() as self._using, suppress(Exception):
            async with self._make() as self._client:
                self._ready.set()
                await sleep_forever()
        if not self._using.cancel_called:  # the client failed by itself
            await sleep(_PAUSE)

    def close(self) -> None:
        """End `run()`."""
        self._closing.cancel("the store is closing")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """The open client, for one question. It waits until a client is open.

        When a question fails while no other is in progress, the next one gets a new client. While others are in
        progress, the client stays: it is good if one of them succeeds, and the last to fail replaces it if none does.
        """
        self._asking += 1
        try:
            await self._ready.wait()
            yield _still_open(self._client)
        except BaseException:
            if self._asking == 1 and self._ready.is_set():
                self._ready = Event()
                self._using.cancel("a question to Redis has failed")
            raise
        finally:
            self._asking -= 1


def _still_open(client: Any) -> Any:
    if client is None:
        raise explained(
            "closed", CredentialClosedError("the store is closed: keep its block open for as long as it is used")
        )
    return client
