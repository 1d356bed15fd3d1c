"""The switches with which a test, or a demonstration, acts as the people who sign in, and as their administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import OAuthError
from .scopes import read_scopes
from .state import read_claims

if TYPE_CHECKING:
    from .state import Entra


class EntraSwitches:
    """The Entra tenant of an emulator, with one application in it.

    A user is known by any name; who was not added before is added where the name is used first.

    Attributes:
        authority: Where the users sign in, such as `https://127.0.0.1:41234/{tenant_id}`.
        tenant_id: The tenant's id.
        client_id: The application that they sign in to.
        client_secret: The secret of that application. Another one each time.
    """

    authority: str
    tenant_id: str
    client_id: str
    client_secret: str
    _entra: Entra

    @property
    def sign_in_as(self) -> str | None:
        """Who signs in at the sign-in page without being asked; None, as at first, for a page with buttons."""
        return self._entra.sign_in_as

    @sign_in_as.setter
    def sign_in_as(self, user: str | None) -> None:
        self._entra.sign_in_as = user

    @property
    def single_use_refresh_tokens(self) -> bool:
        """Whether a refresh token is refused once it was used; at first it is not, as in Entra."""
        return self._entra.refresh_tokens.single_use

    @single_use_refresh_tokens.setter
    def single_use_refresh_tokens(self, single_use: bool) -> None:
        self._entra.refresh_tokens.single_use = single_use

    def add_user(self, name: str) -> str:
        """Let somebody sign in.

        Args:
            name: The user's name.

        Returns:
            The user's object id.
        """
        return self._entra.add_user(name)

    def add_redirect_uri(self, uri: str) -> None:
        """Let the sign-in page send people back to one more address, besides loopback with any port and path.

        Args:
            uri: The redirect URI, as an application sends it.
        """
        self._entra.redirect_uris.add(uri)

    def add_client_certificate(self, pem: bytes) -> None:
        """Take the application for itself too when it signs with the key of this certificate.

        Args:
            pem: The certificate, in PEM.

        Raises:
            ValueError: when there is no certificate in it.
        """
        self._entra.secrets.add_certificate(pem)

    def approve(self, user_code: str, user: str = "user") -> None:
        """Sign in on another device, as somebody who enters a user code at the page.

        Args:
            user_code: The code that the device shows.
            user: The name of who signs in.

        Raises:
            ValueError: when the code is unknown, has expired or was answered before.
        """
        self._entra.answer_device(user_code, user)

    def decline(self, user_code: str) -> None:
        """Refuse to sign in on another device.

        Args:
            user_code: The code that the device shows.

        Raises:
            ValueError: when the code is unknown, has expired or was answered before.
        """
        self._entra.answer_device(user_code, None)

    def revoke_refresh_tokens(self, user: str) -> None:
        """End a user's sign-ins: refresh tokens issued so far bring `invalid_grant`. Access tokens stay good.

        Args:
            user: The user's name.

        Raises:
            ValueError: when nobody has this name, so that there is nothing to end.
        """
        if user not in self._entra.users:
            known = ", ".join(map(repr, self._entra.users)) or "nobody yet"
            raise ValueError(f"no user is named {user!r}; those who signed in or were added: {known}")
        self._entra.refresh_tokens.revoke(user)

    def require_claims(self, user: str, claims: str) -> None:
        """Take no token of a user any more until one comes that was asked for with these claims.

        Until then the exchange, and the Identity API, answer 401 with a claims challenge (continuous access
        evaluation); the exchange of a Teams user's token answers 401 without one.

        Args:
            user: The user's name; `client_id` for the application's own tokens.
            claims: A JSON object, as an application passes it on to Entra.

        Raises:
            ValueError: when it is none.
        """
        try:
            self._entra.require_claims(user, read_claims({"claims": claims}))
        except OAuthError as error:
            raise ValueError("claims are the text of a JSON object") from error

    def issue_entra_token(self, *scopes: str, user: str = "user") -> str:
        """An Entra access token, as if the user had signed in: to exchange, to manage with, or to show for its user.

        Args:
            scopes: As an application asks for them, of one service; `api://{client_id}/access_as_user` for a token
                that the application itself takes, as the on-behalf-of flow needs it.
            user: The user's name.

        Raises:
            ValueError: when a scope is unknown, or there are scopes of more than one service.
        """
        self._entra.add_user(user)
        try:
            permission = read_scopes(" ".join(scopes), self.client_id)
        except OAuthError as error:
            raise ValueError(error.description) from error
        return self._entra.tokens.access_token(user, permission, {})
