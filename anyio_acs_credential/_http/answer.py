"""What an answer of the service means: the JSON object in it, or the error that it is."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from .._common.errors import ServiceError, explained
from .._common.redaction import Hidden, redact
from .._tokens.clock_warning import TOLERANCE, describe
from .._tokens.service_clock import absurd_date
from .retry_after import read_retry_after

if TYPE_CHECKING:
    from .._tokens.service_clock import Proof

_ID_HEADERS = ("x-ms-request-id", "ms-cv", "x-ms-client-request-id")

_ADVICE = {
    400: "correct the request",
    401: "the service does not accept the credential: check the access key, or sign in to Entra again",
    403: "give the credential the right to do this on the resource",
    404: "check the endpoint and the identity",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer that was read within the limits.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case, and values, in the order in which they came.
        body: The content. Empty where it was not read, for the reason in `problem`.
        problem: Why the body was not read, or "".
        secrets: Texts that the request carried and no message may repeat.
        repeated: Whether the service may have received the request before, and done what it asked.
        proof: What the answer proves of the service's clock, if anything.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    problem: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    repeated: bool = False
    proof: Proof | None = None

    @property
    def is_success(self) -> bool:
        """Whether the service did what it was asked for."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float | None:
        """Seconds that the service asks to wait before the next try, above 0 and 300 at most; None if it does not."""
        wrong = self.proof is not None and self.proof.offset is not None
        return read_retry_after(self.headers, self.proof.date if self.proof is not None and wrong else time.time())

    def header(self, name: str) -> str | None:
        """The first value of a header, or None. Its name is given in lower case."""
        return next((value for key, value in self.headers if key == name), None)


def is_transient(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in {408, 429} or status >= 500


def read_object(answer: Answer) -> dict[str, Any]:
    """The JSON object in an answer, in UTF-8 (RFC 8259, section 8.1). It may hold a token, and its repr hides it.

    Raises:
        ServiceError: when there is none. The error is not permanent: something between here and the service, such as a
            proxy, has written the answer.
    """
    if answer.problem:
        malformed(answer, answer.problem)
    content = _parse(answer.body)
    if content is None:
        malformed(answer, "it is not a JSON object in UTF-8")
    return content


def malformed(answer: Answer, reason: str) -> NoReturn:
    """Raise the error for an answer that says success and cannot be used."""
    raise explained(
        "malformed-answer",
        ServiceError(
            f"the service answered {answer.status}, and its answer is malformed: {reason}. "
            "Check that the endpoint is the service's own and that no proxy changes what it says",
            status_code=answer.status,
            request_id=request_id(answer),
        ),
    )


def error_from(answer: Answer) -> ServiceError:
    """The error that an answer without success stands for."""
    return explained("refused", refusal(answer, _advise(answer)))


def refusal(answer: Answer, advice: str) -> ServiceError:
    """The error that an answer without success stands for, with other advice. The caller explains it.

    Args:
        answer: The answer, which is not a success.
        advice: What to do, without a full stop.
    """
    code, text = _read_error(answer)
    said = f". It said: {text}" if text else ""
    return ServiceError(
        redact(f"the service answered {_name(answer.status)}{f' ({code})' if code else ''}: {advice}{said}", limit=900),
        permanent=not is_transient(answer.status),
        retry_after=answer.retry_after,
        status_code=answer.status,
        code=code,
        request_id=request_id(answer),
    )


def _advise(answer: Answer) -> str:
    if 300 <= answer.status < 400:
        return "it points to another address, and redirects are never followed: correct the endpoint"
    if is_transient(answer.status):
        wait = answer.retry_after
        return "try again later" if wait is None else f"try again in {wait:g} seconds"
    advice = _ADVICE.get(answer.status, "correct the request")
    offset = None if answer.proof is None else answer.proof.offset
    if answer.status == 401 and offset is not None and abs(offset) > TOLERANCE:
        return f"{describe(offset)}, so set it; and if that does not help: {advice}"
    if answer.status == 401 and (day := absurd_date(answer.header("date") or "")) is not None:
        return f"its answer is dated {day}, so the clock there is wrong: set it; and if that does not help: {advice}"
    return advice


def _name(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _read_error(answer: Answer) -> tuple[str | None, str]:
    """Code and message of the error body that Azure's services share, `{"error": {"code": ..., "message": ...}}`."""
    error = (_parse(answer.body) or Hidden()).get("error")
    code, text = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    return (
        redact(code, *answer.secrets, limit=128) or None if isinstance(code, str) else None,
        redact(text, *answer.secrets) if isinstance(text, str) else "",
    )


def request_id(answer: Answer) -> str | None:
    """The service's id of the request, if it gave one."""
    found = next(filter(None, map(answer.header, _ID_HEADERS)), "")
    return redact(found, *answer.secrets, limit=128) or None


def _parse(body: bytes) -> Hidden | None:
    """The JSON object in a body. For other content, which may be a token as well, None: a frame may hold that."""
    try:
        # Decoded here: given bytes, the json module would guess UTF-16 and UTF-32 too.
        content = json.loads(body.decode("utf-8"), parse_constant=_refuse, object_hook=Hidden)
    except (ValueError, RecursionError):
        # The caller raises, outside this block: the error caught here holds the body, and would be the context.
        return None
    return content if isinstance(content, Hidden) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
