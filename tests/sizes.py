"""The modules that hold the most code, prose not counted: where a second idea may be looked for (`nox -s sizes`)."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

from imports import MODULES, PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

MUCH = 150  # lines, past which it is worth a look


def lines_of_code(path: Path) -> int:
    """Lines that are no docstring, no comment and not empty."""
    text = path.read_text("utf-8")
    prose = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return sum(number not in prose and bool(line.strip(" #")) for number, line in enumerate(text.splitlines(), 1))


if __name__ == "__main__":
    for lines, path in sorted(((lines_of_code(path), path) for path in MODULES), reverse=True):
        if lines > MUCH:
            sys.stdout.write(f"{lines:4} {path.relative_to(PACKAGE).as_posix()}\n")
