"""One access token for many processes and machines: whoever is first fetches it, the others take it from a store."""

from importlib import import_module
from typing import TYPE_CHECKING

from ._store import Entry, StoreError, Taken, TokenStore, UnreadableError

if TYPE_CHECKING:
    from ._memory import MemoryTokenStore
    from ._redis import RedisTokenStore
    from ._sealing import Sealer, new_encryption_key
    from ._shared import shared
    from ._sqlite import SQLiteTokenStore
    from ._token_cache import shared_token_cache

__all__ = (
    "Entry",
    "MemoryTokenStore",
    "RedisTokenStore",
    "SQLiteTokenStore",
    "Sealer",
    "StoreError",
    "Taken",
    "TokenStore",
    "UnreadableError",
    "new_encryption_key",
    "shared",
    "shared_token_cache",
)

# Resolved when they are first asked for: a program loads the store that it uses, and no other.
_LAZY = {
    "MemoryTokenStore": "._memory",
    "RedisTokenStore": "._redis",
    "SQLiteTokenStore": "._sqlite",
    "Sealer": "._sealing",
    "new_encryption_key": "._sealing",
    "shared": "._shared",
    "shared_token_cache": "._token_cache",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LAZY[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
