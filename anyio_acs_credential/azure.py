"""What Azure's own clients need: a credential in azure-core's types, and a policy that reports their 401s."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from ._common.checks import check_claims, has_methods
from ._common.errors import CredentialError, explained, wrong_type
from ._common.extras import missing_extra
from ._common.redaction import Secret, Unpicklable
from ._http.endpoint import is_secure, one_form
from ._loops.closing import close_quietly
from ._tokens.access_token import AccessTokenInfo

try:
    from azure.core import credentials
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.policies import AsyncHTTPPolicy
    from azure.core.rest import AsyncHttpResponse, HttpRequest
except ModuleNotFoundError as _missing:
    raise explained(
        "extra-missing",
        ImportError(
            missing_extra(f"the types of Azure's clients need {_missing.name}, which", "azure"), name=_missing.name
        ),
    ) from _missing

if TYPE_CHECKING:
    from types import TracebackType

    from azure.core.credentials import TokenCredential
    from azure.core.pipeline import PipelineRequest, PipelineResponse

    from ._credentials.credential import CommunicationTokenCredential
    from ._tokens.access_token import AccessToken

__all__ = ("RejectedTokenPolicy", "as_sync_token_credential", "as_token_credential")

_ORIGIN = "anyio_acs_credential.origin"
_BEARER = "Bearer "


def as_token_credential(credential: CommunicationTokenCredential) -> AsyncTokenCredential:
    """A credential in azure-core's types, for type checkers: at run time the credential itself fits by its shape.

    Its tokens are azure-core's own `AccessToken` and `AccessTokenInfo`; here they hide the token from their `repr` and
    refuse to be pickled. Its methods wait and raise as the credential's do, cancelling them never cancels a round, and
    azure-core's clients ask it at each request.

    Args:
        credential: An entered credential (a static one need not be). Some clients close what they are given; closing
            the result does not close this credential.

    Returns:
        A token credential for every client that takes an `AsyncTokenCredential`; it has `get_token_info()` as well, as
        an `AsyncSupportsTokenInfo` does.

    Raises:
        TypeError: when `credential` is anything else.
    """
    hidden = Secret(credential)  # perhaps a token's text, by mistake: no frame that an error passes shows it
    del credential
    return _TokenCredential(_check(hidden))


def as_sync_token_credential(credential: CommunicationTokenCredential) -> TokenCredential:
    """A credential for Azure's synchronous clients, which run in other threads than the event loop's.

    Each call blocks its thread for as long as `get_token_from_thread()` does. A fresh token needs no event loop.

    Args:
        credential: An entered credential (a static one need not be). Some clients close what they are given; closing
            the result does not close this credential.

    Returns:
        A token credential for every client that takes a `TokenCredential`; it has `get_token_info()` as well, as a
        `SupportsTokenInfo` does. In the event loop's own thread it raises `CredentialUsageError`.

    Raises:
        TypeError: when `credential` is anything else.
    """
    hidden = Secret(credential)
    del credential
    return _SyncTokenCredential(_check(hidden))


class RejectedTokenPolicy(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Reports the tokens that a service rejects, and sends each such request once more with the next token.

    azure-core tells a credential nothing of a plain 401. After one, this policy calls `refresh(rejected=...)` with the
    token that was sent, and sends the request again with the token that is held then. The second answer counts,
    whatever it is. Where the refresh fails, the 401 is the answer; and it stays the answer, without a refresh, where it

    - is a claims challenge, which azure-core's own policy meets;
    - is of another scheme, host or port than the call went to, after a redirect;
    - came by plain http from another machine.

    Where the body cannot be sent again (a stream, or open files), the token is reported, and the 401 is the answer: the
    next request has the new token.

    A client has it from `per_retry_policies=[RejectedTokenPolicy(credential)]`; in a pipeline of your own it may stand
    anywhere but last. Each client needs a policy of its own, since a policy knows the next one. It holds no lock while
    it waits: a cancelled request ends at once, and never cancels the refresh.

    Args:
        credential: The entered credential whose tokens the client sends. It is not closed by this object.

    Raises:
        TypeError: when `credential` is not a `CommunicationTokenCredential`.
    """

    def __init__(self, credential: CommunicationTokenCredential) -> None:
        hidden = Secret(credential)
        del credential
        super().__init__()
        self._credential = _check(hidden)

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Send the request on, and once more with another token after a plain 401.

        It waits for the answers, and between them for the refresh. Cancelling the request ends it at once, and never
        cancels the refresh.

        Args:
            request: azure-core's request, with its context.

        Returns:
            The last answer.
        """
        origin = request.context.setdefault(_ORIGIN, _origin_of(request.http_request))
        response = await self.next.send(request)
        rejected = _rejected_token(response, origin)
        if rejected is None:
            return response
        async with AsyncExitStack() as stack:
            stack.push_async_callback(close_quietly, partial(_close, response.http_response))
            token = None
            with suppress(CredentialError):
                token = await self._credential.refresh(rejected=rejected.value)
            if token is None or not _can_be_sent_again(response.http_request):
                stack.pop_all()
                return response
        request.http_request.headers["Authorization"] = _BEARER + token.token  # no policy further on may do it
        return await self.next.send(request)


class _TokenCredential(AsyncTokenCredential):
    def __init__(self, credential: CommunicationTokenCredential) -> None:
        self._credential = credential

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,  # noqa: ARG002 - azure-core's protocol has it
        enable_cae: bool = False,  # noqa: ARG002 - likewise
        **kwargs: Any,  # noqa: ARG002 - likewise
    ) -> credentials.AccessToken:
        token = await self._credential.get_token(*scopes, claims=claims)
        return _AccessToken(token.token, token.expires_on)

    async def get_token_info(
        self, *scopes: str, options: credentials.TokenRequestOptions | None = None
    ) -> credentials.AccessTokenInfo:
        token = await self._credential.get_token_info(*scopes, options=options)
        return _AccessTokenInfo(token.token, token.expires_on, refresh_on=token.refresh_on)

    async def close(self) -> None:
        """Leave the credential open, since it belongs to its maker."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        pass


