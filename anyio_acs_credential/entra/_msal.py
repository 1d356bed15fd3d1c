"""An MSAL application of the user's own as a credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._common.errors import TokenSourceError, explained, name_of
from .._common.redaction import Secret
from ._credential import EntraCredential
from ._msal_thread import MsalThread
from ._settings import check_text

if TYPE_CHECKING:
    from collections.abc import Callable


class MsalCredential(EntraCredential):
    """The tokens of somebody who signed in through an MSAL application of your own.

    It renews tokens and signs nobody in: sign people in through the application, in whichever way it knows.

    The application makes its requests with its own HTTP client, so only its own `timeout=` (seconds) bounds them, and
    MSAL's default is no time limit. A cancelled caller waits until MSAL returns. So make the application with
    `timeout=`.

    Args:
        app: An `msal.PublicClientApplication` or `msal.ConfidentialClientApplication`, or a function without arguments
            that makes one. Making one asks the network, so prefer a function: it is called once, in MSAL's thread.
        account: Whose tokens: one of the application's `get_accounts()`, or its `home_account_id`. None for the only
            account that the application knows when the first token is fetched; the credential keeps to that account.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when the account has no home account id.
    """

    _advice = "sign somebody in through the MSAL application, and say whose tokens are wanted with account="

    def __init__(self, app: Any, *, account: Mapping[str, Any] | str | None = None) -> None:
        given = Secret(app)
        del app  # no frame that an error passes shows it: it may be a secret by mistake
        made = _is_application(given.value)
        if not made and (isinstance(given.value, type) or not callable(given.value)):
            kind = name_of(given.value)
            raise explained(
                "msal-failed", TypeError(f"app is an MSAL application, or a function that makes one, not {kind}")
            )
        make = (lambda: given.value) if made else (lambda: _made_by(given.value))
        super().__init__(MsalThread(make), shares_cache=True)
        self._account = _home_account_id(account)


def _home_account_id(account: Mapping[str, Any] | str | None) -> str | None:
    if account is None:
        return None
    found = account.get("home_account_id") if isinstance(account, Mapping) else account
    return check_text("account", found, "one of the application's get_accounts(), or its home_account_id")


def _is_application(app: object) -> bool:
    return not isinstance(app, type) and hasattr(app, "acquire_token_silent_with_error")


def _made_by(make: Callable[[], Any]) -> Any:
    app = make()
    if not _is_application(app):
        raise explained(
            "msal-failed",
            TokenSourceError(f"the function given as app made {name_of(app)}, not an MSAL application", permanent=True),
        )
    return app
