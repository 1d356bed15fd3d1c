"""How an MSAL application is made whose HTTP is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._common.errors import TokenSourceError, explained
from ._assertion import date_assertions
from ._msal_thread import MsalThread
from ._secrets import hide
from ._transport import Relay

if TYPE_CHECKING:
    from .._common.redaction import Secret
    from ._settings import Settings


class _NoCache(dict[Any, Any]):
    """An HTTP cache for MSAL that keeps nothing. With its own, MSAL repeats a refusal for a minute after its cure."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Drop the entry."""


def msal_thread(settings: Settings, credential: Secret | None = None) -> MsalThread:
    """A thread with an MSAL application of its own, which is made when it is first needed.

    Args:
        settings: Where people sign in.
        credential: The application's secret or certificate; None for a public client.
    """

    def make() -> Any:
        import msal

        arguments = {
            **settings.msal,
            "token_cache": settings.token_cache,
            "http_client": Relay(),
            "http_cache": _NoCache(),
        }
        try:
            if credential is None:
                return msal.PublicClientApplication(**arguments)
            app = msal.ConfidentialClientApplication(client_credential=credential.value, **arguments)
        except ValueError as error:
            problem = hide(str(error))
        else:
            date_assertions(app, credential, thread.clock)
            return app
        raise explained(
            "msal-failed",
            TokenSourceError(f"MSAL cannot work with the credential's arguments: {problem}", permanent=True),
        )

    thread = MsalThread(make, settings.make_client, settings.token_cache, tenant=settings.tenant)
    return thread
