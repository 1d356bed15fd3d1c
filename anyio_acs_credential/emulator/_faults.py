"""The faults that were ordered, and which of them a request meets. No I/O."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ._operations import Operations
    from ._settings import Clock


_OPTIONAL = {"times", "seconds"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: which requests meet it, and what happens to them.

    Attributes:
        target: A regular expression that is searched for in the method and the decoded path of each request, such as
            `"POST /identities$"`, `"issueAccessToken"` or `"/chat/"`.
        action: "fail" with `status`, "answer" with `status`, `headers` and `body`, "delay" the answer, "hang" without
            an answer, or "reset" the connection.
        status: The HTTP status of a failure or an answer.
        retry_after: The `Retry-After` header of a failure: seconds, or any text.
        body: The body of an answer.
        headers: Names and values of the answer's headers; a name may come several times.
        delay: Seconds by which an answer is late.
        times: How many requests meet the fault; None for all.
        seconds: How long the fault lasts, by the emulator's clock; None for ever.

    Raises:
        TypeError: when a value is of the wrong type.
        ValueError: when a value is out of its range.
    """

    target: str
    action: Literal["fail", "answer", "delay", "hang", "reset"]
    status: int = 503
    retry_after: int | str | None = None
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0
    times: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.target)
        except re.error as error:
            raise ValueError(f"target is not a regular expression ({error}): escape it with re.escape()") from error
        for name, kinds in (("status", int), ("times", int), ("delay", int | float), ("seconds", int | float)):
            value = getattr(self, name)
            if isinstance(value, bool) or not (isinstance(value, kinds) or (value is None and name in _OPTIONAL)):
                raise TypeError(f"{name} is a number, not {type(value).__name__}")
        if not isinstance(self.body, bytes):
            raise TypeError(f"body is bytes or text, not {type(self.body).__name__}: for JSON, give json.dumps(...)")
        least = 200 if self.action == "answer" else 400
        if not least <= self.status <= 599:
            raise ValueError(f"status is an HTTP status, here from {least} to 599, not {self.status!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is a number of requests, 1 or more, or None for all, not {self.times!r}")
        for name in ("delay", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is a number of seconds, finite and not negative, not {value!r}")
        if self.seconds == 0:
            raise ValueError("a fault of 0 seconds is never met: give more, or None for a fault that stays")


@dataclass
class _Armed:
    fault: Fault
    left: float
    until: float


class Faults:
    """The faults in force.

    Args:
        clock: The emulator's clock.
        operations: The operations that they can be ordered for.
    """

    def __init__(self, clock: Clock, operations: Operations) -> None:
        self._clock = clock
        self._operations = operations
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Add a fault. Where several fit a request, the one added last counts.

        Raises:
            ValueError: when no request can meet it, since no operation fits its target.
        """
        (self._operations.invent if fault.action == "answer" else self._operations.check)(fault.target)
        left = math.inf if fault.times is None else fault.times
        until = math.inf if fault.seconds is None else self._clock.time() + fault.seconds
        self._armed.append(_Armed(fault, left, until))

    def clear(self) -> None:
        """Remove all faults."""
        self._armed = []

    def take(self, request: str) -> Fault | None:
        """The fault that a request meets, or None. The request counts against the fault's `times`.

        Args:
            request: The method, a space, and the decoded path.
        """
        now = self._clock.time()
        self._armed = [armed for armed in self._armed if armed.left > 0 and now < armed.until]
        for armed in reversed(self._armed):
            if re.search(armed.fault.target, request):
                armed.left -= 1
                return armed.fault
        return None
