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
"""Entered around a request with its address, and told the status of its answer."""


class OwnSource(ABC):
    """A token source that a credential knows more of than of a callback.

    Attributes:
        takes_claims: Whether it can be asked with the claims of a challenge.
        clock: The clock of the credential that has it.
    """

    takes_claims: bool = True
    clock: Clock = time

    def use(self, clock: Clock) -> None:
        """Go by the clock of a credential."""
        self.clock = clock

    @abstractmethod
    async def __call__(self, claims: str | None = None) -> AccessToken:
        """Make a round."""

    @abstractmethod
    def secrets(self) -> list[str]:
        """What no log line may show."""

    @abstractmethod
    def watch_exchanges(self, watch: Watch) -> None:
        """Have each exchange of an Entra token watched."""
