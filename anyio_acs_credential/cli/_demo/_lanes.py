"""The workers of a demonstration as a picture: a bar for the token of each, and where the token came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from .._view import bar, empty_bar, renewal_mark
from ._chart import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._crew import Crew, Worker
    from ._facts import HeldToken

_SAID = 26
"""The columns of the text behind a bar."""


def lanes(crew: Crew, now: float, width: int) -> Iterator[Text]:
    """A line for each worker, and the mark of the renewal, `width` columns wide."""
    columns = width - LABELS - _SAID
    for worker in crew.workers:
        life = empty_bar(columns) if worker.token is None else _bar(worker.token, now, columns)
        yield Text.assemble((f"{worker.name:{LABELS}}", "bold"), life, f"  {_state(worker)}", no_wrap=True)
    tokens = [worker.token for worker in crew.workers if worker.token is not None]
    due = due_part(max(tokens, key=lambda token: token.expires_at)) if tokens else 0.0
    yield Text.assemble(" " * LABELS, renewal_mark(due, columns) if tokens else "", no_wrap=True)


def _bar(token: HeldToken, now: float, columns: int) -> Text:
    left = max(token.expires_at - now, 0.0) / _life(token)
    return bar(min(left, 1.0), due_part(token), columns)


def due_part(token: HeldToken) -> float:
    """The part of its life at which a token is to be renewed."""
    return min(max((token.expires_at - token.renew_at) / _life(token), 0.0), 1.0)


def _life(token: HeldToken) -> float:
    """The token's life in seconds, above 0 even where the machine stood still and the token is heard of too late."""
    return max(token.expires_at - token.at, 0.001)


def _state(worker: Worker) -> str:
    if worker.is_down:
        return "killed"
    if worker.token is None:
        return "starting"
    return f"token {worker.token_number}, {'from the store' if worker.is_shared else 'its own fetch'}"
