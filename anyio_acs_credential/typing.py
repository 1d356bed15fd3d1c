"""The types that public signatures name, to annotate code that wraps a credential or is given to one."""

from ._exchange.entra_tokens import SupportsGetToken
from ._http.request import HttpClient
from ._refreshing.source import TokenRefresher
from ._refreshing.updates import TokenUpdates
from ._tokens.access_token import AccessTokenInfo
from ._tokens.clock import Clock
from ._tokens.results import SupportsExpiry, SupportsLife
from .identity._keys import SupportsKey

__all__ = (
    "AccessTokenInfo",
    "Clock",
    "HttpClient",
    "SupportsExpiry",
    "SupportsGetToken",
    "SupportsKey",
    "SupportsLife",
    "TokenRefresher",
    "TokenUpdates",
)
