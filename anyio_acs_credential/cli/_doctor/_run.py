"""Making the examination, and showing it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .._output import say
from .._running import run
from ._examination import examine
from ._view import as_line, is_well, summary, to_json

if TYPE_CHECKING:
    from ._case import Case


def show(case: Case, backend: str, *, as_json: bool) -> int:
    """Show what is found, each line as soon as it is known.

    Args:
        case: What is examined.
        backend: "asyncio" or "trio".
        as_json: Whether to show one JSON object at the end.

    Returns:
        The exit status.
    """
    return run(partial(_show, case, as_json), backend)


async def _show(case: Case, as_json: bool) -> int:
    found = await examine(case, lambda name, finding: None if as_json else say(as_line(name, finding)))
    say(*([to_json(found)] if as_json else ["", summary(found.values())]))
    return 0 if is_well(found.values()) else 1
