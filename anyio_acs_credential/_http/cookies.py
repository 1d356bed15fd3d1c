"""The cookies of a client that belongs to the program: cookies in the answers to our requests stay out of its jar.

A client takes the cookies from an answer before anybody else sees it, and no setting keeps it from that. A copy of the
client would have a jar of its own, but also the finalizer of the program's class, which may close what both use. So the
cookies that an answer has changed are put back, before another task can run.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from http.cookiejar import Cookie, CookieJar


class KeptCookies:
    """The cookies that a client has for the host of one request, which an answer to it does not change.

    Args:
        client: The client. One that shows no cookies has none.
        host: The host, in ASCII.
    """

    def __init__(self, client: Any, host: str) -> None:
        self._client = client
        host = f"[{host}]" if ":" in host else host
        self._host = host if "." in host else f"{host}.local"  # as http.cookiejar has it
        self._kept: list[Cookie] = []

    def keep(self) -> None:
        """Note the cookies. It is called as late as possible, since what the program sets later is undone as well."""
        self._kept = self._find()

    def put_back(self, response: Any) -> None:
        """Undo what an answer has set, replaced or ended."""
        names = {value.partition("=")[0].strip() for value in response.headers.get_list("set-cookie")}
        if (jar := self._jar()) is None or not names:
            return
        for cookie in self._find():
            if cookie.name in names and not any(cookie is kept for kept in self._kept):
                jar.clear(cookie.domain, cookie.path, cookie.name)
        for cookie in self._kept:
            if cookie.name in names:
                jar.set_cookie(cookie)

    def _find(self) -> list[Cookie]:
        return [cookie for cookie in self._jar() or () if self._is_for_host(cookie.domain.lstrip("."))]

    def _is_for_host(self, domain: str) -> bool:
        return self._host == domain or self._host.endswith(f".{domain}")

    def _jar(self) -> CookieJar | None:
        with suppress(AttributeError):
            jar: CookieJar = self._client.cookies.jar
            return jar
        return None
