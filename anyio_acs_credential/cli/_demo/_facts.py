"""What happens in a run of the demonstration, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Event(NamedTuple):
    """An event, worth a line. Here and below, times are seconds since the run began."""

    at: float
    kind: str
    text: str
    details: dict[str, float | str]


class HeldToken(NamedTuple):
    """When an access token was received, is to be renewed, and expires."""

    at: float
    renew_at: float
    expires_at: float


class TokenRequest(NamedTuple):
    """When the service answered a request for a token, and with which HTTP status; None for no answer."""

    at: float
    status: int | None

    @property
    def granted(self) -> bool:
        """Whether the answer was a token."""
        return self.status == 200

    @property
    def challenged(self) -> bool:
        """Whether the service demanded a newer Entra token."""
        return self.status == 401


class SignIn(NamedTuple):
    """When a person was asked to sign in to Entra, at which address, and with which code."""

    at: float
    page: str
    code: str


@dataclass
class Span:
    """When something began and ended; the end is None while it lasts."""

    began: float
    ended: float | None = None
