"""Access tokens for Azure Communication Services that renew themselves, on asyncio and trio."""

from importlib import import_module
from typing import TYPE_CHECKING

from ._credential import CommunicationTokenCredential
from ._errors import (
    CredentialClosedError,
    CredentialError,
    CredentialNotEnteredError,
    CredentialUsageError,
    InvalidIdentifierError,
    InvalidTokenError,
    ServiceError,
    SignInRequiredError,
    TokenRefreshError,
    TokenSourceError,
    TokenUnavailableError,
)
from ._schedule import RefreshPolicy, TokenState
from ._scopes import DEFAULT_SCOPE, TEAMS_PHONE_SCOPE
from ._token import AccessToken

if TYPE_CHECKING:
    from ._access_key_auth import AccessKeyAuth
    from ._events import (
        CredentialClosed,
        CredentialEvent,
        CredentialStatistics,
        RefreshFailed,
        RefreshStarted,
        RefreshSucceeded,
        TokenExpired,
    )
    from ._health import CredentialHealth, HealthStatus
    from ._httpx_auth import BearerAuth
    from ._pool import CredentialPool, PoolStatistics
    from .identifiers import (
        CommunicationIdentifier,
        CommunicationUserIdentifier,
        MicrosoftTeamsAppIdentifier,
        MicrosoftTeamsUserIdentifier,
        PhoneNumberIdentifier,
        TeamsExtensionUserIdentifier,
        UnknownIdentifier,
        identifier_from_raw_id,
        identifier_from_wire,
    )
    from .identity import AccessKeyCredential, CommunicationIdentityClient, ConnectionString, parse_connection_string

__all__ = (  # noqa: RUF022 - sorted as Python sorts
    "AccessKeyAuth",
    "AccessKeyCredential",
    "AccessToken",
    "BearerAuth",
    "CommunicationIdentifier",
    "CommunicationIdentityClient",
    "CommunicationTokenCredential",
    "CommunicationUserIdentifier",
    "ConnectionString",
    "CredentialClosed",
    "CredentialClosedError",
    "CredentialError",
    "CredentialEvent",
    "CredentialHealth",
    "CredentialNotEnteredError",
    "CredentialPool",
    "CredentialStatistics",
    "CredentialUsageError",
    "DEFAULT_SCOPE",
    "HealthStatus",
    "InvalidIdentifierError",
    "InvalidTokenError",
    "MicrosoftTeamsAppIdentifier",
    "MicrosoftTeamsUserIdentifier",
    "PhoneNumberIdentifier",
    "PoolStatistics",
    "RefreshFailed",
    "RefreshPolicy",
    "RefreshStarted",
    "RefreshSucceeded",
    "ServiceError",
    "SignInRequiredError",
    "TEAMS_PHONE_SCOPE",
    "TeamsExtensionUserIdentifier",
    "TokenExpired",
    "TokenRefreshError",
    "TokenSourceError",
    "TokenState",
    "TokenUnavailableError",
    "UnknownIdentifier",
    "identifier_from_raw_id",
    "identifier_from_wire",
    "parse_connection_string",
)

# Resolved when they are first asked for, so that a program imports what it uses: httpx, for one, only with these.
_LAZY = {
    "AccessKeyAuth": "._access_key_auth",
    "AccessKeyCredential": ".identity",
    "BearerAuth": "._httpx_auth",
    "CommunicationIdentifier": ".identifiers",
    "CommunicationIdentityClient": ".identity",
    "CommunicationUserIdentifier": ".identifiers",
    "ConnectionString": ".identity",
    "CredentialClosed": "._events",
    "CredentialEvent": "._events",
    "CredentialHealth": "._health",
    "CredentialPool": "._pool",
    "CredentialStatistics": "._events",
    "HealthStatus": "._health",
    "MicrosoftTeamsAppIdentifier": ".identifiers",
    "MicrosoftTeamsUserIdentifier": ".identifiers",
    "PhoneNumberIdentifier": ".identifiers",
    "PoolStatistics": "._pool",
    "RefreshFailed": "._events",
    "RefreshStarted": "._events",
    "RefreshSucceeded": "._events",
    "TeamsExtensionUserIdentifier": ".identifiers",
    "TokenExpired": "._events",
    "UnknownIdentifier": ".identifiers",
    "identifier_from_raw_id": ".identifiers",
    "identifier_from_wire": ".identifiers",
    "parse_connection_string": ".identity",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LAZY[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
