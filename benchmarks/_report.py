"""Rows, and the Markdown that they become."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

README = Path(__file__).with_name("README.md")
_PACKAGES = (
    "anyio-acs-credential", "anyio", "trio", "msal",
    "azure-communication-chat", "azure-core", "azure-identity", "Authlib",
)  # fmt: skip
HEAD = "| figure | target | measured | floor | others | reached |\n|---|---|---|---|---|---|\n"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        figure: What is measured.
        target: What it must reach.
        measured: What it is, with its spread.
        reached: Whether that is within the target.
        floor: What it is measured against, or the least that it could cost.
        others: What other libraries take for the same.
    """

    figure: str
    target: str
    measured: str
    reached: bool
    floor: str
    others: str = "none does this"

    def __str__(self) -> str:
        reached = "yes" if self.reached else "**no**"
        return f"| {self.figure} | {self.target} | {self.measured} | {self.floor} | {self.others} | {reached} |\n"


def section(rows: Iterable[Row], command: str) -> str:
    """A table, and where it was measured."""
    table = HEAD + "".join(map(str, rows))
    today = datetime.now(UTC).date()
    packages = ", ".join(filter(None, map(_installed, _PACKAGES)))
    return (
        f"{table}\n`{command}`, {today}: {platform.python_implementation()} {platform.python_version()} "
        f"on {platform.system()} {platform.machine()}, {os.cpu_count()} cores; {packages}.\n"
    )


def _installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


def write(name: str, text: str) -> None:
    """Put a section between its markers in the README.

    Raises:
        ValueError: when the README has no markers for it.
    """
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    before = README.read_text("utf-8")
    if not marked.search(before):
        raise ValueError(f"{README} has no place for {name}: add <!-- {name} --> and <!-- /{name} --> to it")
    README.write_text(marked.sub(lambda match: match[1] + text + match[2], before), "utf-8")
