"""The switches with which a test, or a demonstration, makes the emulator misbehave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ._faults import Fault

if TYPE_CHECKING:
    from ._faults import Faults


class FaultSwitches:
    """Each call adds a fault, at any moment. Where several fit a request, the one added last counts."""

    _faults: Faults

    def fail(
        self,
        target: str,
        *,
        status: int = 503,
        retry_after: int | str | None = None,
        times: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Answer requests with an error.

        Args:
            target: A regular expression that is searched for in the method and the decoded path of each request, such
                as `"POST /identities$"`, `"issueAccessToken"` or `"/chat/"`.
            status: The HTTP status, from 400 to 599.
            retry_after: The `Retry-After` header: whole seconds, or any text.
            times: How many requests; None for all.
            seconds: Seconds for which it lasts, by the emulator's clock; None until `heal()`.

        Raises:
            TypeError: when a value is of the wrong type.
            ValueError: when a value is out of its range, or no operation of the emulator fits the target.
        """
        self._faults.add(
            Fault(target=target, action="fail", status=status, retry_after=retry_after, times=times, seconds=seconds)
        )

    def answer(
        self,
        target: str,
        *,
        status: int = 200,
        body: bytes | str = b"",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        times: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Answer requests with anything, whatever they ask.

        Args:
            target: As for `fail`; or the path of an operation that the emulator lacks, which it has from then on.
            status: The HTTP status, from 200 to 599.
            body: The answer's body; text is encoded in UTF-8.
            headers: Headers besides the length, such as `{"Content-Type": "application/json"}`: a mapping, or pairs
                where a name comes several times.
            times: As for `fail`.
            seconds: Seconds, as for `fail`.

        Raises:
            TypeError: when a value is of the wrong type.
            ValueError: when a value is out of its range, or no operation of the emulator fits the target.
        """
        content = body.encode() if isinstance(body, str) else body
        pairs: Any = headers.items() if isinstance(headers, Mapping) else headers
        self._faults.add(
            Fault(
                target=target,
                action="answer",
                status=status,
                body=content,
                headers=tuple(pairs) if isinstance(pairs, Iterable) else pairs,
                times=times,
                seconds=seconds,
            )
        )

    def delay(self, target: str, delay: float, *, times: int | None = None, seconds: float | None = None) -> None:
        """Answer requests late.

        Args:
            target: As for `fail`.
            delay: Seconds by which the answer is late.
            times: As for `fail`.
            seconds: Seconds, as for `fail`.

        Raises:
            TypeError: when a value is of the wrong type.
            ValueError: when a value is out of its range, or no operation of the emulator fits the target.
        """
        self._faults.add(Fault(target=target, action="delay", delay=delay, times=times, seconds=seconds))

    def hang(self, target: str, *, times: int | None = None, seconds: float | None = None) -> None:
        """Never answer requests: each waits until its client gives up or the emulator ends.

        Args:
            target: As for `fail`.
            times: As for `fail`.
            seconds: Seconds, as for `fail`.

        Raises:
            TypeError: when a value is of the wrong type.
            ValueError: when a value is out of its range, or no operation of the emulator fits the target.
        """
        self._faults.add(Fault(target=target, action="hang", times=times, seconds=seconds))

    def reset(self, target: str, *, times: int | None = None, seconds: float | None = None) -> None:
        """Cut the connections of requests, without an answer and without TLS's closing message.

        Args:
            target: As for `fail`.
            times: As for `fail`.
            seconds: Seconds, as for `fail`.

        Raises:
            TypeError: when a value is of the wrong type.
            ValueError: when a value is out of its range, or no operation of the emulator fits the target.
        """
        self._faults.add(Fault(target=target, action="reset", times=times, seconds=seconds))

    def heal(self) -> None:
        """Remove all faults. Requests that hang or wait already go on doing so."""
        self._faults.clear()
