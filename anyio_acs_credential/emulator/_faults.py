"""The faults that were ordered, and which of them a request meets. No I/O."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .._common.errors import explained, wrong_type

if TYPE_CHECKING:
    from ._operations import Operations
    from ._settings import Clock


_SECONDS = "a number of seconds"
_NUMBERS = {
    "status": (int, "an HTTP status"),
    "times": (int | None, "a number of requests, or None for all"),
    "delay": (int | float, _SECONDS),
    "seconds": (int | float | None, f"{_SECONDS}, or None for ever"),
}
_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_VALUE = re.compile(r"[^\r\n\0\u0100-\U0010ffff]*")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: which requests meet it, and what happens to them.

    Attributes:
        target: A regular expression that is searched for in the method and the decoded path of each request, such as
            `"POST /identities$"`, `"issueAccessToken"` or `"/chat/"`.
        action: "fail" with `status`, "answer" with `status`, `headers` and `body`, "delay" the answer, "hang" without
            an answer, or "reset" the connection.
        status: The HTTP status of a failure or an answer.
        retry_after: The `Retry-After` header of a failure: whole seconds, or any text.
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
        _check_target(self.target)
        for name, (kinds, what) in _NUMBERS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise wrong_type("emulator-fault", f"{name} is {what}", value)
        _check_retry_after(self.retry_after)
        _check_headers(self.headers)
        if not isinstance(self.body, bytes):
            raise wrong_type("emulator-fault", "body is bytes or text", self.body, ": for JSON, give json.dumps(...)")
        if problem := self._out_of_range():
            raise explained("emulator-fault", ValueError(problem))

    def _out_of_range(self) -> str | None:
        least = 200 if self.action == "answer" else 400
        if not least <= self.status <= 599:
            return f"status is an HTTP status, here from {least} to 599, not {self.status!r}"
        if self.times is not None and self.times < 1:
            return f"times is a number of requests, 1 or more, or None for all, not {self.times!r}"
        for name in ("delay", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                return f"{name} is {_SECONDS}, finite and not negative, not {value!r}"
        if self.seconds == 0:
            return "a fault of 0 seconds is never met: give more, or None for a fault that stays"
        return None


def _check_target(target: object) -> None:
    if not isinstance(target, str):
        fix = ': give the pattern of a compiled one, and "" for every request'
        raise wrong_type("emulator-fault", "target is the text of a regular expression", target, fix)
    try:
        re.compile(target)
    except re.error as error:
        problem = f"target is not a regular expression ({error}): escape it with re.escape()"
        raise explained("emulator-fault", ValueError(problem)) from error


def _check_retry_after(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        fix = ": give int(wait.total_seconds()) of a timedelta"
        raise wrong_type("emulator-fault", "retry_after is whole seconds, or the header's text", value, fix)
    if isinstance(value, int) and value < 0:
        problem = f"retry_after is whole seconds, not negative, not {value}: give any other header as text"
        raise explained("emulator-fault", ValueError(problem))
    _check_headers((("Retry-After", str(value)),))


def _check_headers(headers: object) -> None:
    """Refuse what the server could not send: its answer would be another than was ordered."""
    for header in headers if isinstance(headers, tuple) else (headers,):
        match header:
            case (str() as name, str() as value):
                if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                    problem = f"the header {name!r} cannot be sent: give a name in ASCII, and a line of Latin-1"
                    raise explained("emulator-fault", ValueError(problem))
            case _:
                wanted = "headers are a mapping, or pairs of a name and a value, which are text"
                raise wrong_type("emulator-fault", wanted, header)


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
