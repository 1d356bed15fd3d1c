"""The demonstration as its terminal shows it, a moment before its end: from a real run of 20 seconds."""

from __future__ import annotations

import io
from functools import partial
from hashlib import sha256
from pathlib import Path

import anyio
from _svg import HERE
from rich.console import Console
from rich.terminal_theme import MONOKAI

from anyio_acs_credential.cli._demo._live import picture as screen
from anyio_acs_credential.cli._demo._run import _no_proxy
from anyio_acs_credential.cli._demo._scenario import run_demo
from anyio_acs_credential.cli._demo._story import Story

SECONDS, COLUMNS, LINES = 20, 88, 26
MOMENT = 13.5  # in the middle of all that happens

# Of the reader's own letters, and with nothing from another host, unlike rich's.
FRAME = """<!-- made by docs/pictures/demo.py, sha256 DIGEST -->
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>acs-credential demo, in a terminal</title>
<desc>A client's requests go on through several tokens, an outage of the token endpoint and a revocation.</desc>
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, "DejaVu Sans Mono", Consolas, monospace }}
{styles}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#0c0c0c"/>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g>
</svg>
"""


async def watch(story: Story, kept: list[object]) -> None:
    """Run the demonstration, and keep what the terminal shows at the moment."""
    async with anyio.create_task_group() as group:

        async def look() -> None:
            await anyio.sleep(MOMENT)
            kept.append(screen(story, story.now(), COLUMNS, LINES))

        group.start_soon(look)
        await run_demo(story)


def draw() -> str:
    """The picture."""
    kept: list[object] = []
    with _no_proxy():
        anyio.run(partial(watch, Story(SECONDS, False), kept))
    console = Console(
        record=True, width=COLUMNS, height=LINES, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(*kept)
    digest = sha256(Path(__file__).read_bytes()).hexdigest()
    svg = console.export_svg(theme=MONOKAI, code_format=FRAME.replace("DIGEST", digest), unique_id="demo")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


if __name__ == "__main__":
    (HERE / "demo.svg").write_text(draw(), "utf-8")
