"""One authentication flow for both HTTP clients: add the token, and after a 401 refresh it and try once more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .._common.checks import has_methods
from .._common.errors import CredentialError, CredentialUsageError, explained, wrong_type
from .._common.redaction import Secret
from .._http.endpoint import is_secure, one_form
from .._loops.cancellation import native_cancellations

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping, MutableMapping

    from .._credentials.credential import CommunicationTokenCredential
    from .._tokens.access_token import AccessToken


class _URL(Protocol):
    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...


class _Request(Protocol):
    extensions: Any  # of other types in httpx and httpx2

    @property
    def url(self) -> _URL: ...
    @property
    def headers(self) -> MutableMapping[str, str]: ...
    @property
    def content(self) -> bytes: ...


class _Response(Protocol):
    @property
    def status_code(self) -> int: ...
    @property
    def request(self) -> _Request: ...
    async def aread(self) -> bytes: ...


# A name, or an IPv6 address.
_HOST = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*\.?|\[?[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]?")

RequestT = TypeVar("RequestT", bound=_Request)
ResponseT = TypeVar("ResponseT", bound=_Response)


class BearerFlow(Generic[RequestT, ResponseT]):
    """The access token of a credential in the `Authorization` header of each request.

    After a 401 the token is reported as rejected, and the request is sent once more with the token that replaces it.
    Where the refresh fails, or the body was a stream that cannot be sent again, the 401 is the answer; the next request
    has the new token all the same. So it has where a response hook of the client raises for the 401, after which httpx
    sends nothing again; there, it takes httpx's own transport to see the 401. Each request waits for its token as
    `get_token()` does, and raises what that raises; cancelling a request never cancels a refresh. No lock is held while
    a request is sent: a slow request never keeps another from its token.

    A token is sent over https only (RFC 6750, section 5.3), or to loopback.

    Args:
        credential: An entered credential (a static one need not be). It is not closed by this object.
        hosts: The host names that get the token, such as "contoso.communication.azure.com", or
            "*.communication.azure.com" for every name below, one at least; requests to others go without it. None for
            all.

    Raises:
        TypeError: when `credential` is not a credential, or `hosts` is not an iterable of names.
        ValueError: when `hosts` is empty.
        CredentialUsageError: when sending a token over plain http to another machine, or with a synchronous client.
    """

    requires_request_body = False
    requires_response_body = False

    def __init__(self, credential: CommunicationTokenCredential, *, hosts: Iterable[str] | None = None) -> None:
        if not has_methods(credential, "get_token", "refresh"):
            error = wrong_type("not-a-credential", "credential is a CommunicationTokenCredential", credential)
            del credential  # perhaps a token's text, by mistake: no frame that an error passes shows it
            raise error
        given, hosts = Secret(hosts), None  # no frame that an error passes shows a password in an address
        self._credential = credential
        self._hosts = _check_hosts(given)

    async def async_auth_flow(self, request: RequestT) -> AsyncGenerator[RequestT, ResponseT]:
        """Send a request with the token, and once more with another token after a 401. httpx calls this.

        It waits for the token, and after a 401 for the refresh. Cancelling the request never cancels the refresh.

        Args:
            request: The request of httpx.

        Yields:
            The request, each time with the token to send.
        """
        given = Secret(request)
        del request  # no frame that an error passes shows a password in its address
        if not self._may_have_token(given.value.url):
            yield given.value
            return
        token = await self._credential.get_token()
        given.value.headers["Authorization"] = f"Bearer {token.token}"
        watch, cancellations = _Watch(given.value), native_cancellations()
        try:
            response = yield given.value
        except GeneratorExit:  # a hook has raised for the status, and httpx has no response to give
            # asyncio's own Task.cancel() strikes once: after it, a refresh would hold up what is cancelled.
            if watch.is_refused and native_cancellations() == cancellations:
                await self._renew(token)  # noqa: ASYNC120 - a cancellation goes before the end of a generator
            raise
        finally:
            watch.end()
        if response.status_code != 401:
            return
        if response.request.headers.get("Authorization") != given.value.headers["Authorization"]:
            return  # a redirect led to another host, which has not seen the token and says nothing about it
        again = _can_be_sent_again(given.value)
        if again:
            await self._free(response, token)
        renewed = await self._renew(token)
        if again and renewed is not None:
            given.value.headers["Authorization"] = f"Bearer {renewed.token}"
            yield given.value

    async def _free(self, response: ResponseT, token: AccessToken) -> None:
        """Give the connection back, which the round needs where the credential has the same client."""
        try:
            await response.aread()
        except Exception:
            await self._renew(token)  # noqa: ASYNC120 - a cancellation goes before the network's error
            raise

    async def _renew(self, token: AccessToken) -> AccessToken | None:
        """Report a token as rejected. None where it could not be replaced."""
        try:
            return await self._credential.refresh(rejected=token)
        except CredentialError:
            return None

    def sync_auth_flow(self, request: RequestT) -> Generator[RequestT, ResponseT, None]:  # noqa: ARG002 - httpx gives it
        """Refuse a synchronous client, which cannot wait for a token.

        Args:
            request: The request of httpx.

        Raises:
            CredentialUsageError: always.
        """
        raise explained(
            "async-client",
            CredentialUsageError(
                "BearerAuth is for AsyncClient; in a synchronous client set the header from get_token_from_thread()"
            ),
        )

    def _may_have_token(self, url: _URL) -> bool:
        host = one_form(url.host)
        if self._hosts is not None and not any(_matches(host, pattern) for pattern in self._hosts):
            return False
        if not is_secure(url.scheme, host):
            raise explained(
                "https-only", CredentialUsageError(f"an access token is sent over https only: use https://{host}")
            )
        return True


class _Watch:
    """Sees in httpx's "trace" extension how a service answers to a token, whatever the client's hooks raise then.

    Args:
        request: The request, with the token.

    Attributes:
        is_refused: Whether the last answer was a 401 to the token.
    """

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._theirs = request.extensions
        self._header = Secret(request.headers["Authorization"].encode("ascii"))
        self._is_ours = False
        self.is_refused = False
        request.extensions = {**self._theirs, "trace": self._see}

    def end(self) -> None:
        """Give the request its own extensions again."""
        self._request.extensions = self._theirs

    async def _see(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".send_request_headers.started"):
            # A redirect that leads to another host does not take the token along.
            self._is_ours = any(value == self._header.value for _, value in info["request"].headers)
            self.is_refused = False
        elif event.endswith(".receive_response_headers.complete"):
            self.is_refused = self._is_ours and 401 in info["return_value"]
        if (theirs := self._theirs.get("trace")) is not None:
            await theirs(event, info)


def _check_hosts(given: Secret) -> tuple[str, ...] | None:
    if given.value is None:
        return None
    if isinstance(given.value, str) or not isinstance(given.value, Iterable):
        raise wrong_type(
            "hosts", "hosts is a collection of host names", given.value, ": put the one name into a list, [host]"
        )
    hosts = Secret([_read_host(host) for host in given.value])
    if not hosts.value:
        raise explained(
            "hosts",
            ValueError("hosts is empty, and no request would have a token: name a host, or leave hosts out for all"),
        )
    if None in hosts.value:
        raise explained(
            "hosts",
            TypeError(
                'hosts holds names such as "contoso.communication.azure.com" or "*.communication.azure.com", '
                "without scheme, port or path"
            ),
        )
    return tuple(hosts.value)


def _read_host(host: object) -> str | None:
    """The one form of a host name or pattern; None where it is neither."""
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        return None
    star = "*." if host.startswith("*.") else ""
    return star + one_form(host.removeprefix(star))


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _can_be_sent_again(request: _Request) -> bool:
    try:
        request.content  # noqa: B018 - raises where the body is a stream, which is used up by now
    except RuntimeError:
        return False
    return True
