"""Signing in with the authorization code that a web application received (RFC 6749, section 4.1)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from .._common.errors import SignInRequiredError
from .._common.redaction import Hidden, Secret
from ._application import msal_thread
from ._arguments import check_names
from ._credential import EntraCredential
from ._grant import Grant, take
from ._settings import check_secret, check_settings, check_text

if TYPE_CHECKING:
    from typing import Unpack

    from ._settings import Options

_STATE = "the web application has checked its own"
_OPENID = ["offline_access", "openid", "profile"]
_CAPABILITIES = json.dumps({"access_token": {"xms_cc": {"values": ["CP1"]}}})


class AuthorizationCodeCredential(EntraCredential):
    """An Entra user who has signed in at a web application, which received an authorization code.

    Making it does no I/O. The first `get_token()` or `sign_in()` redeems the code, once; later tokens come by the
    refresh token. Where the network fails, the next call tries again.

    Args:
        client_id: The application's id.
        authorization_code: The code that the person's browser brought to `redirect_uri`. Check the `state` that came
            with it before you make the credential.
        redirect_uri: The address to which the code was sent, exactly as the sign-in's request named it.
        code_verifier: The secret behind the code challenge (RFC 7636), if the request had one.
        client_secret: The application's secret, unless it is a public client.
        **options: As for `DeviceCodeCredential`.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when an argument cannot work.
    """

    _advice = "sign the person in again, and make a new credential with the new authorization code"

    def __init__(
        self,
        client_id: str,
        *,
        authorization_code: str,
        redirect_uri: str,
        code_verifier: str | None = None,
        client_secret: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        code, verifier, secret = Secret(authorization_code), Secret(code_verifier), Secret(client_secret)
        given, address = Secret(options), Secret(redirect_uri)  # an address may have a password in it
        # No frame that an error passes shows them.
        del authorization_code, code_verifier, client_secret, options, redirect_uri
        check_names(type(self), given)
        settings = check_settings(client_id, **given.value)
        self._redirect_uri = Secret(check_text("redirect_uri", address.value, "the address that the code was sent to"))
        self._code: Secret | None = Secret(
            check_text("authorization_code", code.value, "the code that came to redirect_uri")
        )
        self._verifier = check_secret("code_verifier", verifier, "the secret behind the code challenge")
        known = check_secret("client_secret", secret, "the application's secret")
        super().__init__(msal_thread(settings, known), shares_cache=False)

    async def sign_in(self, *scopes: str) -> None:
        """Redeem the code, as the first `get_token()` does.

        It waits for Entra. Cancelling it ends the request, and the code may be spent.

        Args:
            *scopes: What the first token is for.

        Raises:
            SignInRequiredError: when the code is not valid any more.
            TokenSourceError: when Entra refuses, cannot be reached or answers nonsense.
            TypeError: when a scope is not text.
            ValueError: when there is no scope.
        """
        await self.get_token(*scopes)

    async def _acquire(self, scopes: list[str], claims: str | None) -> Grant:
        if (code := self._code) is not None:
            grant = await self._redeem(code, scopes)
            if claims is None:
                return grant
        return await super()._acquire(scopes, claims)

    async def _redeem(self, code: Secret, scopes: list[str]) -> Grant:
        def redeem(app: Any) -> Grant:
            from msal.oauth2cli.oauth2 import Client

            flow = Hidden(
                state=_STATE,
                redirect_uri=self._redirect_uri.value,
                code_verifier=self._verifier.value if self._verifier is not None else None,
                scope=[*scopes, *_OPENID],
            )
            # The base class's method, since the OpenID client's compares a nonce that only the web application knows.
            result: dict[str, Any] = Client.obtain_token_by_auth_code_flow(
                app.client, flow, {"state": _STATE, "code": code.value}, data={"claims": _CAPABILITIES}
            )
            if "refresh_in" in result:
                result["refresh_on"] = int(time.time() + result["refresh_in"])
            return take(app, result, self._advice, self._msal.clock)

        try:
            grant = await self._in_turn(redeem)
        except SignInRequiredError:
            self._code = None
            raise
        self._code, self._account = None, grant.account
        return grant
