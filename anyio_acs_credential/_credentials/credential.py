"""The credential: what programs hold, inject and ask for tokens."""

from __future__ import annotations

import math
import time
from threading import get_ident
from typing import TYPE_CHECKING, Any, overload

from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from .._common.checks import check_claims, is_number
from .._common.errors import CredentialUsageError, TokenUnavailableError, explained, wrong_type
from .._common.public import public
from .._common.redaction import Secret, Unpicklable
from .._decisions.state import RefreshState
from .._exchange.scopes import DEFAULT_SCOPE
from .._refreshing import waiting
from .._tokens.access_token import AccessToken, AccessTokenInfo, raw_id_of
from .._tokens.jwt import check_text
from .lifecycle import Lifecycle
from .options import DEFAULT_POLICY, check_options, initial_token, token_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .._decisions.events import CredentialEvent, CredentialStatistics
    from .._decisions.health import CredentialHealth
    from .._decisions.schedule import RefreshPolicy
    from .._exchange.entra_tokens import SupportsGetToken
    from .._http.request import HttpClient
    from .._refreshing.round import Round
    from .._refreshing.source import TokenRefresher
    from .._refreshing.updates import TokenUpdates
    from .._tokens.clock import Clock
    from .._tokens.token_source import TokenSource


class CommunicationTokenCredential(Unpicklable, Lifecycle):
    """An access token for Azure Communication Services that never ends while somebody needs it.

    There are three ways in: a token that you already have; a callback that fetches tokens, with an initial token or
    without; an Entra user's token credential, whose tokens are exchanged at the resource. With the last two,
    `async with credential:` starts one task that refreshes the token in time, and ends it.
    Open the credential once, where the program starts (a web framework's lifespan), and inject it; on trio, the task
    that entered it has to leave it. A closed credential may be entered again.

    Each call of a callback is a task of its own, which the refresh task starts, with the context variables of the task
    that entered. What it raises fails its round only: the held token stays, and the callback is asked again after a
    back-off, for as long as the block lasts.

    Args:
        token: The text of a JWT, or an `AccessToken`, to begin with.
        token_refresher: A callable without required arguments whose result is awaited: an async function, a bound
            method, a `functools.partial`, an `EntraTokenExchange`, or what `fleet.shared()` returns. It gives a JWT, an
            `AccessToken`, or any object with `.token` and `.expires_on`, or `.expires_in`, which is right even where
            this machine's clock is wrong.
        resource_endpoint: The resource's address, `https://<resource>.communication.azure.com`.
        token_credential: Anything with `get_token(*scopes)`, such as a credential of azure-identity. A plain one is
            called in a thread of its own. It is never closed here.
        scopes: What the Entra token is for, all of one family: Teams Phone Extensibility, or Communication Services
            clients.
        http_client: An `httpx.AsyncClient` or `httpx2.AsyncClient` for the exchange, which is not closed here. By
            default the block has one of its own, which honours the environment's proxies and certificates.
        proactive_refresh: Whether tokens are refreshed in the background before they end, and the first is fetched on
            entering; otherwise the source is asked when a caller needs a token.
        policy: The windows, waits and limits.
        observer: A plain function that is called with each `CredentialEvent`, in order. It must not block.
        clock: Where the time comes from: any object with `time()` and `monotonic()`, in seconds. In virtual time (see
            `anyio_acs_credential.testing`), entering a credential that refreshes its token raises
            `CredentialUsageError` if its clock is the module `time`, by which a test would never see a token end.

    Raises:
        InvalidTokenError: when `token` is not an access token.
        TypeError: when an argument is of a wrong type or contradicts another, or there is no way to get a token.
        ValueError: when the endpoint is not the address of a resource, or the scopes are not those of an exchange.
    """

    _refusal = "a credential holds secrets and a task, and is not pickled: make one in each process"

    @overload
    def __init__(self, token: str | AccessToken, *, clock: Clock = ...) -> None: ...

    @overload
    def __init__(
        self,
        token: str | AccessToken | None = None,
        *,
        token_refresher: TokenRefresher,
        proactive_refresh: bool = True,
        policy: RefreshPolicy = ...,
        observer: Callable[[CredentialEvent], object] | None = None,
        clock: Clock = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        resource_endpoint: str,
        token_credential: SupportsGetToken,
        scopes: Iterable[str] = ...,
        http_client: HttpClient | None = None,
        proactive_refresh: bool = True,
        policy: RefreshPolicy = ...,
        observer: Callable[[CredentialEvent], object] | None = None,
        clock: Clock = ...,
    ) -> None: ...

    def __init__(
        self,
        token: str | AccessToken | None = None,
        *,
        token_refresher: TokenRefresher | None = None,
        resource_endpoint: str | None = None,
        token_credential: SupportsGetToken | None = None,
        scopes: Iterable[str] = (DEFAULT_SCOPE,),
        http_client: HttpClient | None = None,
        proactive_refresh: bool = True,
        policy: RefreshPolicy = DEFAULT_POLICY,
        observer: Callable[[CredentialEvent], object] | None = None,
        clock: Clock = time,
    ) -> None:
        initial, endpoint = Secret(token), Secret(resource_endpoint)
        refresher, entra, client = Secret(token_refresher), Secret(token_credential), Secret(http_client)
        # No frame that an error passes shows a token or a password. The text of one may be given in the place of each
        # of them by mistake, and the repr of a program's own source may show what that holds.
        del token, resource_endpoint, token_refresher, token_credential, http_client
        self._source = token_source(initial, refresher, endpoint, entra, scopes=scopes, http_client=client)
        check_options(self._source is not None, proactive_refresh, policy, observer, clock)
        if self._source is not None:
            self._source.use(clock)
        self._clock = clock
        self._observer = observer
        self._reads = 0
        state = RefreshState(clock, policy, proactive_refresh)
        if initial.value is not None:
            state.hold(initial_token(initial.value))
        super().__init__(state)

    async def get_token(
        self,
        *scopes: str,  # noqa: ARG002 - azure-core's clients pass them
        claims: str | None = None,
        **options: Any,  # noqa: ARG002 - likewise
    ) -> AccessToken:
        """A valid access token.

        A fresh token is returned without waiting. A token that is about to end is returned after
        `RefreshPolicy.on_demand_wait` seconds at most, or the newer one if that comes in time. Without a valid token,
        this waits for the next round. Cancelling a caller never cancels a round. Every call is a point of cancellation,
        and lets other tasks run whenever it waits and at every 64th fresh read.

        Args:
            *scopes: Ignored; azure-core's clients pass them.
            claims: The claims of a challenge (continuous access evaluation), as JSON. An Entra credential is asked for
                a token that meets them, once for all callers who bring the same, and not within a back-off. A refresher
                cannot pass them on, so they mean `refresh(rejected=<held token>)`; a static credential ignores them.
            **options: Ignored; azure-core's clients pass them.

        Returns:
            The token, valid now.

        Raises:
            TokenRefreshError: when there is no valid token and the refresh failed. Unless it is `permanent`, trying
                again later is worth it.
            TokenUnavailableError: when a static token has expired.
            CredentialNotEnteredError: when a refreshing credential was not entered.
            CredentialClosedError: when it is closed, or closes while this waits.
            CredentialUsageError: when called in another event loop than it was entered in, or by its own refresher.
            TypeError: when `claims` is not text.
        """
        held, home, clock = self._held, self._home, self._clock
        if (
            held is not None
            and claims is None
            and home.process.is_here
            and get_ident() == home.runner._thread_id
            and clock.time() < held.fresh_until
            and clock.monotonic() < held.fresh_until_monotonic
        ):
            reads = self._reads = (self._reads + 1) & 63
            try:
                await (self._check_cancelled() if reads else self._yield())
            except RuntimeError:  # trio's, in a task that trio does not run
                self._entered().home.check()
                raise  # pragma: no cover - trio's own trouble
            return held.token
        hidden, claims = Secret(claims), None  # no frame that an error passes shows it: it may be anything as yet
        claims = check_claims(hidden.value)
        if self._source is None:
            await checkpoint_if_cancelled()
            return self.get_token_nowait()
        if claims is not None:
            return await waiting.join_each(self._entered(), self._rounds_for(claims, self._source))
        return await waiting.wait_for_token(self._entered())

    def get_token_nowait(self) -> AccessToken:
        """The held token, without waiting and without a checkpoint. Safe from any thread.

        Returns:
            The token, valid now.

        Raises:
            TokenUnavailableError: when no token is held or it has expired; `await get_token()` gets one.
            CredentialNotEnteredError: when a refreshing credential was not entered.
            CredentialClosedError: when it is closed.
        """
        held = self._held
        if (
            held is not None
            and self._clock.time() <= held.valid_until
            and self._clock.monotonic() <= held.valid_until_monotonic
        ):
            return held.token
        raise self._unavailable()

    def get_token_from_thread(self, timeout: float | None = None) -> AccessToken:
        """The token that `get_token()` gives, for any thread but the event loop's. It blocks that thread.

        A fresh token is returned at once, and needs no event loop. In a worker thread of anyio or trio whose caller is
        cancelled, the wait ends with that cancellation, and the round goes on.

        Args:
            timeout: Seconds that this may wait, whatever the event loop does; None to wait as long as `get_token()`.

        Returns:
            The token, valid now.

        Raises:
            TimeoutError: when the time is up.
            TypeError: when the timeout is not a number.
            ValueError: when the timeout is NaN.
            CredentialUsageError: when called in the event loop's own thread, which it would block, or in a process that
                was forked after the credential was entered.
            CredentialClosedError: when it is closed, or the event loop in which it was entered has ended.
            CredentialError: as `get_token()` does. While rounds fail, one thread at most waits for the next, for half
                of `RefreshPolicy.refresh_timeout` at most; the others get the last error, or the held token, at once.
        """
        if timeout is not None and not is_number(timeout):
            raise wrong_type("policy", "timeout is a number of seconds, or None", timeout)
        if timeout is not None and math.isnan(timeout):
            raise explained("policy", ValueError("timeout is a number of seconds, or None for no limit, not nan"))
        return self._from_thread(timeout)

    async def get_token_info(self, *scopes: str, options: Mapping[str, Any] | None = None) -> AccessTokenInfo:
        """The token that `get_token()` gives, in the form that newer azure-core clients ask for.

        It waits as `get_token()` does, and cancelling it never cancels a round.

        Args:
            *scopes: Ignored, as by `get_token()`.
            options: azure-core's options, of which `claims` counts, as for `get_token()`.

        Returns:
            The token, with a `refresh_on` that makes an azure-core client ask again at each request.

        Raises:
            CredentialError: as `get_token()` does.
            TypeError: when the claims are not text.
        """
        given, options = Secret(options), None  # no frame that an error passes shows what the claims are by mistake
        token = await self.get_token(*scopes, claims=(given.value or {}).get("claims"))
        return AccessTokenInfo(token.token, token.expires_on)

    async def refresh(self, *, rejected: str | AccessToken | None = None) -> AccessToken:
        """A new token now, whatever the schedule or a back-off says.

        This waits for a round. Any number of concurrent calls make one round, and join one in flight; cancelling a
        call never cancels the round. Its token replaces the held one if it is unexpired, also when it ends earlier. If
        the round fails, `get_token()` goes on handing out the held token while that lasts.

        Args:
            rejected: The token (or its text) that a service rejected with a 401. If another token is held by now, that
                is returned and nothing is fetched. If not, a round is made, but not within a back-off: a source that is
                down is not asked once a request. Tokens that are rejected within a minute of their receipt, one after
                the other, are replaced at the pace of the back-off after the first.

        Returns:
            The token that is held now.

        Raises:
            TokenRefreshError: when the round failed, or a rejected token may not be replaced yet.
            TokenUnavailableError: when the credential is static.
            CredentialNotEnteredError: when the credential was not entered.
            CredentialClosedError: when it is closed, or closes while this waits.
            CredentialUsageError: when called in another event loop, or by its own refresher.
            InvalidTokenError: when `rejected` is a text that is no token, such as one with a "Bearer " prefix.
            TypeError: when `rejected` is neither a token nor a text.
        """
        given, rejected = Secret(rejected), None  # no frame of ours that an exception passes shows it
        if not isinstance(given.value, str | AccessToken | None):
            raise wrong_type("rejected", "rejected is a token or its text", given.value)
        if isinstance(given.value, AccessToken):
            given = Secret(given.value.token)
        hidden = None if given.value is None else Secret(check_text(given.value))
        if self._source is None:
            await checkpoint_if_cancelled()
            if self._closed:
                raise waiting.closed_error()
            raise explained(
                "static-expired",
                TokenUnavailableError("a static credential cannot refresh its token: give it a token_refresher"),
            )
        task = self._entered()
        return await waiting.join_each(task, waiting.rounds_for_refresh(task, hidden))

    def updates(self) -> TokenUpdates:
        """An async iterator of the held token, if there is a valid one, and then of each that replaces it.

        It subscribes now, gives a slow reader the newest token, and ends when the credential closes.

        Returns:
            An iterator whose reads wait for the next token, and may be cancelled without losing one.

        Raises:
            CredentialNotEnteredError: when a refreshing credential was not entered.
            CredentialClosedError: when it is closed.
        """
        from .._refreshing.updates import TokenUpdates

        if self._closed:
            raise waiting.closed_error()
        return TokenUpdates(self._state, None if self._source is None else self._entered())

    def statistics(self) -> CredentialStatistics:
        """A consistent snapshot of how the credential stands. It never waits and works in every state."""
        task = self._task
        return self._state.statistics(
            closed=self._closed,
            refreshing=task is not None and not task.closed,
            waiting=task.round.waiting if task is not None else 0,
        )

    def health(self, margin: float = 0.0) -> CredentialHealth:
        """Whether the credential can give a token now, for readiness probes.

        It never waits, may be called in any thread, and names in its result what is wrong with the credential. A
        credential without a valid token is not ready, unless it is on demand and its source has not failed; nor is one
        that was not entered, or whose refresh task has ended.

        Args:
            margin: Seconds of life that a token must have left to count as valid, 0 or more.

        Returns:
            A frozen snapshot.

        Raises:
            TypeError: when the margin is not a number.
            ValueError: when it is negative or not finite.
        """
        from .._decisions.health import CredentialHealth, HealthStatus, check_margin, health_of

        check_margin(margin)
        if (misuse := self._misuse()) is not None:
            return CredentialHealth(HealthStatus.UNAVAILABLE, str(misuse), 0.0)
        state = self._state
        return health_of(
            self.statistics(),
            state.remaining(),
            margin,
            proactive=state.proactive,
            static=self._source is None,
        )

    @property
    def raw_id(self) -> str | None:
        """The raw id of the user whose token is held, from the exchange or the token's `skypeid` claim; or None."""
        return None if self._state.held is None else raw_id_of(self._state.held.token)

    def __repr__(self) -> str:
        if not hasattr(self, "_closed"):  # `__init__` has raised, and a traceback shows this
            return f"<{type(self).__name__} not made>"
        statistics = self.statistics()
        if self._closed or (self._source is not None and self._task is None):
            how = "closed" if self._closed else "not entered"
        else:
            how = f"{statistics.state}, expires_on={statistics.expires_on}"
        return f"<{type(self).__name__} {how}>"

    def _from_thread(self, timeout: float | None = None, claims: str | None = None) -> AccessToken:
        if self._source is None:
            return self.get_token_nowait()
        task = self._entered()
        if get_ident() == self._home.thread and not task.home.is_lost:
            raise explained(
                "loop-thread",
                CredentialUsageError("the event loop's own thread would wait for itself here: await get_token()"),
            )
        held = self._held  # read once: the refresh task may replace it in between
        if (
            held is not None
            and claims is None
            and self._clock.time() < held.fresh_until
            and self._clock.monotonic() < held.fresh_until_monotonic
        ):
            return held.token
        from .._refreshing.thread_waiting import wait_in_thread

        return wait_in_thread(task, timeout, None if claims is None else self._rounds_for(claims, self._source))

    def _rounds_for(self, claims: str, source: TokenSource) -> Iterator[Round]:
        task, held = self._entered(), self._held
        if source.takes_claims:
            return waiting.rounds_for_claims(task, claims)
        return waiting.rounds_for_refresh(task, Secret(held.token.token if held is not None else ""))

    async def _yield(self) -> None:
        self._entered().home.check()
        await checkpoint()


public(CommunicationTokenCredential)
