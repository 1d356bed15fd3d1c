"""Access tokens: the immutable value, what is accepted as one, how long it lives and whose it is.

Nothing here verifies a signature: the service does that, with a key that only it needs. What is read is the time at
which a token ends, so everything that is not plainly a token with a usable expiry is refused, with one error type.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from .._checks import is_number
from .._errors import InvalidTokenError, explained
from .._public import public
from .._redaction import Secret, Unpicklable
from .jwt import check_text, peek, read_claims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .clock import Clock

_MISSING = object()
_SHORTEST_LIFE, _LONGEST_LIFE = 60, 86_400  # of an access token, in seconds, as the service issues them
_AHEAD = 60  # seconds by which a token may have been issued later than now without more than a small difference
PLAUSIBLE = 946_684_800  # 2000-01-01, before which no access token ended
# 0001-01-01 to 9999-12-31: beyond them an expiry is no date, and arithmetic on it is no schedule.
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799


class AccessToken(Unpicklable):
    """An access token and the time at which it ends.

    It is immutable, it never shows its text (`repr`, `str` and `format` give the expiry alone), it refuses to be
    pickled, and a copy of it is itself. Its attributes are those of `azure.core.credentials.AccessToken`.

    Args:
        token: The text that goes behind "Bearer " in an `Authorization` header. It need not be a JWT: an encrypted
            or opaque token is welcome here, since its expiry is given.
        expires_on: When it ends by the clock of the service, in Unix seconds. A fraction is floored.
        expires_in: Seconds that it lives from this moment on, where that is known better than from this machine's
            clock; None to believe that clock. It says nothing of the token as such, and so is no part of its equality.

    Raises:
        InvalidTokenError: when the text cannot stand in a header, carries a "Bearer " prefix or white space, the
            expiry is no time between the years 1 and 9999, or the life is no number of seconds.
    """

    _refusal = "an access token is a secret and is not pickled; send its text where you mean to"

    __slots__ = ("__weakref__", "_made", "expires_in", "expires_on", "token")

    token: str
    expires_on: int
    expires_in: float | None
    _made: tuple[float, float] | None  # when, on both clocks, where its life counts from then on
    _is_shared: ClassVar[bool] = False  # whether another process of a fleet has fetched it

    def __init__(self, token: str, expires_on: float, expires_in: float | None = None) -> None:
        hidden, token = Secret(token), ""  # no frame that an error passes shows it
        object.__setattr__(self, "token", check_text(hidden.value))
        object.__setattr__(self, "expires_on", math.floor(check_seconds(expires_on)))
        object.__setattr__(self, "expires_in", None if expires_in is None else check_life(expires_in))
        object.__setattr__(self, "_made", None if expires_in is None else (time.time(), time.monotonic()))

    @classmethod
    def from_jwt(cls, token: str) -> Self:
        """An access token from the text of a JWT, whose `exp` claim says when it ends (RFC 7519, section 4.1.4).

        Args:
            token: Three base64url segments with dots between them. The signature is not verified.

        Returns:
            The token with its expiry.

        Raises:
            InvalidTokenError: when it is no JWT, or its `exp` is not a number. The message never shows the token.
        """
        hidden, token = Secret(token), ""  # no frame that an error passes shows it
        expires_on = read_claims(check_text(hidden.value)).get("exp", _MISSING)
        if expires_on is _MISSING:
            raise explained(
                "no-expiry",
                InvalidTokenError("the token has no `exp` claim; say when it ends: AccessToken(token, expires_on)"),
            )
        return cls(hidden.value, expires_on)

    @property
    def claims(self) -> Mapping[str, Any]:
        """The payload of a JWT, read-only and read anew at each access; empty where the text is not a JWT."""
        try:
            return MappingProxyType(read_claims(self.token))
        except InvalidTokenError:
            return MappingProxyType({})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an access token is immutable: make a new one instead of setting {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an access token is immutable: {name!r} stays")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AccessToken):
            return NotImplemented
        return self.token == other.token and self.expires_on == other.expires_on

    def __hash__(self) -> int:
        return hash((self.token, self.expires_on))

    def __repr__(self) -> str:
        expires_on = getattr(self, "expires_on", None)  # there is none in the traceback of its own making
        return f"{type(self).__name__}(<hidden>, expires_on={expires_on})"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)


class AccessTokenInfo(AccessToken):
    """An access token as `azure.core.credentials.AccessTokenInfo` describes one.

    An azure-core client keeps a token of its own for as long as it may. A time to refresh that is long past makes it
    ask at each request, so that a token renewed here is the one that it sends. It takes 0 for absent and adds up to a
    minute of jitter; the second of 1970 that stands here is neither.
    """

    __slots__ = ()

    token_type: ClassVar[str] = "Bearer"  # noqa: S105 - the kind of token, not one
    refresh_on: ClassVar[int] = 1


def accept(result: object, clock: Clock = time) -> AccessToken:
    """The access token in what a token refresher returned.

    Args:
        result: The text of a JWT, an `AccessToken`, or any object with `.token` and `.expires_on` or `.expires_in`.
        clock: What tells when a life began.

    Returns:
        The token, itself where it was an `AccessToken` already.

    Raises:
        InvalidTokenError: when it is none of these. The message never shows the token.
    """
    if isinstance(result, AccessToken):
        return result
    hidden, result = Secret(result), None  # no frame that an error passes shows it: other packages' tokens show theirs
    if isinstance(hidden.value, str):
        return AccessToken.from_jwt(hidden.value)
    from .results import read  # which no program needs that only reads a token it has

    return read(hidden, clock)


def life_of(token: AccessToken, clock: Clock) -> float:
    """Seconds that a token lives from now on.

    What it says of that itself is believed first, less the time since it was made: it may have been kept for a while. A
    clock that is not this machine's knows nothing of that time. Where the token's expiry has to be compared with our
    clock, that clock is not believed to be more than a minute behind the time at which a JWT was issued.
    """
    if token.expires_in is not None and token._made is not None:
        if clock is not time:
            return token.expires_in
        wall, monotonic = token._made
        return token.expires_in - max(time.time() - wall, time.monotonic() - monotonic, 0.0)
    now = clock.time()
    issued = peek(token.token).get("iat")
    if isinstance(issued, int | float) and now + _AHEAD < issued < token.expires_on:
        return token.expires_on - issued
    return token.expires_on - now


def raw_id_of(token: AccessToken) -> str | None:
    """The raw id of the user of a token: what the token's `raw_id` says, if it has one, or the `skypeid` claim."""
    named: str | None = getattr(token, "raw_id", None)
    if named is not None:
        return named
    skype_id = token.claims.get("skypeid")
    if not isinstance(skype_id, str) or not skype_id:
        return None
    return skype_id if skype_id.startswith("8:") else f"8:{skype_id}"


