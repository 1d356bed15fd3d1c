"""Token sources that follow a script, and the tokens that they hand out."""

from __future__ import annotations

import json
import math
import secrets
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from .._common.checks import check_clock, is_number
from .._common.errors import explained, wrong_type
from .._loops.virtual import refuse_real_time
from .._tokens.access_token import EARLIEST_EXPIRY, AccessToken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._tokens.clock import Clock

    Entry: TypeAlias = "float | AccessToken | str | BaseException | type[BaseException] | Callable[[], Awaitable[Any]]"


_CENTURY = 3_100_000_000  # seconds; a test may mean a life as long as that, and Unix times are shorter until 2068


def make_jwt(expires_in: float = 3600, *, clock: Clock = time, **claims: Any) -> str:
    """The text of a JWT that no service accepts and this package reads; no two are alike.

    Args:
        expires_in: Seconds from now to its `exp`, which is a whole second; a negative number for a token that has
            ended.
        clock: The clock that tells the present time.
        claims: Further claims; they win over `exp`, `iat` and `jti`.

    Returns:
        Three base64url segments, the last one a made-up signature.

    Raises:
        TypeError: when `expires_in` is not a number, or `clock` is no object with `time()`.
        ValueError: when `expires_in` is not finite, or evidently a point in time and no life.
    """
    _check_life(expires_in)
    check_clock(clock, "time")
    now = clock.time()
    payload = {"exp": math.floor(now + expires_in), "iat": math.floor(now), "jti": secrets.token_hex(16), **claims}
    return ".".join((_segment({"alg": "HS256", "typ": "JWT"}), _segment(payload), secrets.token_urlsafe(32)))


def _check_life(seconds: object) -> None:
    if not is_number(seconds):
        raise wrong_type("life", "a life is a number of seconds from now", seconds, ": an hour is 3600")
    if not math.isfinite(seconds):
        raise explained("life", ValueError("a life is a finite number of seconds from now: an hour is 3600"))
    in_milliseconds = seconds >= 1000 * EARLIEST_EXPIRY
    if in_milliseconds or EARLIEST_EXPIRY <= seconds < _CENTURY:
        unit, exp = (" in milliseconds", seconds / 1000) if in_milliseconds else ("", seconds)
        raise explained(
            "life",
            ValueError(
                f"a life is seconds from now, not a point in time{unit}: take the present time off it, or give "
                f"make_jwt(exp={math.floor(exp)})"
            ),
        )


def _segment(content: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).rstrip(b"=").decode()


class ScriptedSource:
    """A token refresher that plays a script, one entry a call, and then repeats the last entry.

    A number is a new token that lives so many seconds from the moment at which it is handed out; an exception, or a
    class of exceptions, is raised; an `AccessToken` or a text is returned as it is; an async callable without arguments
    is awaited, and its result returned.

    Args:
        script: The entries, one at least.
        latency: Seconds that each call sleeps first. Without it, a call still lets other tasks run.
        clock: The clock by which the tokens live.

    Attributes:
        calls: How many calls have begun.
        in_flight: How many of them have not ended.
        most_in_flight: How many calls have been in flight at once at most; a credential never makes it more than 1.

    Raises:
        ValueError: when the script is empty, a number in it is not finite or evidently a point in time, or `latency` is
            negative or not finite.
        TypeError: when an entry or `latency` is of another type, or `clock` is no object with `time()`.
        CredentialUsageError: when it is made or called in virtual time and its tokens live by the real clock, by which
            they would not end there.
    """

    def __init__(self, *script: Entry, latency: float = 0, clock: Clock = time) -> None:
        if not script:
            raise explained(
                "scripted-source",
                ValueError("a script has one entry at least: ScriptedSource(3600) gives tokens that live an hour"),
            )
        for entry in script:
            _check(entry)
        if not is_number(latency):
            raise wrong_type("scripted-source", "latency is a number of seconds", latency, ": leave it out for no wait")
        if not 0 <= latency < math.inf:
            problem = (
                f"latency is a number of seconds, finite and not negative, not {latency}: leave it out for no wait"
            )
            raise explained("scripted-source", ValueError(problem))
        check_clock(clock, "time")
        if any(isinstance(entry, int | float) for entry in script):
            refuse_real_time("ScriptedSource", clock)
        self._script = script
        self._latency = latency
        self._clock = clock
        self.calls: int = 0
        self.in_flight: int = 0
        self.most_in_flight: int = 0

    async def __call__(self) -> Any:
        """Play the next entry.

        It waits for `latency` seconds, and for an entry that is awaited. Cancelling it uses the entry up.

        Returns:
            The token.

        Raises:
            BaseException: what the script says.
        """
        entry = self._script[min(self.calls, len(self._script) - 1)]
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await (anyio.sleep(self._latency) if self._latency else checkpoint())
            return await self._play(entry)
        finally:
            self.in_flight -= 1

    async def _play(self, entry: Entry) -> Any:
        if isinstance(entry, (AccessToken, str)):
            return entry
        if isinstance(entry, (int, float)):
            refuse_real_time("ScriptedSource", self._clock)
            return AccessToken.from_jwt(make_jwt(entry, clock=self._clock))
        if isinstance(entry, BaseException):
            raise entry.with_traceback(None)
        if not isinstance(entry, type):
            return await entry()
        raise entry


def _check(entry: object) -> None:
    if isinstance(entry, type):
        known = issubclass(entry, BaseException)
    else:
        known = isinstance(entry, (AccessToken, str, int, float, BaseException)) or callable(entry)
    if not known or isinstance(entry, bool):
        raise wrong_type(
            "scripted-source", "a script entry is a number, an exception, a token or an async callable", entry
        )
    if is_number(entry):
        _check_life(entry)
