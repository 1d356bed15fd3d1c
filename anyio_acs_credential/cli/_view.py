"""How events are shown while something runs: as lines, or as a picture on the terminal, with the parts of a picture.

Colours are the terminal's own eight on its own background, so that light and dark both work. Nothing is told by colour
alone.
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

_FRAME = 0.08  # seconds between two frames
_EIGHTHS = ("", *"▏▎▍▌▋▊▉")


async def drawing(draw: Callable[[], None], work: Callable[[], Awaitable[object]]) -> None:
    """Do the work, and draw at each frame until it ends. Cancelling it cancels the work."""
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
        events: The events so far, a sequence that grows.
        show: Returns the line of an event.
        summary: Returns the lines to print at the end.

    Yields:
        A function that prints the lines of all new events.
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
    """The terminal at standard output, if it can show a picture of that size; else None."""
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
    """A picture on the terminal's alternate screen, which leaves the first one as it was.

    Args:
        console: The terminal.
        picture: Returns the picture, for a number of columns and of rows.
        result: Returns what stays on the terminal at the end, for a number of columns, or None.

    Yields:
        A function that draws the picture anew.
    """
    from rich.live import Live

    def draw() -> None:
        screen.update(picture(console.width, console.height), refresh=True)

    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as screen:
        yield draw
    if (text := result(console.width)) is not None:
        console.print(text)


def bar(part: float, due: float, width: int) -> Text:
    """A bar of what is left of a token's life.

    Args:
        part: The part that is left, from 0 to 1.
        due: The part at which the token is to be renewed.
        width: Columns.
    """
    full, eighths = divmod(round(part * width * 8), 8)
    left = "█" * full + _EIGHTHS[eighths]
    style = "green" if part > 0.9 * due else "yellow" if part > due / 2 else "red"
    return Text.assemble((left, style), ("░" * (width - len(left)), "dim"))


def empty_bar(width: int) -> Text:
    """The bar of a missing token."""
    return Text("░" * width, "dim")


def renewal_mark(due: float, width: int) -> Text:
    """The mark under a bar at the point where the renewal is due."""
    return Text(f"{'':{round(due * width)}}▲ renewal is due here", "dim", no_wrap=True, overflow="ellipsis")


def log_line(when: str, mark: str, style: str, text: str) -> Text:
    """A line for an event."""
    return styled_line((f"{when}  ", "dim"), (f"{mark} ", style), text)


def styled_line(*parts: tuple[str, str] | str) -> Text:
    """Texts in a line, some with a style. No control character in them passes."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    plain = [(printable(text), style) for text, style in pairs]  # rich drops some characters that move the cursor
    return Text.assemble(*plain, no_wrap=True, overflow="ellipsis")
