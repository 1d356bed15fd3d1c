"""How the service refuses a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServiceError(Exception):
    """A refusal, which is answered with the service's error JSON.

    Args:
        status: The HTTP status.
        code: The `code` of the service's error JSON.
        message: Its `message`.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
