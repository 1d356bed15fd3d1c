"""How the service's log and the credential's events become part of a story."""

from __future__ import annotations

import re
import time
from itertools import takewhile
from typing import TYPE_CHECKING

from ..._decisions.events import RefreshStarted, RefreshSucceeded
from ._facts import Event, HeldToken, TokenRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ... import CredentialEvent
    from ...emulator import Emulator, RequestRecord
    from ._story import Story

ISSUER = ":(issue|exchange)AccessToken$"
"""A pattern of the paths at which the service issues access tokens, for either user."""

_ENTRA_TOKENS = "/oauth2/v2.0/token"


class Report:
    """Writes a story as it happens.

    Args:
        story: The story.
        emulator: The service.
    """

    def __init__(self, story: Story, emulator: Emulator) -> None:
        self._story = story
        self._emulator = emulator
        self._newest = _newest(emulator.requests)

    def note(self, kind: str, text: str, **details: float | str) -> None:
        """Write an event of this moment, behind those that the service's log shows."""
        self.catch_up()
        self._story.events.append(Event(self._story.now(), kind, text, details))

    def observe(self, event: CredentialEvent) -> None:
        """Take note of a credential's event."""
        match event:
            case RefreshStarted(forced=True):
                self.note("token_rejected", "a request met a 401: new token, and the request once more")
            case RefreshSucceeded(expires_on=expires_on, next_refresh_at=next_refresh_at):
                self._hold(expires_on, next_refresh_at or expires_on)

    def _hold(self, expires_on: float, renew_on: float) -> None:
        story, now = self._story, self._story.now()
        token = HeldToken(now, self.offset(renew_on), self.offset(expires_on))
        fate = _fate(story.tokens[-1], story.revoked_at, now) if story.tokens else ""
        story.tokens.append(token)
        number, life = len(story.tokens), token.expires_at - now
        self.note("token_fetched", f"token {number}, good for {life:.1f} s{fate}", number=number, life=round(life, 3))

    def answered(self, problem: str, whose: str = "") -> None:
        """Take note of a worker's request, which has its answer or has failed.

        Args:
            problem: Why it failed; empty for a success.
            whose: The text before its failure.
        """
        self._story.answers.append(self._story.now())
        if problem:
            self._story.failed += 1
            self.note("request_failed", f"{whose}a request failed: {problem}")

    def catch_up(self) -> None:
        """Take note of the requests in the service's log since the last call."""
        records, seen = self._emulator.requests, self._newest
        self._newest = _newest(records)
        # From the newest back: the log forgets the oldest, so that no number of them tells where the new ones begin.
        new = tuple(takewhile(lambda record: record is not seen, reversed(records)))
        for record in reversed(new):
            self._count(record, self.offset(record.time))

    def _count(self, record: RequestRecord, at: float) -> None:
        story = self._story
        if re.search(ISSUER, record.path):
            self._count_token_request(TokenRequest(at, record.status))
        elif record.path.endswith(_ENTRA_TOKENS) and record.status == 200:  # 400 until the code is entered
            self._count_entra_token(at)
        elif record.status == 401:
            story.turned_down += 1

    def _count_token_request(self, request: TokenRequest) -> None:
        story = self._story
        story.token_requests.append(request)
        if request.challenged:
            text = f"{story.issuer} wants a newer Entra token (claims challenge)"
            story.events.append(Event(request.at, "claims_challenged", text, {}))
        elif not request.granted:
            text = f"no new token: {story.issuer} {story.trouble}"
            story.events.append(Event(request.at, "token_request_failed", text, {}))

    def _count_entra_token(self, at: float) -> None:
        self._story.entra_tokens.append(at)
        number = len(self._story.entra_tokens)
        text = (
            f"Entra token {number}, by the refresh token: nobody is asked" if number > 1 else "signed in: Entra token 1"
        )
        self._story.events.append(Event(at, "entra_token_fetched", text, {"number": number}))

    def offset(self, unix_time: float) -> float:
        """A time of the monotonic clock in seconds since the run began."""
        return self._story.now() + unix_time - time.time()


def _newest(records: Sequence[RequestRecord]) -> RequestRecord | None:
    return records[-1] if records else None


def _fate(token: HeldToken, revoked_at: float | None, now: float) -> str:
    if revoked_at is not None and revoked_at > token.at:
        return "; the one before was revoked"
    return f"; the one before had {token.expires_at - now:.1f} s left"
