"""An HTTP client of our own: httpx's, with the environment's proxies and certificates, and connections of ours."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

import httpcore
import httpx

from .._common.errors import ServiceError, explained
from .._common.redaction import Secret
from .environment import Exemptions, find_proxy
from .network import Network
from .trust import trusted

if TYPE_CHECKING:
    import ssl
_TIMEOUT = httpx.Timeout(30, connect=10)  # a step may take as long as the call
_POOL: dict[str, Any] = {
    "max_connections": 100,
    "max_keepalive_connections": 20,
    "keepalive_expiry": 5.0,
    "network_backend": Network(),
}


def make_client(verify: bool | str | ssl.SSLContext = True) -> httpx.AsyncClient:
    """A client that honours the environment's proxies (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) and certificates.

    It reads files, and so must not be called on an event loop.

    Args:
        verify: True to trust the authorities that the environment trusts (`SSL_CERT_FILE`, `SSL_CERT_DIR`); else the
            path of a bundle of authorities, or a context.

    Raises:
        ServiceError: when the environment names certificates or a proxy that cannot be used. It is permanent.
        OSError: when the bundle cannot be read.
        ValueError: when its path cannot be a path.
    """
    context = trusted(verify) if isinstance(verify, str) else trusted() if isinstance(verify, bool) else verify
    exemptions = Exemptions(getproxies().get("no", ""))
    proxied = None if exemptions.everything else _find_proxied(context)
    if isinstance(proxied, str):  # the fault: no frame that an error passes holds the proxy's password
        raise explained("environment", ServiceError(proxied, permanent=True))
    direct = _Pooled(httpcore.AsyncConnectionPool(ssl_context=context, **_POOL))
    return httpx.AsyncClient(transport=_Routes(direct, proxied, exemptions), timeout=_TIMEOUT, trust_env=False)


class _Pooled(httpx.AsyncHTTPTransport):
    """httpx's own transport, which instruments and mocks look for, over a pool that httpx cannot make."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool


class _Routes(httpx.AsyncBaseTransport):
    """Sends each request through a proxy or directly. httpx's own patterns for proxies know no networks."""

    def __init__(self, direct: _Pooled, proxied: _Pooled | None, exemptions: Exemptions) -> None:
        self._direct = direct
        self._proxied = proxied
        self._exemptions = exemptions

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, through a proxy if it needs one."""
        return await self._route(request.url).handle_async_request(request)

    def _route(self, url: httpx.URL) -> _Pooled:
        # Plain text is for loopback alone, and not even a proxy there gets it: it may pass it on to another machine.
        if self._proxied is None or url.scheme != "https":
            return self._direct
        host = url.raw_host.decode("ascii")
        return self._direct if self._exemptions.covers(url.scheme, host, url.port or 443) else self._proxied

    async def aclose(self) -> None:
        """Close all connections."""
        async with AsyncExitStack() as stack:
            for each in filter(None, (self._direct, self._proxied)):
                stack.push_async_callback(each.aclose)


def _find_proxied(context: ssl.SSLContext) -> _Pooled | str | None:
    """The transport through the proxy for https, or why there cannot be one; None where there is no proxy."""
    found = Secret(find_proxy(getproxies()))  # no frame that an error passes shows a password in its address
    if found.value is None:
        return None
    name = found.value[0]
    if (proxy := _read_proxy(found.value[1])) is None:
        return f"{name} names no proxy that can be used: correct it, as in http://proxy.example:8080, or unset it"
    options = {**_POOL, "ssl_context": context}
    options["proxy_url"] = httpcore.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target="/"
    )
    if proxy.url.scheme.startswith("socks"):
        if find_spec("socksio") is None:
            return f"{name} names a SOCKS proxy: install httpx[socks], name an HTTP proxy, or unset it"
        return _Pooled(httpcore.AsyncSOCKSProxy(**options, proxy_auth=proxy.raw_auth))
    if proxy.url.scheme == "https":
        options["proxy_ssl_context"] = trusted()  # httpcore's own would ignore the environment
    return _Pooled(httpcore.AsyncHTTPProxy(**options, proxy_auth=proxy.raw_auth))


def _read_proxy(address: str) -> httpx.Proxy | None:
    with suppress(ValueError, httpx.InvalidURL):
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
        if proxy.url.host and (proxy.url.port is None or 0 < proxy.url.port < 65_536):  # IDNA may refuse the host
            return proxy
    return None
