"""The message for a missing package that one of the extras installs."""

from __future__ import annotations


def missing_extra(what: str, extra: str) -> str:
    """A sentence with the commands that install what is missing: as a published package, and in a clone.

    Args:
        what: The subject of the sentence, which says that it "is not installed".
        extra: One extra, or several with commas between them.
    """
    published, clone = f'pip install "anyio-acs-credential[{extra}]"', f'pip install ".[{extra}]"'
    return f"{what} is not installed: {published}, or in a clone {clone}"
