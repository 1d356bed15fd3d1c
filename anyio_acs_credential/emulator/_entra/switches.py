"""The switches by which a test or a demonstration acts for the people who sign in, and for their administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._common.errors import explained
from .._settings import check_switch, check_text
from .errors import OAuthError
from .scopes import read_scopes
from .state import read_claims

if TYPE_CHECKING:
    from .state import Entra


class EntraSwitches:
    """The Entra tenant of an emulator, with one application in it.

    A user may have any name. A name that was not added before is added where it is first used.

    Attributes:
        authority: Where the users sign in, such as `https://127.0.0.1:41234/{tenant_id}`.
        tenant_id: The tenant's id.
        client_id: The id of the application that they sign in to.
        client_secret: The secret of that application. Each emulator makes a new one.
    """

    authority: str
    tenant_id: str
    client_id: str
    client_secret: str
    _entra: Entra

    @property
    def sign_in_as(self) -> str | None:
        """The user who signs in at the sign-in page without being asked; None (the default) for a page with buttons."""
        return self._entra.sign_in_as

    @sign_in_as.setter
    def sign_in_as(self, user: str | None) -> None:
        if user is not None:
            check_text("sign_in_as", user)
        self._entra.sign_in_as = user

    @property
    def single_use_refresh_tokens(self) -> bool:
        """Whether a refresh token can be used once only; by default it can be used again, as in Entra."""
        return self._entra.refresh_tokens.single_use

    @single_use_refresh_tokens.setter
    def single_use_refresh_tokens(self, single_use: bool) -> None:
        check_switch("single_use_refresh_tokens", single_use)
        self._entra.refresh_tokens.single_use = single_use

    def add_user(self, name: str) -> str:
        """Add a user, who can sign in from then on.

        Args:
            name: The user's name.

        Returns:
            The user's object id.

        Raises:
            TypeError: when the name is not text.
        """
        check_text("name", name)
        return self._entra.add_user(name)

    def add_redirect_uri(self, uri: str) -> None:
        """Let the sign-in page send people back to one more address, besides loopback with any port and path.

        Args:
            uri: The redirect URI, as an application sends it.

        Raises:
            TypeError: when it is not text.
        """
        check_text("uri", uri)
        self._entra.redirect_uris.add(uri)

    def add_client_certificate(self, pem: bytes) -> None:
        """Let the application also authenticate with the key of this certificate, in PEM.

        Args:
            pem: The certificate, in PEM.

        Raises:
            ValueError: when there is no certificate in it.
        """
        self._entra.secrets.add_certificate(pem)

    def approve(self, user_code: str, user: str = "user") -> None:
        """Enter a user code and sign in, as a person does on another device.

        Args:
            user_code: The code that the device shows.
            user: The name of who signs in.

        Raises:
            TypeError: when the code or the name is not text.
            ValueError: when the code is unknown, has expired or was answered before.
        """
        check_text("user_code", user_code)
        check_text("user", user)
        self._entra.answer_device(user_code, user)

    def decline(self, user_code: str) -> None:
        """Enter a user code and decline to sign in.

        Args:
            user_code: The code that the device shows.

        Raises:
            TypeError: when the code is not text.
            ValueError: when the code is unknown, has expired or was answered before.
        """
        check_text("user_code", user_code)
        self._entra.answer_device(user_code, None)

    def revoke_refresh_tokens(self, user: str) -> None:
        """End a user's sign-ins: refresh tokens issued so far bring `invalid_grant`. Access tokens stay valid.

        Args:
            user: The user's name.

        Raises:
            ValueError: when no user has this name.
        """
        if user not in self._entra.users:
            known = ", ".join(map(repr, self._entra.users)) or "nobody yet"
            problem = f"no user is named {user!r}; those who signed in or were added: {known}"
            raise explained("emulator-arguments", ValueError(problem))
        self._entra.refresh_tokens.revoke(user)

    def require_claims(self, user: str, claims: str) -> None:
        """Accept no token of a user until one comes that was requested with these claims.

        Until then the exchange and the Identity API answer 401 with a claims challenge (continuous access evaluation),
        and the exchange of a Teams user's token answers 401 without one.

        Args:
            user: The user's name; `client_id` for the application's own tokens.
            claims: The text of a JSON object, as an application passes it on to Entra.

        Raises:
            ValueError: when `claims` is not a JSON object.
        """
        try:
            self._entra.require_claims(user, read_claims({"claims": claims}))
        except OAuthError as error:
            raise explained("emulator-arguments", ValueError("claims are the text of a JSON object")) from error

    def issue_entra_token(self, *scopes: str, user: str = "user") -> str:
        """An Entra access token, as if the user had signed in: to exchange, to manage the resource, or as an assertion.

        Args:
            scopes: The scopes that an application would ask for, all of one service; `api://{client_id}/access_as_user`
                for a token that the application itself takes, as the on-behalf-of flow needs it.
            user: The user's name.

        Raises:
            TypeError: when the name is not text.
            ValueError: when a scope is unknown, or there are scopes of more than one service.
        """
        check_text("user", user)
        self._entra.add_user(user)
        try:
            permission = read_scopes(" ".join(scopes), self.client_id)
        except OAuthError as error:
            raise explained("emulator-arguments", ValueError(error.description)) from error
        return self._entra.tokens.access_token(user, permission, {})
