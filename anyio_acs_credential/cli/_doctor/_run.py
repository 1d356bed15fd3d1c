"""How the examination is made and shown: as a line for each check, or as one JSON object."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from .._output import say
from .._running import run
from ._examination import TITLES, examine
from ._finding import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._case import Case
    from ._finding import Finding

_WIDTH, _TITLE_WIDTH = max(map(len, State)), max(map(len, TITLES.values()))


def show(case: Case, backend: str, *, as_json: bool) -> int:
    """Show the findings, each one as soon as it is known.

    Args:
        case: The case.
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


def as_line(name: str, finding: Finding) -> str:
    """The lines of a finding, with its fix and the address of its entry."""
    said = f"{finding.text}: {finding.fix}" if finding.fix else finding.text
    see = f" (see {finding.see})" if finding.see else ""
    return f"{finding.state:{_WIDTH}}  {TITLES[name]:{_TITLE_WIDTH}}  {said}{see}"


def summary(findings: Iterable[Finding]) -> str:
    """All findings in a sentence."""
    count = Counter(finding.state for finding in findings)
    said = [f"{count[state]} {state}{'s' if count[state] > 1 else ''}" for state in (State.FAILURE, State.WARNING)]
    bad = [part for part in said if not part.startswith("0")]
    if bad:
        return f"{', '.join(bad)}: begin with the first"
    left = count[State.NOT_TRIED]
    return f"what was tried is well; {left} {'was' if left == 1 else 'were'} not tried" if left else "all is well"


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether no check that was tried found a failure or a warning."""
    return all(finding.state in {State.OK, State.NOT_TRIED} for finding in findings)


def to_json(findings: Mapping[str, Finding]) -> str:
    """All findings for a program."""
    checks = [
        {
            "check": name,
            "state": finding.state.replace(" ", "_"),
            "text": finding.text,
            "fix": finding.fix or None,
            "see": finding.see or None,
        }
        for name, finding in findings.items()
    ]
    return json.dumps({"well": is_well(findings.values()), "checks": checks})
