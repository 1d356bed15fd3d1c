"""Access tokens for Azure Communication Services that renew themselves, on asyncio and trio."""

TYPE_CHECKING = False  # typing's own takes milliseconds, in which Ctrl-C would show a traceback: see __main__

if TYPE_CHECKING:
    from ._clients.httpx_auth import BearerAuth
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
    from ._exchange.scopes import DEFAULT_SCOPE, TEAMS_PHONE_SCOPE
    from ._exchange.source import EntraTokenExchange
    from ._tokens.access_token import AccessToken
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
    from .identity import (
        AccessKeyCredential,
        CommunicationIdentityClient,
        ConnectionString,
        TeamsPhoneAssignment,
        parse_connection_string,
    )
    from .identity._auth import AccessKeyAuth

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

# Resolved when they are first asked for, so that a program imports what it uses, and the command line begins at once.
_LAZY = {
    "AccessKeyAuth": ".identity._auth",
    "AccessKeyCredential": ".identity",
    "AccessToken": "._tokens.access_token",
    "BearerAuth": "._clients.httpx_auth",
    "CommunicationIdentifier": ".identifiers",
    "CommunicationIdentityClient": ".identity",
    "CommunicationTokenCredential": "._credentials.credential",
    "CommunicationUserIdentifier": ".identifiers",
    "ConnectionString": ".identity",
    "CredentialClosed": "._decisions.events",
    "CredentialClosedError": "._errors",
    "CredentialError": "._errors",
    "CredentialEvent": "._decisions.events",
    "CredentialHealth": "._decisions.health",
    "CredentialNotEnteredError": "._errors",
    "CredentialPool": "._credentials.pool",
    "CredentialStatistics": "._decisions.events",
    "CredentialUsageError": "._errors",
    "DEFAULT_SCOPE": "._exchange.scopes",
    "EntraTokenExchange": "._exchange.source",
    "HealthStatus": "._decisions.health",
    "InvalidIdentifierError": "._errors",
    "InvalidTokenError": "._errors",
    "MicrosoftTeamsAppIdentifier": ".identifiers",
    "MicrosoftTeamsUserIdentifier": ".identifiers",
    "PhoneNumberIdentifier": ".identifiers",
    "PoolStatistics": "._credentials.keepers",
    "RefreshFailed": "._decisions.events",
    "RefreshPolicy": "._decisions.schedule",
    "RefreshStarted": "._decisions.events",
    "RefreshSucceeded": "._decisions.events",
    "ServiceError": "._errors",
    "SignInRequiredError": "._errors",
    "TEAMS_PHONE_SCOPE": "._exchange.scopes",
    "TeamsExtensionUserIdentifier": ".identifiers",
    "TeamsPhoneAssignment": ".identity",
    "TokenExpired": "._decisions.events",
    "TokenRefreshError": "._errors",
    "TokenSourceError": "._errors",
    "TokenState": "._decisions.schedule",
    "TokenUnavailableError": "._errors",
    "UnknownIdentifier": ".identifiers",
    "identifier_from_raw_id": ".identifiers",
    "identifier_from_wire": ".identifiers",
    "parse_connection_string": ".identity",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LAZY[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
