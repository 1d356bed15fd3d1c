"""One access token for many processes and machines: one process fetches it, and the others take it from a store."""

from typing import TYPE_CHECKING

from .._common.public import resolve
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

# Names are resolved when they are first asked for, so that a program loads only the store that it uses.
_HOMES = {
    "._memory": ("MemoryTokenStore",),
    "._redis": ("RedisTokenStore",),
    "._sealing": ("Sealer", "new_encryption_key"),
    "._shared": ("shared",),
    "._sqlite": ("SQLiteTokenStore",),
    "._token_cache": ("shared_token_cache",),
}


def __getattr__(name: str) -> object:
    return resolve(name, _HOMES, globals())


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
