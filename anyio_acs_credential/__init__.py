"""Access tokens for Azure Communication Services that renew themselves, on asyncio and trio."""

TYPE_CHECKING = False  # importing typing takes milliseconds, in which Ctrl-C would show a traceback: see __main__

if TYPE_CHECKING:
    from ._clients.httpx_auth import BearerAuth
    from ._common.errors import (
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
    from ._credentials.credential import CommunicationTokenCredential
    from ._credentials.keepers import PoolStatistics
    from ._credentials.pool import CredentialPool
    from ._decisions.events import (
        CredentialClosed,
        CredentialEvent,
        CredentialStatistics,
        RefreshFailed,
        RefreshStarted,
        RefreshSucceeded,
        TokenExpired,
    )
    from ._decisions.health import CredentialHealth, HealthStatus
    from ._decisions.schedule import RefreshPolicy, TokenState
    from ._exchange.scopes import DEFAULT_SCOPE, TEAMS_PHONE_SCOPE
    from ._exchange.source import EntraTokenExchange
    from ._tokens.access_token import AccessToken
    from .identifiers._from_raw_id import identifier_from_raw_id
    from .identifiers._from_wire import identifier_from_wire
    from .identifiers._kinds import (
        CommunicationIdentifier,
        CommunicationUserIdentifier,
        MicrosoftTeamsAppIdentifier,
        MicrosoftTeamsUserIdentifier,
        PhoneNumberIdentifier,
        TeamsExtensionUserIdentifier,
        UnknownIdentifier,
    )
    from .identity._auth import AccessKeyAuth
    from .identity._client import CommunicationIdentityClient
    from .identity._connection import ConnectionString, parse_connection_string
    from .identity._keys import AccessKeyCredential
    from .identity._teams_phone import TeamsPhoneAssignment

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
    "EntraTokenExchange",
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
    "TeamsPhoneAssignment",
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

# Each name is resolved on its first use, so that a program imports what it uses and the command line begins at once.
_HOMES = {
    "._clients.httpx_auth": ("BearerAuth",),
    "._common.errors": (
        "CredentialClosedError",
        "CredentialError",
        "CredentialNotEnteredError",
        "CredentialUsageError",
        "InvalidIdentifierError",
        "InvalidTokenError",
        "ServiceError",
        "SignInRequiredError",
        "TokenRefreshError",
        "TokenSourceError",
        "TokenUnavailableError",
    ),
    "._credentials.credential": ("CommunicationTokenCredential",),
    "._credentials.keepers": ("PoolStatistics",),
    "._credentials.pool": ("CredentialPool",),
    "._decisions.events": (
        "CredentialClosed",
        "CredentialEvent",
        "CredentialStatistics",
        "RefreshFailed",
        "RefreshStarted",
        "RefreshSucceeded",
        "TokenExpired",
    ),
    "._decisions.health": ("CredentialHealth", "HealthStatus"),
    "._decisions.schedule": ("RefreshPolicy", "TokenState"),
    "._exchange.scopes": ("DEFAULT_SCOPE", "TEAMS_PHONE_SCOPE"),
    "._exchange.source": ("EntraTokenExchange",),
    "._tokens.access_token": ("AccessToken",),
    ".identifiers._from_raw_id": ("identifier_from_raw_id",),
    ".identifiers._from_wire": ("identifier_from_wire",),
    ".identifiers._kinds": (
        "CommunicationIdentifier",
        "CommunicationUserIdentifier",
        "MicrosoftTeamsAppIdentifier",
        "MicrosoftTeamsUserIdentifier",
        "PhoneNumberIdentifier",
        "TeamsExtensionUserIdentifier",
        "UnknownIdentifier",
    ),
    ".identity._auth": ("AccessKeyAuth",),
    ".identity._client": ("CommunicationIdentityClient",),
    ".identity._connection": ("ConnectionString", "parse_connection_string"),
    ".identity._keys": ("AccessKeyCredential",),
    ".identity._teams_phone": ("TeamsPhoneAssignment",),
}


def __getattr__(name: str) -> object:
    from ._common.public import resolve

    return resolve(name, _HOMES, globals())


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
