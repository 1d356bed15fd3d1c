"""Access tokens: the immutable value, how long it lives and whose it is.

Nothing here verifies a signature: the service does that, with a key that only it needs. All that matters here is the
expiry, so everything that is not plainly a token with a usable expiry is refused, with one error type.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from .._common.checks import is_number
from .._common.errors import InvalidTokenError, explained
from .._common.public import public
from .._common.redaction import Secret, Unpicklable
from .jwt import check_text, peek, read_claims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .clock import Clock

_MISSING = object()
# In seconds. An expiry between them is a life that was given by mistake: from a minute, since some issuers' tokens live
# for minutes only, to the service's longest, a day (Identity API, `expiresInMinutes`: 60 to 1440).
_SHORTEST_LIFE, _LONGEST_LIFE = 60, 86_400
_TOO_LONG = 10  # how many times its own life a JWT is said to live where that is in milliseconds, or more
_AHEAD = 60  # seconds by which a token's `iat` may lie ahead of our clock before that clock counts as wrong
EARLIEST_EXPIRY = 946_684_800  # 2000-01-01, before which no access token ended
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
        expires_in: Seconds that it lives from this moment on, where the issuer has said so; None to compare
            `expires_on` with this machine's clock, which may be wrong. Equality ignores it.

    Raises:
        InvalidTokenError: when the text cannot stand in a header, carries a "Bearer " prefix or white space, when the
            expiry is not a time between the years 1 and 9999, or when the life is not a finite number of seconds.
    """

    _refusal = "an access token is a secret and is not pickled; to send it on purpose, send its text"

    __slots__ = ("__weakref__", "_made", "expires_in", "expires_on", "token")

    token: str
    expires_on: int
    expires_in: float | None
    _made: tuple[float, float] | None  # the moment from which `expires_in` counts, on both clocks; None without one
    _is_shared: ClassVar[bool] = False  # whether another process of a fleet has fetched it

    def __init__(self, token: str, expires_on: float, expires_in: float | None = None) -> None:
        hidden, end, life = Secret(token), Secret(expires_on), Secret(expires_in)
        del token, expires_on, expires_in  # no frame that an error passes shows the token, wherever it was given
        object.__setattr__(self, "token", check_text(hidden.value))
        object.__setattr__(self, "expires_on", math.floor(check_expiry(end.value)))
        object.__setattr__(self, "expires_in", None if life.value is None else check_life(life.value))
        object.__setattr__(self, "_made", None if life.value is None else (time.time(), time.monotonic()))

    @classmethod
    def from_jwt(cls, token: str) -> Self:
        """An access token from the text of a JWT, whose `exp` claim says when it ends (RFC 7519, section 4.1.4).

        Args:
            token: Three base64url segments with dots between them. The signature is not verified.

        Returns:
            The token with its expiry.

        Raises:
            InvalidTokenError: when the text is not a JWT, or its `exp` is missing or not a number. The message never
                shows the token.
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
        expires_on = getattr(self, "expires_on", None)  # missing while `__init__` raises
        return f"{type(self).__name__}(<hidden>, expires_on={expires_on})"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)


class AccessTokenInfo(AccessToken):
    """An access token as `azure.core.credentials.AccessTokenInfo` describes one.

    An azure-core client keeps a token until its `refresh_on`, and up to 60 seconds of jitter longer
    (`azure.core.pipeline.policies`). A `refresh_on` that is long past makes it ask at each request, so that it sends
    the token that is renewed here. It is 1, a second of 1970, since azure-core takes 0 for a missing one.
    """

    __slots__ = ()

    token_type: ClassVar[str] = "Bearer"  # noqa: S105 - the kind of token, not one
    refresh_on: ClassVar[int] = 1


def life_of(token: AccessToken, clock: Clock) -> float:
    """Seconds that a token lives from now on.

    Its `expires_in` decides, less the time since it was made: it may have been kept for a while. Only this machine's
    own clocks have measured that time, so with any other clock it is not subtracted. Without `expires_in`, its expiry
    is compared with our clock. Where the `iat` of a JWT lies more than a minute ahead of that clock, the clock is
    wrong, and the life is counted from `iat`.
    """
    if token.expires_in is not None and token._made is not None:
        if clock is not time:
            return token.expires_in
        wall, monotonic = token._made
        return token.expires_in - max(time.time() - wall, time.monotonic() - monotonic)
    now = clock.time()
    issued = peek(token.token).get("iat")
    if isinstance(issued, int | float) and now + _AHEAD < issued < token.expires_on:
        return token.expires_on - issued
    return token.expires_on - now


def with_own_life(token: AccessToken) -> AccessToken:
    """The token, unless the `expires_in` that a program has given contradicts the claims of a JWT by far.

    Raises:
        InvalidTokenError: when it is so much longer than the life from `iat` to `exp` that it has another unit.
    """
    # Lives are compared, and no points in time: our clock may be wrong. The life of an exchanged token, a subclass, was
    # counted by its answer's `Date`, which a proxy may repeat from an old answer.
    if type(token) is AccessToken and token.expires_in is not None:
        claims = peek(token.token)
        issued, ends = claims.get("iat"), claims.get("exp")
        if is_number(issued) and is_number(ends) and 0 < _TOO_LONG * (ends - issued) < token.expires_in:
            raise explained(
                "expiry",
                InvalidTokenError(
                    f"expires_in is {token.expires_in:.0f}, and by the token's own claims (from iat to exp) it lives "
                    f"{ends - issued:.0f} seconds in all: give what is left in seconds, not milliseconds"
                ),
            )
    return token


def raw_id_of(token: AccessToken) -> str | None:
    """The raw id of the user of a token: from the token's `raw_id`, if it has one, or from the `skypeid` claim.

    `skypeid` is the raw id without its prefix "8:", as in the tokens that the Azure CLI's communication tests record.
    """
    named: str | None = getattr(token, "raw_id", None)
    if named is not None:
        return named
    skype_id = token.claims.get("skypeid")
    if not isinstance(skype_id, str) or not skype_id:
        return None
    return skype_id if skype_id.startswith("8:") else f"8:{skype_id}"


def check_life(value: object) -> float:
    """A life in seconds, as it was given.

    Raises:
        InvalidTokenError: when the value is not a finite number.
    """
    if not is_number(value):
        kind, value = type(value).__name__, None  # it may be the token, which no frame may show
        raise explained("expiry", InvalidTokenError(f"expires_in is a number of seconds, not {kind}"))
    if not abs(value) <= _LATEST - _EARLIEST:  # false for NaN as well
        raise explained("expiry", InvalidTokenError("expires_in is a number of seconds, and a finite one"))
    return value


def check_expiry(value: object) -> float:
    """A point in time in Unix seconds, as it was given.

    Raises:
        InvalidTokenError: when the value is not a number, or not a time between the years 1 and 9999.
    """
    if not is_number(value):
        kind, value = type(value).__name__, None  # likewise
        raise explained("expiry", InvalidTokenError(f"an expiry is a number of Unix seconds, not {kind}"))
    if not _EARLIEST <= value <= _LATEST:  # false for NaN as well
        milliseconds = 1000 * EARLIEST_EXPIRY <= value <= 1000 * _LATEST
        hint = ": milliseconds were given, it seems, so divide by 1000" if milliseconds else ""
        raise explained(
            "expiry", InvalidTokenError(f"an expiry is a time in Unix seconds between the years 1 and 9999{hint}")
        )
    return value


def hint_of_a_life(expires_on: int) -> str:
    """A hint for the message about an expired token, where a life seems to have been given as its expiry; or ""."""
    if not _SHORTEST_LIFE <= expires_on <= _LONGEST_LIFE:
        return ""
    when = (datetime.fromtimestamp(0, UTC) + timedelta(seconds=expires_on)).isoformat()
    return f" (it ended at {when}: if {expires_on} seconds from now were meant, give time.time() + {expires_on})"


public(AccessToken)
public(AccessTokenInfo, module="typing")
