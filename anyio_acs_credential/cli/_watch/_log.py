"""The history of a credential, which the views read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..._common.redaction import redact
from ..._decisions.events import RefreshFailed, RefreshStarted, RefreshSucceeded, TokenExpired
from ..._tokens.clock_warning import TOLERANCE, describe
from .._times import date_and_time, span

if TYPE_CHECKING:
    from ... import CommunicationTokenCredential, CredentialEvent


class Entry(NamedTuple):
    """An event. Here and below, times are Unix seconds."""

    at: float
    kind: str
    text: str
    details: dict[str, float | str | bool | None]


class HeldToken(NamedTuple):
    """Seconds that the held token had left when it was received, and that it will have left when its renewal is due.

    Both are by the credential's reckoning, which knows the service's clock.

    Attributes:
        shared: Whether another process has fetched it.
    """

    life: float
    due: float
    shared: bool = False

    @property
    def origin(self) -> str:
        """Where the token came from."""
        return "from the fleet" if self.shared else "its own fetch"


@dataclass
class Log:
    """One credential's history.

    Attributes:
        endpoint: The resource's address.
        entries: The events, in order.
        held: The held token.
        credential: The credential; None while its user is made or signs in.
    """

    endpoint: str
    entries: list[Entry] = field(default_factory=list)
    held: HeldToken | None = None
    credential: CommunicationTokenCredential | None = None

    def note(self, kind: str, text: str, **details: float | str | bool | None) -> None:
        """Add an event of this moment."""
        if self.credential is not None:
            now = self.credential.statistics()
            details |= {"state": now.state.value, "refreshes": now.refreshes, "failures": now.failures}
            details["shared"] = now.shared
        self.entries.append(Entry(time.time(), kind, text, details))

    def observe(self, event: CredentialEvent) -> None:
        """Take note of a credential's event."""
        match event:
            case RefreshStarted(forced=forced):
                self.note("refresh_started", "asking for a token", forced=forced)
            case RefreshSucceeded(expires_on=expires_on, next_refresh_at=next_refresh_at, shared=shared):
                self._hold(expires_on, next_refresh_at, shared)
            case RefreshFailed():
                self._fail(event)
            case TokenExpired(expires_on=expires_on):
                self.note("token_expired", "the token has ended, and there is no newer one", expires_on=expires_on)
            case _:  # CredentialClosed
                self._close()

    def _hold(self, expires_on: int, next_refresh_at: float | None, shared: bool) -> None:
        now, offset = time.time(), None
        life = expires_on - now
        if self.credential is not None:
            life, offset = self.credential.health().seconds_to_expiry, self.credential.statistics().clock_offset
        wait = life if next_refresh_at is None else next_refresh_at - now
        self.held = HeldToken(life, life - wait, shared)
        end = f"a token until {date_and_time(expires_on)}, for {span(life)}, {self.held.origin}"
        text = f"{end}; the next in {span(wait)}"
        self.note(
            "refresh_succeeded",
            text if offset is None or abs(offset) <= TOLERANCE else f"{text}; {describe(offset)}",
            expires_on=expires_on,
            expires_in=round(life, 3),
            next_refresh_at=next_refresh_at,
            clock_offset=offset,
            from_fleet=shared,
        )

    def _close(self) -> None:
        stands = None if self.credential is None else self.credential.statistics()
        if stands is None or not stands.shared:
            self.note("credential_closed", "closed")
        else:
            tokens = f"{stands.shared} of its {stands.refreshes} tokens"
            self.note("credential_closed", f"closed; {tokens} came from the fleet")

    def _fail(self, event: RefreshFailed) -> None:
        message = redact(str(event.error))
        kind = type(event.error).__name__
        text = f"no token ({kind}): {message}; again in {span(event.next_attempt_at - time.time())}"
        self.note(
            "refresh_failed",
            text,
            error=kind,
            message=message,
            consecutive_failures=event.consecutive_failures,
            permanent=event.permanent,
            next_attempt_at=event.next_attempt_at,
        )
