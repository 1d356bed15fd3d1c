"""What the MSAL-backed credentials share: whose tokens they hold, and when the next is fetched."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from anyio.lowlevel import checkpoint_if_cancelled

from .._common.checks import check_claims
from .._common.errors import SignInRequiredError, TokenSourceError, explained, wrong_type
from .._common.redaction import Secret
from .._loops.block import Block, check_entering, leaving
from .._loops.shared_answers import SharedAnswers
from ._grant import Grant, take
from ._secrets import Texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .._tokens.access_token import AccessToken
    from ._msal_thread import MsalThread
    from ._turns import SharedCache

T = TypeVar("T")

_RESERVED = {"openid", "profile", "offline_access"}


class EntraCredential:
    """Entra tokens of one account, through an MSAL application of the credential's own.

    `async with credential:` is optional. The block keeps one HTTP client open; outside of it each call opens its own.

    Args:
        msal: The application, in its thread.
        shares_cache: Whether the token cache is the user's, and may know somebody who signed in before.

    Attributes:
        sign_ins: How often somebody has signed in. From each sign-in on, the tokens may be another person's.
    """

    _advice = "call sign_in() of this credential, and where one exchanges its tokens, refresh() of that one"
    _username: str | None = None

    def __init__(self, msal: MsalThread, *, shares_cache: bool) -> None:
        self._msal = msal
        self._shares_cache = shares_cache
        self._account: str | None = None
        self.sign_ins: int = 0
        self._grants: dict[tuple[str, ...], Grant] = {}
        self._flights = SharedAnswers[Grant]()
        self._block: Block | None = None

    async def __aenter__(self) -> Self:
        check_entering(self._block, "the credential")
        block = Block()
        await block.__aenter__()
        self._block = block
        self._msal.keep()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        block = leaving(self._block)
        self._block = None
        if block is not None:
            await self.close()  # noqa: ASYNC102 - which is shielded, for a second

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        **options: Any,  # noqa: ARG002 - azure-core's clients pass them
    ) -> AccessToken:
        """A valid Entra token. It never asks a person for anything.

        A token with enough life left (5 minutes, or half of a shorter life) is returned at once. Otherwise the call
        waits for MSAL and Entra; calls at the same time with the same arguments make one request. Cancelling the caller
        that makes the request ends it at once, and the next caller in line makes it anew. While a renewal fails, the
        previous token is returned for as long as it is valid, and the next attempt is made half a minute later.

        Args:
            *scopes: What the token is for.
            claims: The claims of a challenge, as the text of a JSON object. A new token is fetched, which meets them.
            tenant_id: The tenant that the token has to be of; this one's own is the only one that there can be. By
                default, none is demanded.
            **options: Ignored; azure-core's clients pass them.

        Returns:
            The token.

        Raises:
            SignInRequiredError: when only a person can help: nobody has signed in, or Entra demands a new sign-in.
            TokenSourceError: when Entra refuses, cannot be reached or answers nonsense, or the token is of another
                tenant than `tenant_id`.
            TypeError: when a scope, `claims` or `tenant_id` is not text.
            ValueError: when there is no scope, or `claims` is not a JSON object.
        """
        wanted = check_scopes(scopes)
        if tenant_id is not None and not isinstance(tenant_id, str):
            raise wrong_type("entra-request", "tenant_id is the text of a directory's id or domain", tenant_id)
        if claims is not None:
            hidden, claims = Secret(claims), None  # no frame that an error passes shows it: it may be anything as yet
            claims = _checked_json(hidden)
        grant = self._grants.get(wanted)
        if claims is None and grant is not None and grant.is_fresh:
            await checkpoint_if_cancelled()
        else:
            question = (wanted, claims, self.sign_ins)
            grant = await self._flights.ask(question, lambda: self._renew(wanted, claims, self.sign_ins))
        if tenant_id is not None:
            self._check_tenant(tenant_id, grant.token)
        return grant.token

    def _check_tenant(self, tenant_id: str, token: AccessToken) -> None:
        # The directory may have been given as a domain, or as "organizations"; the token has the tenant's id.
        if tenant_id.lower() not in {self._msal.tenant.lower(), str(token.claims.get("tid")).lower()}:
            problem = "the credential's tokens are of another tenant than tenant_id: make a credential for that tenant"
            raise explained("another-tenant", TokenSourceError(problem, permanent=True))

    async def _renew(self, scopes: tuple[str, ...], claims: str | None, sign_ins: int) -> Grant:
        held = self._grants.get(scopes)
        if claims is None and held is not None and held.is_fresh:
            return held  # renewed while this caller waited for its turn
        try:
            grant = await self._acquire(list(scopes), claims)
        except Exception:
            if claims is not None or held is None or not held.is_valid:
                raise
            grant = held.later()
        if sign_ins == self.sign_ins:  # otherwise somebody else may have signed in meanwhile
            self._grants[scopes] = grant
        return grant

    async def _acquire(self, scopes: list[str], claims: str | None) -> Grant:
        """A token from MSAL's cache, or a new one for the refresh token in it."""
        if self._account is None and not self._shares_cache:
            raise explained("sign-in-required", SignInRequiredError(f"nobody has signed in yet: {self._advice}"))
        if (cache := await self._msal.shared_cache()) is None:
            return await self._renewed(scopes, claims)

        async def look() -> Grant | None:
            return None if claims is not None else await self._msal.run(lambda app: self._looked(app, cache, scopes))

        return await cache.in_turn(lambda: self._renewed(scopes, claims), look)

    async def _renewed(self, scopes: list[str], claims: str | None) -> Grant:
        grant = await self._msal.run(lambda app: self._silently(app, scopes, claims))
        held = self._grants.get(tuple(scopes))
        if grant.cached and held is not None and held.token.token == grant.token.token:
            # MSAL reads the wall clock, which may have been set back. The same token is no younger for that.
            grant = replace(held.later(), cached=True)
        if grant.cached and grant.is_ending:
            try:
                grant = await self._msal.run(lambda app: self._silently(app, scopes, None, force=True))
            except TokenSourceError:
                if not grant.is_valid:
                    raise
        return grant

    def _looked(self, app: Any, cache: SharedCache, scopes: list[str]) -> Grant | None:
        """The token that MSAL has in memory, if it need not be renewed; else None."""
        with cache.looking(), suppress(TokenSourceError):
            grant = self._silently(app, scopes, None)
            return None if grant.is_ending else grant
        return None

    async def _in_turn(self, call: Callable[[Any], T], *secrets: str) -> T:
        """Make a call that may bring tokens; where other processes share the cache, while it has the cache's lease."""
        known, secrets = Texts(secrets), ()  # no frame that an error passes shows them
        if (cache := await self._msal.shared_cache()) is None:
            return await self._msal.run(call, *known)
        return await cache.in_turn(lambda: self._msal.run(call, *known), _nothing)

    def _silently(self, app: Any, scopes: list[str], claims: str | None, *, force: bool = False) -> Grant:
        # The hint chooses the account only until somebody has signed in, who may be another person than it names.
        account = self._find_account(app.get_accounts(self._username if self._account is None else None))
        result = app.acquire_token_silent_with_error(scopes, account, force_refresh=force, claims_challenge=claims)
        return take(app, result, self._advice, self._msal.clock)

    def _find_account(self, accounts: list[dict[str, Any]]) -> dict[str, Any] | None:
        if self._account is None:
            if len(accounts) > 1:
                raise explained(
                    "sign-in-required",
                    SignInRequiredError(f"several people are in the token cache, and none was chosen: {self._advice}"),
                )
            # Once chosen, the account stays, whoever else is in the cache later.
            self._account = next((account["home_account_id"] for account in accounts), None)
        return next((account for account in accounts if account["home_account_id"] == self._account), None)

    def _signed_in(self, scopes: tuple[str, ...], grant: Grant) -> None:
        """Take the grant of a new sign-in, and drop every token of the account before it."""
        self.sign_ins += 1
        self._account = grant.account
        self._grants = {scopes: grant}

    async def close(self) -> None:
        """Close the HTTP client that an `async with` block keeps open, and end the requests that use it.

        It waits a second at most for connections to close, also where it is cancelled. The tokens stay, and the
        credential can be used again.
        """
        await self._msal.aclose()

    def __reduce__(self) -> NoReturn:
        raise explained(
            "pickling", TypeError("a credential holds secrets and is not pickled; make one where it is needed")
        )


async def _nothing() -> None:
    """Find nothing: a sign-in always asks Entra."""


def _checked_json(hidden: Secret) -> str:
    claims = Secret(check_claims(hidden.value))
    try:
        found = json.loads(claims.value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        fix = "decode the challenge's, which are in base64"
        raise explained("entra-request", ValueError(f"claims are the text of a JSON object: {fix}"))
    checked: str = claims.value
    return checked


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes, if MSAL can ask for them.

    Raises:
        TypeError: when one is not text.
        ValueError: when there is no scope, or one is empty, has white space, or is one that MSAL adds by itself.
    """
    for scope in scopes:
        if not isinstance(scope, str):
            raise wrong_type("entra-request", "a scope is text", scope)
        if len(scope.split()) != 1:
            raise explained(
                "entra-request", ValueError("a scope is text without white space: give each as an argument of its own")
            )
    if not scopes:
        raise explained(
            "entra-request", ValueError('there is no scope: say what the token is for, such as "https://.../.default"')
        )
    if _RESERVED.intersection(scopes):
        raise explained(
            "entra-request", ValueError(f"leave out {', '.join(sorted(_RESERVED))}: they are asked for anyway")
        )
    return tuple(map(str.__str__, scopes))  # a subclass of str may show another text than it holds
