"""What is said where a package is missing that an extra brings."""

from __future__ import annotations


def missing_extra(what: str, extra: str) -> str:
    """A sentence with the command that brings it, for an installation and for a clone.

    Args:
        what: What is not installed, or what needs it.
        extra: One extra or several, with commas between them.
    """
    published, clone = f'pip install "anyio-acs-credential[{extra}]"', f'pip install ".[{extra}]"'
    return f"{what} is not installed: {published}, or in a clone {clone}"
