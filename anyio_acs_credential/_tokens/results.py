"""What token refreshers may return that is neither text nor an access token, and each form of its expiry."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from .._errors import InvalidTokenError, explained
from .._public import public
from .._redaction import Secret
from .access_token import PLAUSIBLE, AccessToken, check_life, check_seconds

if TYPE_CHECKING:
    from .clock import Clock

_NUMBER = r"[0-9]{1,18}(?:\.[0-9]*)?"


class SupportsExpiry(Protocol):
    """Any object with a token's text and the time at which it ends, as other packages' tokens are.

    Where it has an `expires_in` as well, that counts.
    """

    @property
    def token(self) -> str:
        """The text of the token."""
        ...

    @property
    def expires_on(self) -> float | str | datetime:
        """Unix seconds, also as text, an aware `datetime`, or ISO 8601 text with a time zone."""
        ...


class SupportsLife(Protocol):
    """Any object with a token's text and how long it lives from now on, as OAuth has it (RFC 6749, section 5.1).

    That needs no clock which agrees with the service's. What keeps its tokens gives what is left of it each time.
    """

    @property
    def token(self) -> str:
        """The text of the token."""
        ...

    @property
    def expires_in(self) -> float | str:
        """Seconds, also as text."""
        ...


def read(result: Secret, clock: Clock) -> AccessToken:
    """The access token in an object with `.token` and `.expires_on` or `.expires_in`.

    Args:
        result: The object: other packages' tokens show theirs.
        clock: What tells when a life began.

    Raises:
        InvalidTokenError: when it is none. The message never shows the token.
    """
    life = getattr(result.value, "expires_in", None)
    if hasattr(result.value, "token") and (life is not None or hasattr(result.value, "expires_on")):
        return _token_of(Secret(result.value.token), getattr(result.value, "expires_on", None), life, clock)
    raise explained(
        "refresher-result",
        InvalidTokenError(
            f"a token refresher returns a JWT, an AccessToken or an object with .token and .expires_on, "
            f"not {type(result.value).__name__}"
        ),
    )


def _token_of(token: Secret, expires_on: object, expires_in: object, clock: Clock) -> AccessToken:
    if expires_in is None:
        return AccessToken(token.value, read_expiry(expires_on))
    life = read_life(expires_in)
    if expires_on is not None:
        return AccessToken(token.value, read_expiry(expires_on), life)
    with suppress(InvalidTokenError):
        return AccessToken(token.value, AccessToken.from_jwt(token.value).expires_on, life)
    return AccessToken(token.value, clock.time() + life, life)


def read_expiry(value: object) -> float:
    """A point in time as Unix seconds, from each of the forms that services and SDKs use for one.

    Args:
        value: Unix seconds (a number, or its text), an aware `datetime`, or ISO 8601 text with a time zone; the seven
            fractional digits that Azure services write are read, to the microsecond.

    Returns:
        Unix seconds.

    Raises:
        InvalidTokenError: when it is none of these, has no time zone, or is no time between the years 1 and 9999.
    """
    if isinstance(value, str):
        value = float(value) if re.fullmatch(_NUMBER, value) else _read_iso(value)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise explained(
                "expiry",
                InvalidTokenError("expires_on has no time zone; give an aware datetime, such as datetime.now(UTC)"),
            )
        value = value.timestamp()
    return check_seconds(value)


def read_life(value: object) -> float:
    """A life in seconds, from a number or its text, as OAuth has it (RFC 6749, section 5.1).

    Raises:
        InvalidTokenError: when it is neither, or no life but a point in time.
    """
    life = check_life(float(value) if isinstance(value, str) and re.fullmatch(_NUMBER, value) else value)
    if life >= PLAUSIBLE:
        raise explained(
            "expiry",
            InvalidTokenError("expires_in is the seconds that a token has left: give a point in time as expires_on"),
        )
    return life


def _read_iso(text: str) -> datetime:
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    raise explained("expiry", InvalidTokenError("expires_on is text that is not an ISO 8601 time; give Unix seconds"))


public(SupportsExpiry, SupportsLife, module="typing")
