"""A recording of a terminal as an SVG that moves, and that stands still where the reader asks for no motion.

A cell of the terminal keeps its character for some frames: a stay. Characters with the same stay are one group, which a
CSS animation shows for that long. So a line that does not change is in the file once.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from itertools import accumulate, groupby, pairwise
from operator import ne
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from _svg import made_by
from rich.color import blend_rgb
from rich.console import Console
from rich.terminal_theme import MONOKAI as THEME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType
    from rich.style import Style

Cell: TypeAlias = tuple[str, str]
"""A character and its style."""
Line: TypeAlias = list[Cell]
Frame: TypeAlias = list[Line]
Stays: TypeAlias = dict[tuple[int, int], dict[tuple[int, str], dict[int, str]]]
"""Characters by their first frame and the one after their last, then by row and style, then by column."""

BLANK: Cell = (" ", "")
WIDE, TALL, FOOT = 12, 24, 18  # pixels: a cell's width and height, and from its top to the foot of its letters
BAR, EDGE = 36, 12  # pixels above and below the terminal
SIMILAR = 12  # a line of which more cells change at once is another line
GAP = 16  # blanks that are shorter than another element

# The file's own background makes it readable on light pages and on dark ones; the border parts it from the latter.
FILE = """{made_by}
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<desc>{description}</desc>
<style>
text {{ font: 20px ui-monospace, "DejaVu Sans Mono", Consolas, monospace }}
g {{ visibility: hidden; animation: var(--stay) {seconds:g}s var(--since) step-end infinite }}
.still {{ visibility: visible }}
{rules}
@media (prefers-reduced-motion: reduce) {{ g {{ animation: none }} }}
</style>
<rect x="1" y="1" width="{inner_width}" height="{inner_height}" rx="8" fill="#0c0c0c" stroke="#49515e"/>
<text x="{middle}" y="26" text-anchor="middle" fill="#878787">{command}</text>
{groups}
</svg>
"""


class Recording(NamedTuple):
    """What a terminal showed after a command: frames of `step` seconds, and which of them is seen without motion."""

    command: str
    step: float
    frames: Sequence[Frame]
    still: int


def frame_of(shown: RenderableType, columns: int, rows: int) -> Frame:
    """What a terminal of this size shows of it."""
    console = Console(width=columns, height=rows, force_terminal=True, color_system="standard")
    lines = [
        [
            BLANK if character == " " else (character, css(each.style, character))
            for each in line
            for character in each.text
        ]
        for line in console.render_lines(shown)
    ]
    return [*lines, *[[BLANK] * columns] * rows][:rows]


def css(style: Style | None, character: str) -> str:
    """What a style sheet says of a character in a style of rich."""
    colour = THEME.foreground_color
    if style and style.color:
        colour = style.color.get_truecolor(THEME)
    if style and style.dim:
        colour = blend_rgb(colour, THEME.background_color, 0.4)
    bold = "; font-weight: bold" if style and style.bold else ""
    joined = f"; stroke: {colour.hex}" if "▁" <= character <= "█" else ""  # or blocks in a row show their seams
    return f"fill: {colour.hex}{bold}{joined}"


def moving(script: str, title: str, description: str, recording: Recording) -> str:
    """The whole file."""
    frames = recording.frames
    width, height = WIDE * len(frames[0][0]), BAR + TALL * len(frames[0]) + EDGE
    stays = stays_of(frames)
    styles = sorted({style for characters in stays.values() for _, style in characters})
    names = {style: f"s{number}" for number, style in enumerate(styles)}
    classes = [f".{name} {{ {style} }}" for style, name in names.items()]
    return FILE.format(
        made_by=made_by(script),
        width=width,
        height=height,
        title=escape(title),
        description=escape(description),
        seconds=len(frames) * recording.step,
        rules="\n".join([*classes, *keyframes(stays, len(frames))]),
        inner_width=width - 2,
        inner_height=height - 2,
        middle=width // 2,
        command=escape(recording.command),
        groups="\n".join(groups(stays, names, recording)),
    )


def stays_of(frames: Sequence[Frame]) -> Stays:
    """How long each character of each cell stays."""
    found: Stays = defaultdict(lambda: defaultdict(dict))
    for row, lines in enumerate(zip(*frames, strict=True)):
        drawn = drafts(lines)
        for column, history in enumerate(zip(*lines, strict=True)):
            ended = 0
            for ((character, style), _), same in groupby(zip(history, drawn, strict=True)):
                began, ended = ended, ended + len([*same])
                if (character, style) != BLANK:
                    found[began, ended][row, style][column] = character
    return found


def drafts(lines: Sequence[Line]) -> list[int]:
    """How often a line has become another one by each frame. Letters that two sentences share are not worth keeping."""
    changes = (sum(map(ne, before, after)) > SIMILAR for before, after in pairwise(lines))
    return [*accumulate(changes, initial=0)]


def keyframes(stays: Stays, count: int) -> Iterator[str]:
    """The animation of each length of a stay."""
    for length in sorted({ended - began for began, ended in stays} - {count}):
        shown = f"from {{ visibility: visible }} {100 * length / count:.6g}% {{ visibility: hidden }}"
        yield f"@keyframes for{length} {{ {shown} }}"


def groups(stays: Stays, names: Mapping[str, str], recording: Recording) -> Iterator[str]:
    """The group of each stay. What stays throughout has no animation."""
    count = len(recording.frames)
    for (began, ended), characters in sorted(stays.items()):
        # A delay below zero begins an animation in the midst of its turn: all turns end together.
        turn = f' style="--stay:for{ended - began};--since:{(began - count) * recording.step:g}s"'
        still = ' class="still"' if began <= recording.still < ended else ""
        yield f"<g{still}{turn if ended - began < count else ''}>{''.join(texts(characters, names))}</g>"


def texts(characters: Mapping[tuple[int, str], Mapping[int, str]], names: Mapping[str, str]) -> Iterator[str]:
    """The elements of one stay. A blank in one covers nothing, whatever another shows in its cell."""
    for (row, style), line in sorted(characters.items()):
        begin, text = min(line), ""
        for column, character in line.items():
            if column - begin - len(text) > GAP:
                yield element(begin, row, names[style], text)
                begin, text = column, ""
            text = f"{text:{column - begin}}{character}"
        yield element(begin, row, names[style], text)


def element(column: int, row: int, name: str, text: str) -> str:
    """A piece of a line. Its length keeps the characters in their columns, whatever font the reader has."""
    length = f' textLength="{WIDE * len(text)}"' if len(text) > 1 else ""
    kept = escape(text).replace(" ", "\N{NO-BREAK SPACE}")  # of several plain ones, one would be left
    return f'<text x="{WIDE * column}" y="{BAR + TALL * row + FOOT}" class="{name}"{length}>{kept}</text>'
