"""What token refreshers return, made into an `AccessToken`: a text, such a token, or an object with its expiry."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from .._common.errors import InvalidTokenError, explained
from .._common.public import public
from .._common.redaction import Secret
from .access_token import EARLIEST_EXPIRY, AccessToken, check_expiry, check_life, with_own_life

if TYPE_CHECKING:
    from .clock import Clock

_NUMBER = r"[0-9]{1,18}(?:\.[0-9]*)?"


class SupportsExpiry(Protocol):
    """Any object with a token's text and the time at which the token ends, such as the tokens of other packages.

    If it has an `expires_in` as well, the life of the token is counted by that.
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
    """Any object with a token's text and the seconds that the token lives, as OAuth has it (RFC 6749, section 5.1).

    The life is right even where this machine's clock is wrong. A refresher that keeps its tokens gives the seconds that
    are left each time.
    """

    @property
    def token(self) -> str:
        """The text of the token."""
        ...

    @property
    def expires_in(self) -> float | str:
        """Seconds that the token lives from now on, as a number or as text."""
        ...


def accept(result: object, clock: Clock = time) -> AccessToken:
    """The access token in what a token refresher returned.

    Args:
        result: The text of a JWT, an `AccessToken`, or any object with `.token` and `.expires_on` or `.expires_in`.
        clock: The clock by which a life in `.expires_in` begins.

    Returns:
        The token; the same object if the result was an `AccessToken`.

    Raises:
        InvalidTokenError: when the result is something else. The message never shows the token.
    """
    if isinstance(result, AccessToken):
        return with_own_life(result)
    hidden, result = Secret(result), None  # no frame that an error passes shows it: other packages' tokens show theirs
    if isinstance(hidden.value, str):
        return AccessToken.from_jwt(hidden.value)
    return read(hidden, clock)


def read(result: Secret, clock: Clock) -> AccessToken:
    """The access token in an object with `.token` and `.expires_on` or `.expires_in`.

    Args:
        result: The object, in a box, since the repr of other packages' tokens shows their text.
        clock: The clock by which a life begins.

    Raises:
        InvalidTokenError: when it is not such an object. The message never shows the token.
    """
    # The token may stand in the place of its expiry.
    end, life = (Secret(getattr(result.value, name, None)) for name in ("expires_on", "expires_in"))
    if hasattr(result.value, "token") and (life.value is not None or hasattr(result.value, "expires_on")):
        return _token_of(Secret(result.value.token), end, life, clock)
    raise explained(
        "refresher-result",
        InvalidTokenError(
            f"a token refresher returns a JWT, an AccessToken or an object with .token and .expires_on "
            f"or .expires_in, not {type(result.value).__name__}"
        ),
    )


def _token_of(token: Secret, expires_on: Secret, expires_in: Secret, clock: Clock) -> AccessToken:
    if expires_in.value is None:
        return AccessToken(token.value, read_expiry(expires_on.value))
    life = read_life(expires_in.value)
    if expires_on.value is not None:
        return with_own_life(AccessToken(token.value, read_expiry(expires_on.value), life))
    ends = clock.time() + life
    with suppress(InvalidTokenError):
        ends = AccessToken.from_jwt(token.value).expires_on
    return with_own_life(AccessToken(token.value, ends, life))


def read_expiry(value: object) -> float:
    """A point in time as Unix seconds, from each of the forms that services and SDKs use for one.

    Args:
        value: Unix seconds (a number, or its text), an aware `datetime`, or ISO 8601 text with a time zone; the seven
            fractional digits that Azure services write are read, to the microsecond.

    Returns:
        Unix seconds.

    Raises:
        InvalidTokenError: when the value has another form or no time zone, or is not between the years 1 and 9999.
    """
    given, value = Secret(value), None  # no frame that an error passes shows it: it may be the token
    if isinstance(given.value, str):
        given = Secret(float(given.value) if re.fullmatch(_NUMBER, given.value) else _read_iso(given))
    if isinstance(given.value, datetime):
        if given.value.utcoffset() is None:
            raise explained(
                "expiry",
                InvalidTokenError("expires_on has no time zone; give an aware datetime, such as datetime.now(UTC)"),
            )
        return check_expiry(given.value.timestamp())
    return check_expiry(given.value)


def read_life(value: object) -> float:
    """A life in seconds, from a number or its text, as OAuth has it (RFC 6749, section 5.1).

    Raises:
        InvalidTokenError: when it is neither, or so large that a point in time was meant.
    """
    given, value = Secret(value), None  # no frame that an error passes shows it: it may be the token
    is_text = isinstance(given.value, str) and re.fullmatch(_NUMBER, given.value)
    life = check_life(float(given.value) if is_text else given.value)
    if life >= EARLIEST_EXPIRY:  # so large a life is a Unix time
        raise explained(
            "expiry",
            InvalidTokenError("expires_in is the seconds that a token has left: give a point in time as expires_on"),
        )
    return life


def _read_iso(text: Secret) -> datetime:
    with suppress(ValueError):
        return datetime.fromisoformat(text.value)
    raise explained("expiry", InvalidTokenError("expires_on is text that is not an ISO 8601 time; give Unix seconds"))


public(SupportsExpiry, SupportsLife, module="typing")
