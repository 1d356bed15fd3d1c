"""Signing in with a code that a person enters on another device (RFC 8628)."""

from __future__ import annotations

import inspect
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from anyio import CapacityLimiter, move_on_after, sleep, to_thread

from .._common.checks import misfit
from .._common.errors import SignInRequiredError, TokenSourceError, explained, wrong_type
from .._common.redaction import Hidden, Secret
from ._application import msal_thread
from ._arguments import check_names
from ._credential import EntraCredential, check_scopes
from ._grant import Grant, refusal, take
from ._settings import check_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack

    from ._settings import Options

    PromptCallback: TypeAlias = Callable[[str, str, int], Awaitable[object] | object]

_PENDING = {"authorization_pending", "slow_down"}
_LONGEST = 3600  # seconds that a sign-in waits at most, however long its code lives
_LONGEST_PAUSE = 60  # seconds between polls at most


class DeviceCodeCredential(EntraCredential):
    """An Entra user who signs in on another device, with a code that this one shows.

    Making it does no I/O. Only `sign_in()` shows a code.

    Args:
        client_id: The application's id.
        prompt_callback: Called as `prompt_callback(verification_uri, user_code, expires_on)` to show the person what to
            do; `expires_on` is in Unix seconds. It is an async function, or a plain one that does not block. By
            default, a line is printed.
        **options: `tenant_id`: the directory's id or domain (default "organizations": any). `authority`: the https
            address or the host of another cloud, whose path may name the directory instead; or an OpenID authority,
            with its path and without `tenant_id` (default Microsoft's public cloud). `disable_instance_discovery`: True
            to trust an authority without asking Microsoft. `token_cache`: an `msal.TokenCache` that keeps the tokens
            (default: memory). `verify`: the path of a CA bundle or an `ssl.SSLContext` (default: the environment's
            certificates).

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when an argument cannot work.
    """

    def __init__(
        self, client_id: str, *, prompt_callback: PromptCallback | None = None, **options: Unpack[Options]
    ) -> None:
        given = Secret(options)
        del options  # no frame that an error passes shows a password in an address
        if prompt_callback is not None and not callable(prompt_callback):
            raise wrong_type("sign-in-arguments", "prompt_callback is a function of three arguments", prompt_callback)
        check_names(type(self), given)
        settings = check_settings(client_id, **given.value)
        self._prompt = prompt_callback or _print
        super().__init__(msal_thread(settings), shares_cache=settings.token_cache is not None)

    async def sign_in(self, *scopes: str) -> None:
        """Have a person sign in. Only this method shows a code; `get_token()` never does.

        It shows the code and waits until the person has entered it or the code expires, for an hour at most. While it
        waits, it survives failures of the network. Cancelling it ends the sign-in at once.

        Args:
            *scopes: What the tokens will be for.

        Raises:
            SignInRequiredError: when the person declines, or does nothing in time.
            TokenSourceError: when Entra refuses, or cannot be reached at first.
            TypeError: when a scope is not text, or `prompt_callback` takes other arguments than it is called with.
            ValueError: when there is no scope.
        """
        wanted = check_scopes(scopes)
        if (reason := misfit(self._prompt, "", "", 0)) is not None:  # checked before the authority makes a code
            raise explained(
                "sign-in-arguments",
                TypeError(
                    "prompt_callback is called with verification_uri, user_code and expires_on, which does not fit "
                    f"({reason})"
                ),
            )
        flow = await self._msal.run(lambda app: self._begin(app, list(wanted)))
        with move_on_after(flow["expires_in"]):
            shown = self._prompt(flow["verification_uri"], flow["user_code"], int(time.time()) + flow["expires_in"])
            if inspect.isawaitable(shown):
                await shown
            self._signed_in(wanted, await self._poll(flow))
            return
        raise explained(
            "sign-in-required", SignInRequiredError(f"nobody entered the code before it expired: {self._advice}")
        )

    def _begin(self, app: Any, scopes: list[str]) -> dict[str, Any]:
        flow: dict[str, Any] = Hidden(app.initiate_device_flow(scopes))
        if "error" in flow:
            raise refusal(flow, self._advice)
        if not all(isinstance(flow.get(name), str) for name in ("user_code", "device_code", "verification_uri")):
            raise explained(
                "entra-refused",
                TokenSourceError("the authority's answer has no code for a person: see whether it knows device codes"),
            )
        flow["interval"] = min(max(flow["interval"], 1), _LONGEST_PAUSE)  # at 0, MSAL would poll without a pause
        flow["expires_in"] = min(flow["expires_in"], _LONGEST)
        return flow

    async def _poll(self, flow: dict[str, Any]) -> Grant:
        pause: float = flow["interval"]
        while True:
            await sleep(pause)
            try:
                grant = await self._in_turn(lambda app: self._ask(app, flow), flow["device_code"])
            except TokenSourceError as error:
                if error.permanent:
                    raise
                pause = max(min(2 * pause, _LONGEST_PAUSE), error.retry_after or 0)  # RFC 8628, section 3.5
                continue
            if grant is not None:
                return grant
            pause = flow["interval"]  # MSAL lengthens it after a `slow_down`

    def _ask(self, app: Any, flow: dict[str, Any]) -> Grant | None:
        flow.pop("latest_attempt_at", None)  # MSAL compares it with the wall clock, and would warn where that is set
        result = app.acquire_token_by_device_flow(flow, exit_condition=lambda _: True)
        return None if result.get("error") in _PENDING else take(app, result, self._advice, self._msal.clock)


async def _print(verification_uri: str, user_code: str, _expires_on: int) -> None:
    text = f"To sign in, open {verification_uri} and enter the code {user_code}"
    text = "".join(filter(str.isprintable, text))  # otherwise an authority could send control codes to the terminal
    await to_thread.run_sync(partial(print, text, flush=True), limiter=CapacityLimiter(1))
