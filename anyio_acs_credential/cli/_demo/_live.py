"""A run of the demonstration as a picture for the terminal: pure functions of the story."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from .._view import bar, empty_bar, log_line, renewal_mark, styled_line
from ._chart import LABELS, chart
from ._lanes import due_part, lanes
from ._story import WORKERS, sums, verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ._crew import Crew
    from ._facts import Event
    from ._story import Story

LEAST_WIDTH, LEAST_HEIGHT = 78, 20
_WIDEST, _TALL = 118, 28
_FEW = 5  # rows for the margin and a few events
_MARKS = {
    "sign_in_asked": ("?", "bold yellow"),
    "entra_token_fetched": ("✓", "blue"),
    "claims_challenged": ("▼", "magenta"),
    "token_fetched": ("✓", "green"),
    "token_shared": ("←", "green"),
    "worker_killed": ("▼", "magenta"),
    "worker_started": ("·", "magenta"),
    "worker_returned": ("✓", "magenta"),
    "token_request_failed": ("✗", "red"),
    "request_failed": ("✗", "bold red"),
    "outage_began": ("▒", "red"),
    "outage_changed": ("▒", "red"),
    "outage_ended": ("✓", "green"),
    "tokens_revoked": ("▼", "magenta"),
    "token_rejected": ("▼", "magenta"),
}
_RECENT = 3.0  # seconds for which the headline still speaks of something that is over


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
    life = _token(story, now, width, bars) if story.crew is None else [*lanes(story.crew, now, width)]
    parts = [*_top(story, now, width), *life, Text(), _counts(story, now), Text(), *chart(story, now, width), Text()]
    if story.crew is not None and height < len(parts) + _FEW:
        parts = [part for part in parts if part.plain.strip()]  # no blank rows where the window is too small
    return Padding(Group(*parts, *_log(story, height - len(parts) - 1)), (1, 2, 0, 2))


def least_height(story: Story) -> int:
    """The number of rows that the picture needs."""
    return LEAST_HEIGHT if story.crew is None else max(LEAST_HEIGHT, 13 + len(story.crew.workers))


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
    return [
        Text.assemble((title, "bold"), (f"{hint:>{width - len(title)}}", "dim")),
        Text(_about(story), "dim"),
        Text(),
        styled_line(headline(story, now)),
        Text(),
    ]


def _about(story: Story) -> str:
    if story.crew is not None:
        whose, workers = "alice's token" if story.entra else "one token", len(story.crew.workers)
        return f"{workers} processes share {whose} through a SQLite file; it lives {story.lifetime:g} seconds."
    if story.entra:
        return f"{WORKERS} workers call the service for alice; her access tokens live {story.lifetime:g} seconds."
    return f"{WORKERS} workers call a chat service; its access tokens live {story.lifetime:g} seconds."


def headline(story: Story, now: float) -> tuple[str, str]:
    """What is happening, in a sentence, and its style."""
    if story.failed:
        return f"✗ {verdict(story)}", "bold red"
    if not story.tokens:
        return _beginning(story)
    return _of_crew(story.crew, now) if story.crew is not None else _of_one(story, now)


def _of_one(story: Story, now: float) -> tuple[str, str]:
    if story.trouble:
        return f"✗ OUTAGE: {story.issuer} {story.trouble}. The held token goes on.", "bold red"
    if _is_recent(story.revoked_at, now):
        return "▼ REVOKED: a request that meets a 401 gets a new token and is sent again.", "bold magenta"
    if story.outage is not None and _is_recent(story.outage.ended, now):
        return f"✓ {_sentence(f'{story.issuer} is back, and no request has failed')}", "bold green"
    return "✓ The token is renewed long before it ends. Requests never wait for it.", "bold green"


def _of_crew(crew: Crew, now: float) -> tuple[str, str]:
    if (death := crew.death) is not None:
        if death.ended is None:
            return f"✗ KILLED: {death.worker.name}. The others go on, and fetch the next token.", "bold red"
        if _is_recent(death.ended, now):
            return f"✓ {_sentence(f'{death.worker.name} is back, and no request has failed')}", "bold green"
    return "✓ One worker fetches each token, and the others take it from the store.", "bold green"


def _beginning(story: Story) -> tuple[str, str]:
    if story.crew is not None and story.began is None:
        return "… starting the workers, and a Communication Services emulator on this machine", "bold"
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
    return [title, *[bar(min(left / life, 1.0), due_part(token), width)] * bars, renewal_mark(due_part(token), width)]


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
