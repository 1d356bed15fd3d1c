"""The types that public signatures name, to annotate code that wraps a credential or is given to one."""

from ._attempt import HttpClient
from ._clock import Clock
from ._entra_token import SupportsGetToken
from ._source import TokenRefresher
from ._token import AccessTokenInfo, SupportsExpiry
from ._updates import TokenUpdates
from .identity._keys import SupportsKey

__all__ = (
    "AccessTokenInfo",
    "Clock",
    "HttpClient",
    "SupportsExpiry",
    "SupportsGetToken",
    "SupportsKey",
    "TokenRefresher",
    "TokenUpdates",
)
