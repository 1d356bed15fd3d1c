"""The chart of a run: rows over one axis of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._story import Story

LABELS = 16
"""The labels' width in columns."""

_HEIGHTS = "▁▂▃▄▅▆▇█"


class _Row:
    """A line of characters with styles, whose places are points in time."""

    def __init__(self, label: str, seconds: float, width: int) -> None:
        self._label = label
        self._seconds = seconds
        self._cells = [(" ", "")] * width

    def column(self, at: float) -> int:
        return min(max(int(at / self._seconds * len(self._cells)), 0), len(self._cells) - 1)

    def put(self, at: float, text: str, style: str) -> None:
        column = min(self.column(at), len(self._cells) - len(text))
        self._cells[column : column + len(text)] = [(character, style) for character in text]

    def fill(self, began: float, ended: float, character: str, style: str) -> None:
        columns = slice(self.column(began), self.column(ended) + 1)
        self._cells[columns] = [(character, style)] * len(self._cells[columns])

    def number(self, starts: Sequence[float], now: float, style: str) -> None:
        """Draw one span behind the other, the last one up to now."""
        for number, (began, ended) in enumerate(zip(starts, [*starts[1:], now], strict=False), 1):
            self.fill(began, ended, "━", style)
            self.put(began, f"{number}", f"bold {style}")

    def text(self) -> Text:
        return Text.assemble((f"{self._label:{LABELS}}", "bold"), *self._cells, no_wrap=True)


def chart(story: Story, now: float, width: int) -> Iterator[Text]:
    """The rows of the chart, `width` columns wide."""
    columns = width - LABELS
    yield _requests(story, now, columns)
    yield _tokens(story, now, columns)
    yield _token_requests(story, columns)
    if story.entra:
        yield _entra_tokens(story, now, columns)
    yield _trouble(story, now, columns)
    yield _axis(story, columns)


def _requests(story: Story, now: float, columns: int) -> Text:
    row = _Row("requests", story.seconds, columns)
    counts = [0] * columns
    for at in story.answers:
        counts[row.column(at)] += 1
    most = 1.3 * max(counts) or 1.0
    for column in range(row.column(now)):  # without the last column, whose time is not over
        height = round(counts[column] / most * len(_HEIGHTS))
        row.put((column + 0.5) * story.seconds / columns, _HEIGHTS[height] if counts[column] else " ", "cyan")
    return row.text()


def _tokens(story: Story, now: float, columns: int) -> Text:
    row = _Row("tokens", story.seconds, columns)
    row.number([token.at for token in story.tokens], now, "green")
    return row.text()


def _token_requests(story: Story, columns: int) -> Text:
    row = _Row("exchanges" if story.entra else "token requests", story.seconds, columns)
    for request in story.token_requests:
        row.put(request.at, *(("✓", "green") if request.granted else ("✗", "bold red")))
    return row.text()


def _entra_tokens(story: Story, now: float, columns: int) -> Text:
    row = _Row("Entra tokens", story.seconds, columns)
    if story.sign_in is not None:
        row.fill(story.sign_in.at, now, "·", "dim")
    row.number(story.entra_tokens, now, "blue")
    return row.text()


def _trouble(story: Story, now: float, columns: int) -> Text:
    row = _Row("trouble", story.seconds, columns)
    if story.outage is not None:
        began, ended = story.outage.began, story.outage.ended
        row.fill(began, now if ended is None else ended, "▒", "red")
        if ended is not None:
            row.put((began + ended) / 2 - 3 * story.seconds / columns, "outage", "bold red")
    if story.crew is not None and (death := story.crew.death) is not None:
        row.fill(death.began, now if death.ended is None else death.ended, "▒", "red")
        row.put(death.began, f"▼ {death.worker.number} killed", "bold magenta")
        if death.ended is not None:
            row.put(death.ended, "▲ back", "bold green")
    if story.revoked_at is not None:
        row.put(story.revoked_at, "▼ revoked", "bold magenta")
    return row.text()


def _axis(story: Story, columns: int) -> Text:
    row = _Row("", story.seconds, columns)
    for tick in range(4):
        at = tick * story.seconds / 4
        row.put(at, f"╵{at:g}", "dim")
    row.put(story.seconds, f"{story.seconds:g} s╵", "dim")
    return row.text()
