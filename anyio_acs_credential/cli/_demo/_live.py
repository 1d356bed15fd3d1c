"""A run of the demonstration as a picture for the terminal: pure functions of what has been seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from .._view import bar, empty_bar, log_line, renewal_mark, styled_line
from ._chart import LABELS, chart
from ._story import WORKERS, sums, verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ._story import Event, HeldToken, Story

LEAST_WIDTH, LEAST_HEIGHT = 78, 20
_WIDEST, _TALL = 118, 28
_MARKS = {
    "sign_in_asked": ("?", "bold yellow"),
    "entra_token_fetched": ("✓", "blue"),
    "claims_challenged": ("▼", "magenta"),
    "token_fetched": ("✓", "green"),
    "token_request_failed": ("✗", "red"),
    "request_failed": ("✗", "bold red"),
    "outage_began": ("▒", "red"),
    "outage_changed": ("▒", "red"),
    "outage_ended": ("✓", "green"),
    "tokens_revoked": ("▼", "magenta"),
    "token_rejected": ("▼", "magenta"),
}
_RECENT = 3.0  # seconds for which the headline speaks of what is over


def picture(story: Story, now: float, width: int, height: int) -> RenderableType:
    """The run as it stands.

    Args:
        story: The run.
        now: Seconds since it began.
        width: Columns of the terminal.
        height: Its rows.
    """
    width = min(width, _WIDEST) - 4
    bars = 2 if height >= _TALL else 1
    parts = [*_top(story, now, width), *_token(story, now, width, bars), Text(), _counts(story, now), Text()]
    parts += [*chart(story, now, width), Text()]
    return Padding(Group(*parts, *_log(story, height - len(parts) - 1)), (1, 2, 0, 2))


def result(story: Story, now: float, width: int) -> RenderableType:
    """The run when it is over, to stay on the terminal."""
    width = min(width, _WIDEST) - 4
    said = Text(f"{'✗' if story.failed else '✓'} {_sentence(verdict(story))}", _mood(story))
    rest = [Text(f"  {_sentence(line)}") for line in sums(story)]
    return Padding(Group(*chart(story, now, width), Text(), said, *rest), (1, 2))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _mood(story: Story) -> str:
    return "bold red" if story.failed else "bold green"


def _top(story: Story, now: float, width: int) -> list[Text]:
    title, clock = "Access tokens that renew themselves", f"{min(now, story.seconds):.1f} of {story.seconds:g} s"
    hint = f"{clock}   Ctrl-C ends"
    about = f"{WORKERS} workers call a chat service; its access tokens live {story.lifetime:g} seconds."
    if story.entra:
        about = f"{WORKERS} workers call the service for alice; her access tokens live {story.lifetime:g} seconds."
    return [
        Text.assemble((title, "bold"), (f"{hint:>{width - len(title)}}", "dim")),
        Text(about, "dim"),
        Text(),
        styled_line(headline(story, now)),
        Text(),
    ]


def headline(story: Story, now: float) -> tuple[str, str]:
    """What goes on, in a sentence, and its style."""
    if story.failed:
        return f"✗ {verdict(story)}", "bold red"
    if not story.tokens:
        return _beginning(story)
    if story.trouble:
        return f"✗ OUTAGE: {story.issuer} {story.trouble}. The held token goes on.", "bold red"
    if _is_recent(story.revoked_at, now):
        return "▼ REVOKED: a request that meets a 401 gets a new token and is sent again.", "bold magenta"
    if story.outage is not None and _is_recent(story.outage.ended, now):
        return f"✓ {_sentence(f'{story.issuer} is back, and no request has failed')}", "bold green"
    return "✓ The token is renewed long before it ends. Requests never wait for it.", "bold green"


def _beginning(story: Story) -> tuple[str, str]:
    if story.sign_in is None:
        return "… starting a Communication Services emulator on this machine", "bold"
    return f"? To sign in, open {story.sign_in.page} and enter {story.sign_in.code}", "bold yellow"


def _is_recent(at: float | None, now: float) -> bool:
    return at is not None and now - at < _RECENT


def _token(story: Story, now: float, width: int, bars: int) -> list[Text]:
    if not story.tokens:
        return [Text("Access token", "bold"), *[empty_bar(width)] * bars, Text()]
    token = story.tokens[-1]
    life, left = token.expires_at - token.at, max(token.expires_at - now, 0.0)
    title = Text.assemble((f"Access token {len(story.tokens)}", "bold"), f"   good for {left:.1f} s of {life:.1f} s")
    return [title, *[bar(min(left / life, 1.0), _due(token), width)] * bars, renewal_mark(_due(token), width)]


def _due(token: HeldToken) -> float:
    """The part of its life at which a token is to be renewed."""
    return (token.expires_at - token.renew_at) / (token.expires_at - token.at)


def _counts(story: Story, now: float) -> Text:
    return Text.assemble(
        (f"{story.sent:,}", "bold"),
        " requests sent     ",
        (f"{story.failed} failed", _mood(story)),
        "     ",
        (f"{story.rate(now)}", "bold"),
        " a second",
    )


def _log(story: Story, rows: int) -> list[Text]:
    return [_log_line(event) for event in story.events[-rows:]]


def _log_line(event: Event) -> Text:
    mark, style = _MARKS.get(event.kind, ("·", ""))
    return log_line(f"{f'{event.at:.1f} s':>{LABELS - 4}}", mark, style, event.text)
