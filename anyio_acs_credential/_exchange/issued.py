"""The access token in an answer, as it lies in those of the exchange and of the Identity API alike."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .._common.errors import InvalidTokenError, ServiceError, explained
from .._http.answer import malformed, request_id
from .._tokens.access_token import AccessToken
from .._tokens.clock_warning import TOLERANCE, describe
from .._tokens.results import read_expiry

if TYPE_CHECKING:
    from .._http.answer import Answer
    from .._tokens.service_clock import ServiceClock


def read_issued(answer: Answer, content: object, clock: ServiceClock | None) -> AccessToken:
    """The access token in an answer.

    The token expires at the answer's `expiresOn` or at its own `exp`, whichever is earlier.

    Args:
        answer: The service's answer.
        content: What stands in the answer where the token is to be.
        clock: The service's clock, as far as it is known; None to accept an expired token as well.

    Raises:
        ServiceError: when there is no token, or when it has expired. The error is not permanent.
    """
    token, content = _read(content), None  # no frame that an error passes shows it
    if token is None:
        malformed(answer, "it holds no access token with an expiry")
    if clock is None:
        return token
    life = clock.life(token.expires_on)
    if (token.expires_on - clock.time() if life is None else life) <= 0:
        raise _expired(answer, token.expires_on, clock)
    return token if life is None else AccessToken(token.token, token.expires_on, life)


def _read(content: object) -> AccessToken | None:
    if isinstance(content, dict):
        with suppress(InvalidTokenError):  # raised as malformed by the caller, outside this block
            token = AccessToken(content.get("token", ""), read_expiry(content.get("expiresOn")))
            own_expiry = _own_expiry(token)
            return token if own_expiry >= token.expires_on else AccessToken(token.token, own_expiry)
    return None


def _own_expiry(token: AccessToken) -> int:
    """The `exp` of a JWT. An encrypted or opaque token has none to read, and keeps the expiry that it was given."""
    with suppress(InvalidTokenError):
        return AccessToken.from_jwt(token.token).expires_on
    return token.expires_on


def _expired(answer: Answer, expires_on: int, clock: ServiceClock) -> ServiceError:
    where, fix, offset = "here", "Set this machine's clock, or see", clock.offset
    if offset is not None:
        where, fix = "there", f"Though {describe(offset)}, that is not why: see" if abs(offset) > TOLERANCE else "See"
    return explained(
        "malformed-answer",
        ServiceError(
            f"the service answered {answer.status} with an expired access token: it ended at {_iso(expires_on)}, and "
            f"it is {_iso(clock.time())} {where}. {fix} whether a proxy repeats an old answer",
            status_code=answer.status,
            request_id=request_id(answer),
        ),
    )


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