class _SyncTokenCredential:
    def __init__(self, credential: CommunicationTokenCredential) -> None:
        self._credential = credential

    def get_token(
        self,
        *scopes: str,  # noqa: ARG002 - azure-core's protocol has it
        claims: str | None = None,
        tenant_id: str | None = None,  # noqa: ARG002 - likewise
        enable_cae: bool = False,  # noqa: ARG002 - likewise
        **kwargs: Any,  # noqa: ARG002 - likewise
    ) -> credentials.AccessToken:
        token = self._ask(claims)
        return _AccessToken(token.token, token.expires_on)

    def get_token_info(
        self,
        *scopes: str,  # noqa: ARG002 - likewise
        options: credentials.TokenRequestOptions | None = None,
    ) -> credentials.AccessTokenInfo:
        token = self._ask((options or {}).get("claims"))
        return _AccessTokenInfo(token.token, token.expires_on, refresh_on=AccessTokenInfo.refresh_on)

    def _ask(self, claims: str | None) -> AccessToken:
        check_claims(claims)
        return self._credential._from_thread(claims=claims)

    def close(self) -> None:
        """Leave the credential open, since it belongs to its maker."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_details: object) -> None:
        pass


class _Hidden(Unpicklable):
    __slots__ = ()
    _refusal = AccessTokenInfo._refusal

    expires_on: int

    def __repr__(self) -> str:
        return f"{type(self).__name__.lstrip('_')}(<hidden>, expires_on={self.expires_on})"


class _AccessToken(_Hidden, credentials.AccessToken):
    __slots__ = ()


class _AccessTokenInfo(_Hidden, credentials.AccessTokenInfo):
    pass


def _check(given: Secret) -> CommunicationTokenCredential:
    credential: CommunicationTokenCredential = given.value
    if has_methods(credential, "get_token_info", "refresh"):
        return credential
    error = wrong_type("not-a-credential", "credential is a CommunicationTokenCredential", credential)
    del credential
    raise error


def _rejected_token(
    response: PipelineResponse[HttpRequest, AsyncHttpResponse], origin: tuple[Any, ...]
) -> Secret | None:
    """The text of the token that a 401 rejected, where another token may help."""
    request, answer = response.http_request, response.http_response
    sent = request.headers.get("Authorization", "")
    if answer.status_code != 401 or not sent.startswith(_BEARER):
        return None
    if "insufficient_claims" in answer.headers.get("WWW-Authenticate", ""):
        return None
    scheme, host, _ = origin
    if origin != _origin_of(request) or not is_secure(scheme, host):
        return None
    return Secret(sent.removeprefix(_BEARER))


def _origin_of(request: HttpRequest) -> tuple[str, str, int | None]:
    parts = urlsplit(request.url)
    return parts.scheme, one_form(parts.hostname or ""), parts.port


def _can_be_sent_again(request: Any) -> bool:
    return _lasts(request.files) and _lasts(request.data)  # on both of azure-core's requests, the newer and the older


def _lasts(body: Any) -> bool:
    """Whether a body, or a part of it, is all there still when it has been sent."""
    if isinstance(body, dict):
        return all(map(_lasts, body.values()))
    if isinstance(body, list | tuple):
        return all(map(_lasts, body))
    return body is None or isinstance(body, bytes | bytearray | str | int | float)


async def _close(answer: Any) -> None:
    """Close an answer whose body nobody reads. azure-core's older kind of answer has no way but what it is made of."""
    answer = answer if hasattr(answer, "close") else answer.internal_response
    closed = answer.aclose() if hasattr(answer, "aclose") else answer.close()  # httpx has both, and one of them raises
    if isawaitable(closed):
        await closed
