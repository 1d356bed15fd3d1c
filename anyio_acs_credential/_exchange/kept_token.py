"""The last Entra token: when the next is due, and how long this one may be used while its source fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from .._tokens.access_token import life_of
from .._tokens.clock import Deadline

if TYPE_CHECKING:
    from .._tokens.access_token import AccessToken
    from .._tokens.clock import Clock

_PAUSE = 30.0
"""Seconds between attempts to replace a token that is still valid; azure-identity waits as long."""


@dataclass(frozen=True, slots=True)
class KeptToken:
    """An Entra token, and when to get the next.

    Attributes:
        token: The token.
        due: When to replace it.
        end: When it expires.
        clock: The clock of both times.
    """

    token: AccessToken
    due: Deadline
    end: Deadline
    clock: Clock

    @property
    def left(self) -> float:
        """Seconds until it expires; 0 or less when it has."""
        return self.end.left(self.clock)

    @property
    def is_fresh(self) -> bool:
        """Whether it is not due yet, and can be used without asking anybody."""
        return self.due.left(self.clock) > 0

    @property
    def is_valid(self) -> bool:
        """Whether it has not expired."""
        return self.left > 0

    def later(self) -> Self:
        """The same, due half a minute from now, or at its expiry if that is earlier."""
        return replace(self, due=Deadline.after(min(_PAUSE, self.left), self.clock))


def keep(token: AccessToken, before: KeptToken | None, clock: Clock, *, early: float = 0.0) -> KeptToken:
    """Keep what a token credential gave.

    Args:
        token: What it gave.
        before: What was kept until now. The same token given again ends when it did, although the clock may have been
            set back since.
        clock: The clock that it is measured by.
        early: Seconds before its expiry at which it is to be replaced.
    """
    end = before.end if before is not None and before.token == token else Deadline.after(life_of(token, clock), clock)
    return KeptToken(token, Deadline.after(end.left(clock) - early, clock), end, clock)
