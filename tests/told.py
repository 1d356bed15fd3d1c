"""What an error tells its reader: the text, and the entry of docs/errors.md that its note leads to."""

from __future__ import annotations

from anyio_acs_credential._common.errors import page_of


def told(error: BaseException) -> tuple[str, str]:
    """The anchor of the entry, and the text."""
    (note,) = error.__notes__
    return note.removeprefix(f"See {page_of('')}"), str(error)
