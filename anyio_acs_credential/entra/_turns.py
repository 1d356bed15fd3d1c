"""A token cache that several processes share, as a credential sees it: MSAL works on it in its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

T = TypeVar("T")


class SharedCache(Protocol):
    """What `fleet.shared_token_cache` returns, recognised by its shape: this room does not know the fleet."""

    def looking(self) -> AbstractContextManager[None]:
        """A block in MSAL's thread that ends where MSAL would spend a refresh token."""

    async def in_turn(self, work: Callable[[], Awaitable[T]], look: Callable[[], Awaitable[T | None]]) -> T:
        """What `look` finds in memory; where it finds nothing, what `work` returns under the cache's lease."""
        ...


def as_shared_cache(cache: Any) -> SharedCache | None:
    """The token cache, if it is a shared one."""
    return cache if hasattr(cache, "in_turn") else None
