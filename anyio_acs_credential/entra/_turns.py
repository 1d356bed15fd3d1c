"""Token caches that several processes share, as a credential sees them: MSAL works on one in its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

T = TypeVar("T")


class SharedCache(Protocol):
    """What `fleet.shared_token_cache` returns, known by its shape."""

    def looking(self) -> AbstractContextManager[None]:
        """A block in MSAL's thread that ends where MSAL would spend a refresh token."""

    async def in_turn(self, work: Callable[[], Awaitable[T]], look: Callable[[], Awaitable[T | None]]) -> T:
        """What `look` finds in memory, or what the work returns when no other process works on the cache."""
        ...


def as_shared_cache(cache: Any) -> SharedCache | None:
    """The token cache, if it is a shared one."""
    return cache if hasattr(cache, "in_turn") else None
