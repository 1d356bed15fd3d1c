"""Showing events while something runs: lines, or a picture on the terminal, and what both pictures are made of.

Colours are the terminal's own eight on its own background, so that light and dark both work, and nothing is told by
colour alone.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
from rich.text import Text

from ._output import printable, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from rich.console import Console, RenderableType

EventT = TypeVar("EventT")

_FRAME = 0.08  # seconds between two drawings
_EIGHTHS = ("", *"▏▎▍▌▋▊▉")


async def drawing(draw: Callable[[], None], work: Callable[[], Awaitable[object]]) -> None:
    """Do the work, and draw all the while."""
    async with anyio.create_task_group() as group:
        group.start_soon(_redraw, draw)
        await work()
        group.cancel_scope.cancel()


async def _redraw(draw: Callable[[], None]) -> None:
    while True:
        draw()
        await anyio.sleep(_FRAME)


@contextmanager
def lines(
    events: Sequence[EventT], show: Callable[[EventT], str], summary: Callable[[], Sequence[str]] = tuple
) -> Iterator[Callable[[], None]]:
    """A line for each event.

    Args:
        events: What has happened, and grows.
        show: The line of one.
        summary: The lines that are said at the end.

    Yields:
        What says what has happened since it was called last.
    """
    shown = 0

    def draw() -> None:
        nonlocal shown
        while shown < len(events):
            shown += 1
            say(show(events[shown - 1]))

    yield draw
    draw()
    if text := summary():
        say(*text)


def find_terminal(least_width: int, least_height: int) -> Console | None:
    """The terminal at standard output, if a picture of that size can be shown there."""
    from rich.console import Console

    console = Console()
    # FORCE_COLOR makes rich take a pipe for a terminal.
    is_terminal = sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal
    has_room = console.width >= least_width and console.height >= least_height
    return console if is_terminal and has_room and not console.options.ascii_only else None


@contextmanager
def live(
    console: Console,
    picture: Callable[[int, int], RenderableType],
    result: Callable[[int], RenderableType | None] = lambda _: None,
) -> Iterator[Callable[[], None]]:
    """A picture on the terminal's second screen, which leaves the first as it was.

    Args:
        console: The terminal.
        picture: What to show, so many columns wide and rows high.
        result: What stays at the end, so many columns wide, if anything does.

    Yields:
        What draws the picture anew.
    """
    from rich.live import Live

    def draw() -> None:
        screen.update(picture(console.width, console.height), refresh=True)

    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as screen:
        yield draw
    if (text := result(console.width)) is not None:
        console.print(text)


def bar(part: float, due: float, width: int) -> Text:
    """What is left of a life.

    Args:
        part: That part of it, from 0 to 1.
        due: The part at which it is to be renewed.
        width: Columns.
    """
    full, eighths = divmod(round(part * width * 8), 8)
    left = "█" * full + _EIGHTHS[eighths]
    style = "green" if part > 0.9 * due else "yellow" if part > due / 2 else "red"
    return Text.assemble((left, style), ("░" * (width - len(left)), "dim"))


def empty_bar(width: int) -> Text:
    """The bar where there is no token."""
    return Text("░" * width, "dim")


def renewal_mark(due: float, width: int) -> Text:
    """What stands under a bar, where the renewal is due."""
    return Text(f"{'':{round(due * width)}}▲ renewal is due here", "dim", no_wrap=True, overflow="ellipsis")


def log_line(when: str, mark: str, style: str, text: str) -> Text:
    """Something that happened."""
    return styled_line((f"{when}  ", "dim"), (f"{mark} ", style), text)


def styled_line(*parts: tuple[str, str] | str) -> Text:
    """Texts in a line, whoever wrote them; some with a style."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    plain = [(printable(text), style) for text, style in pairs]  # rich drops some characters that move the cursor
    return Text.assemble(*plain, no_wrap=True, overflow="ellipsis")