def check_life(value: object) -> float:
    """A life in seconds.

    Raises:
        InvalidTokenError: when it is none.
    """
    if not is_number(value):
        raise explained("expiry", InvalidTokenError(f"expires_in is a number of seconds, not {type(value).__name__}"))
    if not abs(value) <= _LATEST - _EARLIEST:  # false for NaN as well
        raise explained("expiry", InvalidTokenError("expires_in is a number of seconds, and a finite one"))
    return value


def check_seconds(value: object) -> float:
    """A point in time in Unix seconds.

    Raises:
        InvalidTokenError: when it is none between the years 1 and 9999.
    """
    if not is_number(value):
        raise explained(
            "expiry", InvalidTokenError(f"an expiry is a number of Unix seconds, not {type(value).__name__}")
        )
    if not _EARLIEST <= value <= _LATEST:  # false for NaN as well
        milliseconds = 1000 * PLAUSIBLE <= value <= 1000 * _LATEST
        hint = ": milliseconds were given, it seems, so divide by 1000" if milliseconds else ""
        raise explained(
            "expiry", InvalidTokenError(f"an expiry is a time in Unix seconds between the years 1 and 9999{hint}")
        )
    return value


def ended(expires_on: int) -> str:
    """What to say of a token that has ended, where its expiry is as long as tokens live: when, and what was meant."""
    if not _SHORTEST_LIFE <= expires_on <= _LONGEST_LIFE:
        return ""
    when = (datetime.fromtimestamp(0, UTC) + timedelta(seconds=expires_on)).isoformat()
    return f" (it ended at {when}: if {expires_on} seconds from now were meant, give time.time() + {expires_on})"


public(AccessToken)
public(AccessTokenInfo, module="typing")
