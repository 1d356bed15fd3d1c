"""A credential's history as lines, for pipes and programs. ASCII only, so that any encoding can carry it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .._times import clock_time

if TYPE_CHECKING:
    from ._log import Entry


def entry_as_line(entry: Entry) -> str:
    """What happened, behind when."""
    return f"{clock_time(entry.at)}  {entry.text}".encode("ascii", "backslashreplace").decode()


def entry_as_json(entry: Entry) -> str:
    """What happened, as one JSON object."""
    return json.dumps({"event": entry.kind, "at": round(entry.at, 3), "text": entry.text, **entry.details})
