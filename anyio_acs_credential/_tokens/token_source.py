"""What gives a credential its tokens."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .clock import Clock

Watch: TypeAlias = "Callable[[str], AbstractContextManager[Callable[[int], object]]]"
"""Gives a block for the address of a request. The block surrounds the request, and is told the status of the answer."""


class TokenSource(ABC):
    """What the refresh task asks for tokens: a program's callback, or a source that can do more.

    Attributes:
        takes_claims: Whether it can be asked with the claims of a challenge.
        clock: The clock of the credential that asks it.
    """

    takes_claims: bool = True
    clock: Clock = time

    def use(self, clock: Clock) -> None:
        """Use the clock of a credential."""
        self.clock = clock

    @abstractmethod
    async def __call__(self, claims: str | None = None) -> object:
        """Fetch a token, which meets the claims of a challenge if there are any."""

    @abstractmethod
    def secrets(self) -> list[str]:
        """The secrets that no log line may show."""

    @abstractmethod
    def watch_exchanges(self, watch: Watch) -> None:
        """Surround each exchange of an Entra token, if it makes any, with a block of `watch`."""


class Around(TokenSource):
    """Base of a source that asks another, to which it leaves what it does not do itself.

    Args:
        source: The other.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.takes_claims: bool = source.takes_claims

    def use(self, clock: Clock) -> None:
        """Both use the clock of a credential."""
        super().use(clock)
        self._source.use(clock)

    def secrets(self) -> list[str]:
        """The other's secrets."""
        return self._source.secrets()

    def watch_exchanges(self, watch: Watch) -> None:
        """Surround the other's exchanges."""
        self._source.watch_exchanges(watch)
