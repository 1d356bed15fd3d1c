"""What a token source of this package can do besides giving tokens."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .access_token import AccessToken
    from .clock import Clock

Watch: TypeAlias = "Callable[[str], AbstractContextManager[Callable[[int], object]]]"
"""Gives a block for the address of a request. The block surrounds the request, and is told the status of the answer."""


class OwnSource(ABC):
    """A token source of this package, which can do more for its credential than a callback.

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
    async def __call__(self, claims: str | None = None) -> AccessToken:
        """Fetch a token, which meets the claims of a challenge if there are any."""

    @abstractmethod
    def secrets(self) -> list[str]:
        """The secrets that no log line may show."""

    @abstractmethod
    def watch_exchanges(self, watch: Watch) -> None:
        """Surround each exchange of an Entra token with a block of `watch`."""
