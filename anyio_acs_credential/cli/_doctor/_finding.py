"""The finding of a check, in a sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..._common.errors import CredentialError, page_of
from ..._common.redaction import redact


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check.

    Attributes:
        state: How the check came out.
        text: What was found.
        fix: What to do about it; empty where there is nothing to do, or the text says it.
        see: The address of its entry in docs/errors.md; empty where it has no entry.
    """

    state: State
    text: str
    fix: str = ""
    see: str = ""

    def without(self, *secrets: str) -> Finding:
        """The same finding without secrets and control characters, which foreign texts in it may hold."""
        return Finding(self.state, redact(self.text, *secrets), redact(self.fix, *secrets), self.see)


def ok(text: str) -> Finding:
    """All is well."""
    return Finding(State.OK, text)


def warning(text: str, fix: str, anchor: str = "") -> Finding:
    """It works now, but not always; `anchor` is that of an entry in docs/errors.md."""
    return Finding(State.WARNING, text, fix, anchor and page_of(anchor))


def failure(text: str, fix: str, anchor: str = "") -> Finding:
    """It does not work; `anchor` is that of an entry in docs/errors.md."""
    return Finding(State.FAILURE, text, fix, anchor and page_of(anchor))


def not_tried(why: str) -> Finding:
    """The check was not tried."""
    return Finding(State.NOT_TRIED, why)


def explain(error: CredentialError) -> Finding:
    """A failure from an error of this package, whose message names the fix, and whose note the entry."""
    notes = getattr(error, "__notes__", ())
    return Finding(State.FAILURE, str(error), see=next((note.removeprefix("See ") for note in notes), ""))
