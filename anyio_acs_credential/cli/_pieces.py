"""Pieces of the live views: the bar of a token's life, and the lines of what happened.

Colours are the terminal's own eight on its own background, so that light and dark both work, and nothing is told by
colour alone.
"""

from __future__ import annotations

from rich.text import Text

from ._output import printable

_EIGHTHS = ("", *"▏▎▍▌▋▊▉")


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
