"""How the authority refuses a request, in Entra's words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class OAuthError(Exception):
    """A refusal, which is answered instead of tokens (RFC 6749, section 5.2).

    Args:
        error: The `error` of the answer.
        code: The number with which Entra's description begins, without `AADSTS`, as
            https://learn.microsoft.com/entra/identity-platform/reference-error-codes lists it.
        description: The rest of the description.
        status: The HTTP status.
        members: Further members of the answer, such as `suberror`.
    """

    def __init__(self, error: str, code: int, description: str, *, status: int = 400, **members: str) -> None:
        self.error = error
        self.code = code
        self.description = f"AADSTS{code}: {description}"
        super().__init__(self.description)
        self.status = status
        self.members = members


async def oauth_answer(request: Request, error: Exception) -> Response:
    """The answer to a refused request, for Starlette's table of exceptions."""
    refusal = cast("OAuthError", error)
    return JSONResponse(_body(refusal, request), refusal.status, {"Cache-Control": "no-store"})


def _body(error: OAuthError, request: Request) -> dict[str, Any]:
    trace, correlation = str(uuid4()), request.headers.get("client-request-id") or str(uuid4())
    timestamp = f"{datetime.fromtimestamp(request.app.state.service.clock.time(), UTC):%Y-%m-%d %H:%M:%SZ}"
    return {
        "error": error.error,
        "error_description": f"{error.description} "
        f"Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
        "error_codes": [error.code],
        "timestamp": timestamp,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={error.code}",
        **error.members,
    }
