"""What the pictures have in common: colours for light and dark, the reader's own letters, and where they are kept."""

from __future__ import annotations

from hashlib import sha256
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
STYLE = """
text { font: 15px system-ui, sans-serif; fill: var(--ink) }
.small { font-size: 13px; fill: var(--pale) }
.strong { font-weight: 600 }
svg {
  --ink: #1c2330; --pale: #5b6472; --line: #c9ced6; --paper: #ffffff;
  --good: #2f7d4f; --soft: #a9d8bc; --bad: #b93a32; --lost: #f0b9b4;
}
@media (prefers-color-scheme: dark) {
  svg {
    --ink: #e6e9ee; --pale: #a4adba; --line: #49515e; --paper: #1b1f27;
    --good: #57c785; --soft: #2c5f43; --bad: #f2736a; --lost: #7a342f;
  }
}
"""


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A filled rectangle, in pixels; the colour is one of the style's names."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" fill="var(--{colour})"/>'


def words(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def made_by(script: str) -> str:
    """The line of a picture that names the script that made it, and that script's hash."""
    path = Path(script)
    return f"<!-- made by docs/pictures/{path.name}, sha256 {sha256(path.read_bytes()).hexdigest()} -->"


def picture(script: str, title: str, description: str, size: tuple[int, int], parts: list[str]) -> str:
    """The whole file."""
    width, height = size
    return "\n".join(
        [
            made_by(script),
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description)}</desc>",
            f"<style>{STYLE}</style>",
            rectangle(0, 0, width, height, "paper"),
            *parts,
            "</svg>\n",
        ]
    )


def keep(script: str, text: str) -> None:
    """Write it beside its script."""
    path = HERE / f"{Path(script).stem}.svg"
    path.write_text(text, "utf-8")
    print(path)
