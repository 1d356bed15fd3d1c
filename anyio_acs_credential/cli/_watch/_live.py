"""A credential as a picture for the terminal: a pure function of its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from ..._decisions.schedule import TokenState
from ..._tokens.clock_warning import TOLERANCE, describe
from .._times import clock_time, date_and_time, span
from .._view import bar, empty_bar, log_line, renewal_mark, styled_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ... import CredentialStatistics
    from ._log import Entry, HeldToken, Log

LEAST_WIDTH, LEAST_HEIGHT = 60, 16
_WIDEST = 118
_MARKS = {
    "sign_in_asked": ("?", "bold yellow"),
    "signed_in": ("✓", "blue"),
    "refresh_succeeded": ("✓", "green"),
    "refresh_failed": ("✗", "red"),
    "token_expired": ("▼", "bold red"),
}
_STYLES = {TokenState.FRESH: "bold green", TokenState.STALE: "bold yellow", TokenState.EXPIRED: "bold red"}


def picture(log: Log, now: float, width: int, height: int) -> RenderableType:
    """The credential as it stands.

    Args:
        log: Its history.
        now: Unix seconds.
        width: Columns of the terminal.
        height: Its rows.
    """
    width = min(width, _WIDEST) - 4
    whose = "a user" if log.credential is None else log.credential.raw_id or "a user"
    parts = [
        styled_line((f"The credential of {whose}", "bold")),
        styled_line((f"at {log.endpoint}   Ctrl-C ends", "dim")),
        Text(),
    ]
    if log.credential is None:
        parts += _beginning(log)
    else:
        left = log.credential.health().seconds_to_expiry
        parts += _credential(log.credential.statistics(), log.held, left, now, width)
    return Padding(Group(*parts, Text(), *map(_entry, log.entries[len(parts) + 3 - height :])), (1, 2, 0, 2))


def _beginning(log: Log) -> list[Text]:
    """What is awaited while there is no credential yet."""
    asked = [entry for entry in log.entries if entry.kind == "sign_in_asked"]
    return [styled_line((f"? {asked[-1].text}", "bold yellow") if asked else ("… making ready", "bold"))]


def _credential(
    stands: CredentialStatistics, held: HeldToken | None, left: float, now: float, width: int
) -> list[Text]:
    return [
        styled_line((stands.state.value, _STYLES[stands.state]), f"   {_end(stands, left)}"),
        *(_life(held, left, width) if held else [empty_bar(width), Text()]),
        Text(),
        styled_line("this token    ", held.origin if held else "none yet"),
        styled_line("next token    ", (_next(stands, now), "bold")),
        styled_line("rounds        ", (f"{stands.refreshes}", "bold"), _successes(stands), _failures(stands)),
        *_clock(stands.clock_offset),
    ]


def _end(stands: CredentialStatistics, left: float) -> str:
    if stands.expires_on is None:
        return "there is no token yet"
    return f"the token ends at {date_and_time(stands.expires_on)}, in {span(left)}"


def _life(held: HeldToken, left: float, width: int) -> list[Text]:
    life = max(held.life, 1)
    due = min(held.due / life, 1.0)
    return [bar(min(left / life, 1.0), due, width), renewal_mark(due, width)]


def _clock(offset: float | None) -> list[Text]:
    if offset is None or abs(offset) <= TOLERANCE:
        return []
    return [styled_line("clock         ", (describe(offset), "bold yellow"))]


def _next(stands: CredentialStatistics, now: float) -> str:
    if stands.next_refresh_at is None or stands.next_refresh_at <= now:
        return "now"
    return f"in {span(stands.next_refresh_at - now)}, at {clock_time(stands.next_refresh_at)}"


def _successes(stands: CredentialStatistics) -> str:
    return f" succeeded, {stands.shared} of them from the fleet, " if stands.shared else " succeeded, "


def _failures(stands: CredentialStatistics) -> tuple[str, str]:
    if stands.consecutive_failures:
        return f"{stands.failures} failed, the last {stands.consecutive_failures} in a row", "bold red"
    return f"{stands.failures} failed", ""


def _entry(entry: Entry) -> Text:
    return log_line(clock_time(entry.at), *_MARKS.get(entry.kind, ("·", "")), entry.text)
