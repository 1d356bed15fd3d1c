"""Signing in with this machine's browser (RFC 8252, with the proof key of RFC 7636)."""

from __future__ import annotations

import logging
import math
import webbrowser
from typing import TYPE_CHECKING, Any

from anyio import create_task_group, move_on_after, sleep

from .._common.checks import is_async, is_number, misfit
from .._common.errors import CredentialUsageError, SignInRequiredError, TokenSourceError, explained, wrong_type
from .._common.redaction import Hidden, Secret
from .._loops.own_thread import in_own_thread
from ._application import msal_thread
from ._arguments import check_names
from ._credential import EntraCredential, check_scopes
from ._grant import Grant, take
from ._loopback import listen, wait_for_redirect
from ._redirect import RedirectAddress
from ._secrets import secrets_in
from ._settings import check_settings, check_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from anyio.abc import Listener, SocketStream

    from ._loopback import Redirect
    from ._settings import Options

_logger = logging.getLogger("anyio_acs_credential")

_PATIENCE = 4  # seconds until the log says what to do; a browser that fails after it was started reports nothing
_GO_BACK = "You can close this window and go back to the program."


class InteractiveBrowserCredential(EntraCredential):
    """An Entra user who signs in with this machine's browser.

    Making it does no I/O. Only `sign_in()` opens a browser. The browser brings the answer to a port on 127.0.0.1, which
    is open for as long as the sign-in lasts.

    Args:
        client_id: The application's id.
        redirect_uri: An address on loopback, as the application's registration has it. Without a port, any free port is
            used, which Entra allows for "http://localhost" (RFC 8252, section 7.3).
        login_hint: The name that the sign-in page fills in.
        prompt: "select_account", "login", "consent" or another value of OpenID Connect's `prompt`.
        timeout: Seconds that the person has to sign in.
        open_browser: A plain function that opens an address for the person. It is called in a thread of its own,
            where `anyio.from_thread` needs a `token=`, and abandoned there when the sign-in ends before it returns. If
            it returns False, there is no browser.
        **options: As for `DeviceCodeCredential`.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when an argument cannot work.
    """

    def __init__(
        self,
        client_id: str,
        *,
        redirect_uri: str = "http://localhost",
        login_hint: str | None = None,
        prompt: str | None = None,
        timeout: float = 300,
        open_browser: Callable[[str], object] = webbrowser.open,
        **options: Unpack[Options],
    ) -> None:
        given, address = Secret(options), Secret(redirect_uri)
        del options, redirect_uri  # no frame that an error passes shows a password in an address
        check_names(type(self), given)
        settings = check_settings(client_id, **given.value)
        self._address = RedirectAddress.parse(address.value)
        self._hints = {
            name: None if value is None else check_text(name, value, "text, or None")
            for name, value in {"login_hint": login_hint, "prompt": prompt}.items()
        }
        self._username = self._hints["login_hint"]
        if not is_number(timeout):
            raise wrong_type("sign-in-arguments", "timeout is a number of seconds", timeout)
        if not 0 < timeout < math.inf:
            raise explained("sign-in-arguments", ValueError("timeout is a number of seconds above 0, and finite"))
        if not callable(open_browser):
            raise wrong_type("sign-in-arguments", "open_browser is a function that takes an address", open_browser)
        if (reason := misfit(open_browser, "")) is not None:
            raise explained(
                "sign-in-arguments", TypeError(f"open_browser is called with an address, which does not fit ({reason})")
            )
        if is_async(open_browser):
            raise explained(
                "sign-in-arguments",
                TypeError("open_browser is a plain function: it is called in a thread, which awaits nothing"),
            )
        self._timeout = timeout
        self._open_browser = open_browser
        super().__init__(msal_thread(settings), shares_cache=settings.token_cache is not None)

    async def sign_in(self, *scopes: str) -> None:
        """Have a person sign in.

        It opens the browser and waits until the person has signed in, for `timeout` seconds at most. After 4 seconds
        without an answer, the logger `anyio_acs_credential` warns once where the sign-in waits, since a browser that
        fails after it was started reports nothing. Cancelling it closes the port at once; the browser's window stays.

        Args:
            *scopes: What the tokens will be for.

        Raises:
            SignInRequiredError: when the person cancels, or does nothing in time.
            CredentialUsageError: when the redirect's port is taken.
            TokenSourceError: when there is no browser, or Entra refuses, cannot be reached or answers nonsense.
            TypeError: when a scope is not text.
            ValueError: when there is no scope.
        """
        wanted = check_scopes(scopes)
        try:
            listener, redirect_uri = await listen(self._address)
        except OSError as error:
            raise explained(
                "port-in-use",
                CredentialUsageError(
                    f"port {self._address.port} on 127.0.0.1 cannot be used ({error.strerror}): leave the port out of "
                    "redirect_uri, or end what uses it"
                ),
            ) from error
        async with listener:
            flow = await self._msal.run(
                lambda app: Hidden(
                    app.initiate_auth_code_flow(
                        list(wanted), redirect_uri=redirect_uri, response_mode="form_post", **self._hints
                    )
                )
            )
            redirect = await self._await_person(listener, flow)
            async with redirect.stream:
                await self._redeem(wanted, flow, redirect)

    async def _await_person(self, listener: Listener[SocketStream], flow: dict[str, Any]) -> Redirect:
        async def send_off() -> TokenSourceError | None:
            async with create_task_group() as group:
                group.start_soon(self._say_where, flow["redirect_uri"])
                if (problem := await self._show_sign_in(flow["auth_uri"])) is not None:
                    group.cancel_scope.cancel("there is no browser")
            return problem

        with move_on_after(self._timeout):
            return await wait_for_redirect(listener, self._address, flow["state"], send_off)
        raise explained(
            "sign-in-required",
            SignInRequiredError(f"nobody has signed in within {self._timeout:g} seconds: {self._advice}"),
        )

    async def _say_where(self, redirect_uri: str) -> None:
        # Not the sign-in's own address: its `state` is a secret that tells the answer from a forged one.
        await sleep(_PATIENCE)
        _logger.warning(
            "No browser has come back to %s yet, where a sign-in waits for %g seconds in all: if none has opened, use "
            "DeviceCodeCredential, or open_browser=print to open the address by hand",
            redirect_uri,
            self._timeout,
        )

    async def _show_sign_in(self, address: str) -> TokenSourceError | None:
        try:
            opened = await in_own_thread(self._open_browser, address)
        except Exception as error:  # noqa: BLE001 - a foreign function; its error's text may hold the address
            opened, reason = False, f"open_browser raised {type(error).__name__}"
        else:
            reason = "open_browser returned False"
        if opened is not False:
            return None
        return explained(
            "no-browser",
            TokenSourceError(
                f"no browser could be opened ({reason}): give another open_browser, or use DeviceCodeCredential",
                permanent=True,
            ),
        )

    async def _redeem(self, scopes: tuple[str, ...], flow: dict[str, Any], redirect: Redirect) -> None:
        def redeem(app: Any) -> Grant:
            return take(app, app.acquire_token_by_auth_code_flow(flow, redirect.params), self._advice, self._msal.clock)

        try:
            self._signed_in(scopes, await self._in_turn(redeem, *secrets_in(flow), *secrets_in(redirect.params)))
        except TokenSourceError as error:
            failure = error
        else:
            await redirect.show("You are signed in", _GO_BACK)
            return
        await redirect.show("The sign-in did not work", _GO_BACK, f"The program was told: {failure}")
        raise failure
