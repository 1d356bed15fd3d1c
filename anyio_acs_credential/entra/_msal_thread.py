"""MSAL in a thread: the one place in which its code runs, its import and its constructor included.

The rules of this file:

* Each credential makes one call at a time, in a worker thread that is never abandoned. MSAL's requests run in the event
  loop, in the caller's cancel scope, so that cancelling the caller ends the requests, and with them the thread's work.
* A call that waits for its turn has no transport yet, so cancelling it touches no other call's requests.
* An exception of MSAL becomes one of ours. No secret is in its text, and no context of it could hold one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, Lock, get_cancelled_exc_class, to_thread
from anyio.lowlevel import checkpoint_if_cancelled, current_token

from .._common.errors import ServiceError, TokenSourceError, explained
from .._loops.per_loop import PerLoop
from .._tokens.clock_warning import TOLERANCE
from .._tokens.service_clock import ServiceClock
from ._secrets import KNOWN, Texts, guard_loggers, hide
from ._transport import CURRENT, Transport
from ._turns import as_shared_cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.lowlevel import EventLoopToken

    from ._turns import SharedCache

T = TypeVar("T")


class MsalThread:
    """An MSAL application, made and used in worker threads alone.

    Args:
        make_app: Makes the application.
        make_client: Makes the HTTP client for a `Relay`. None where the application has an HTTP client of its own.
        token_cache: The application's token cache, where it is known before the application is made.
        tenant: The directory that its authority names; empty where that is not known.

    Attributes:
        tenant: As it was given.
        clock: The authority's clock, as far as its answers have shown it.
    """

    def __init__(
        self,
        make_app: Callable[[], Any],
        make_client: Callable[[], Any] | None = None,
        token_cache: Any = None,
        *,
        tenant: str = "",
    ) -> None:
        self.tenant: str = tenant
        self._make_app = make_app
        self._make_client = make_client
        self.clock: ServiceClock = ServiceClock("Entra")
        self._token_cache = token_cache
        self._app: Any = None
        self._turn = PerLoop(Lock)
        self._limiter = PerLoop(lambda: CapacityLimiter(1))
        self._kept: tuple[EventLoopToken, Transport] | None = None

    async def run(self, call: Callable[[Any], T], *secrets: str) -> T:
        """Call a function of the application.

        It waits for its turn and for the call. Cancelling it ends the call's requests, where they are ours.

        Args:
            call: What to do with the application, in its thread.
            secrets: Texts that no message may show, besides the secrets in requests and answers.

        Raises:
            TokenSourceError: when MSAL fails.
        """
        known, secrets = Texts(secrets), ()  # no frame that an error passes shows them
        async with self._turn.get():
            before = self.clock.offset or 0.0
            try:
                return await self._run(call, known)
            except ServiceError as error:
                # The refusal of an assertion may have shown that the authority's clock is not what the assertion says.
                if error.code != "invalid_client" or abs((self.clock.offset or 0.0) - before) <= TOLERANCE:
                    raise
            return await self._run(call, known)

    async def shared_cache(self) -> SharedCache | None:
        """The application's token cache, if other processes share it. The user's application is made to find out."""
        if self._make_client is None and self._token_cache is None:
            self._token_cache = await self.run(lambda app: app.token_cache)
        return as_shared_cache(self._token_cache)

    async def _run(self, call: Callable[[Any], T], secrets: set[str]) -> T:
        transport = self._transport()
        try:
            return await to_thread.run_sync(self._work, call, transport, secrets, limiter=self._limiter.get())
        except get_cancelled_exc_class():
            # asyncio's Task.cancel() passes anyio's shield, and the thread would go on waiting for its requests.
            await transport.aclose()
            raise
        except TokenSourceError:
            # The requests of a cancelled caller fail, and it is to be cancelled.
            await checkpoint_if_cancelled()  # noqa: ASYNC120 - on purpose
            raise
        finally:
            if self._kept is None or transport is not self._kept[1]:
                await transport.aclose()

    def _transport(self) -> Transport:
        if self._kept is None or self._kept[0] != current_token():
            return Transport(self._make_client, self.clock)
        if self._kept[1].closed:  # a cancelled call has closed it
            self.keep()
        return self._kept[1]

    def _work(self, call: Callable[[Any], T], transport: Transport, secrets: set[str]) -> T:
        KNOWN.set(secrets)
        CURRENT.set(transport)
        try:
            return call(self._application())
        except TokenSourceError:
            raise
        except Exception as error:  # noqa: BLE001 - after an unexpected answer, MSAL may raise anything
            problem = f"{type(error).__name__}: {hide(str(error))}"
        raise explained(
            "msal-failed",
            TokenSourceError(f"MSAL failed ({problem}): try again later, and see what the authority answers"),
        )

    def _application(self) -> Any:
        import msal  # noqa: F401 - its import makes the loggers that are guarded next

        guard_loggers()
        if self._app is None:
            self._app = self._make_app()
        return self._app

    def keep(self) -> None:
        """From now on, send all requests of this event loop with one HTTP client."""
        self._kept = current_token(), Transport(self._make_client, self.clock)

    async def aclose(self) -> None:
        """Close the client of `keep()`. Calls in progress with it fail; later calls open a client each."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept[1].aclose()
