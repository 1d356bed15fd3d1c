"""How far this machine's clock is from the service's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._tokens.clock_warning import TOLERANCE, describe
from .._times import date_and_time
from ._finding import Finding, failure, not_tried, ok, warning

if TYPE_CHECKING:
    from ..._tokens.service_clock import Proof

_REFUSED = 300  # seconds; a clock that is further off counts as a failure, since the service refuses its signatures
_SET = "set it, or switch on its synchronisation (NTP)"


def judge_clock(proof: Proof | None, now: float, begins: float | None) -> Finding:
    """What the first answer says of this machine's clock.

    Args:
        proof: The service's time as the answer proves it; None where no answer does.
        now: This machine's time, in Unix seconds.
        begins: When the validity of the service's certificate begins, in Unix seconds, if it is known.
    """
    if proof is None and begins is not None and now < begins:
        text = f"it is {date_and_time(now)} here, and the service's certificate begins at {date_and_time(begins)}"
        return failure(text, _SET)
    if proof is None:
        return not_tried("no answer has told the service's time")
    offset = proof.offset or 0.0
    if abs(offset) < TOLERANCE:
        return ok("this machine's clock agrees with the service's")
    text = describe(offset)
    if abs(offset) < _REFUSED:
        return warning(text, _SET)
    return failure(f"{text}, so that signatures are refused and the life of tokens is misjudged", _SET)
