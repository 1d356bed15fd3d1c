"""Text of somebody's own class, which shows something else than it holds."""

from __future__ import annotations


class Redacted(str):
    """A text that hides itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"
