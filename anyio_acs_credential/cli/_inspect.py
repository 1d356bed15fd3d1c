"""`acs-credential inspect`."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from ._interrupt import loading
from ._output import say

if TYPE_CHECKING:
    from .. import AccessToken

_LONGEST = 65_536  # bytes; a token has one or two thousand
_WANTED = (
    "that is no token that can be read: give a whole JWT with an expiry, three segments of base64url with dots "
    'between them, without "Bearer " before it'
)
_STATES = {"valid": 0, "expired": 1, "not valid yet": 1}
_TIMES = {"issued": "iat", "begins": "nbf", "ends": "exp"}


class _NoTokenError(click.ClickException):
    """The input is not a token, or not one that can be shown."""

    exit_code = 2


@click.command(short_help="Show what is in a token, and when it ends.")
@click.argument("token", default="-")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; times are Unix seconds.")
def inspect(*, token: str, as_json: bool) -> int:
    """Show the claims and the times of a token: an access token of Communication Services, or any other JWT.

    Without TOKEN, or with -, it reads standard input; on a terminal, a pasted token is not shown. Prefer that, since
    other processes see an argument, and the shell keeps it in its history. The token itself is never printed. Its
    signature is not verified: the service does that.

    \b
    Examples:
      acs-credential token | acs-credential inspect
      acs-credential inspect < token.txt
      acs-credential inspect --json < token.txt | jq .claims
      echo "$TOKEN" | acs-credential inspect >/dev/null || echo "get a new one"

    \b
    Exit status:
      0  it is valid now                     130  ended by Ctrl-C
      1  it has ended, or not begun          141  nobody reads the output any more
      2  it is no token, or an argument is wrong
    """  # noqa: D301 - click's mark is the character, not its escape
    with loading():
        from .. import AccessToken, InvalidTokenError

    text = token.strip() if token != "-" else _read()  # noqa: S105 - "-" is not a password
    if not text:
        raise _NoTokenError("there is no token: give one on standard input, as in acs-credential inspect < token.txt")
    try:
        access_token = AccessToken.from_jwt(text)
    except InvalidTokenError:
        raise _NoTokenError(_WANTED) from None
    now = time.time()
    state = _state(access_token, now)
    say(*([_as_json(access_token, state, now)] if as_json else _as_lines(access_token, state, now)))
    return _STATES[state]


def _read() -> str:
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        pasted: str = click.prompt("Paste a token, which is not shown, and press Enter", hide_input=True, err=True)
        return pasted.strip()
    data = sys.stdin.buffer.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise _NoTokenError(f"there are more than {_LONGEST} bytes on standard input: give one token alone")
    return data.decode("ascii", "replace").strip()


def _state(token: AccessToken, now: float) -> str:
    if token.expires_on <= now:
        return "expired"
    begins = _time(token.claims, "nbf")
    return "not valid yet" if begins is not None and begins > now else "valid"


def _time(claims: Any, name: str) -> float | None:
    """A claim as Unix seconds; None where it is missing, or not a time from the year 5 to 9892."""
    value = claims.get(name)
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and -6.2e10 < value < 2.5e11
    return value if is_time else None


def _as_json(token: AccessToken, state: str, now: float) -> str:
    from .._tokens.access_token import raw_id_of

    claims = dict(token.claims)
    return _dumps(
        {
            "state": state,
            "expires_on": token.expires_on,
            "expires_in": token.expires_on - int(now),
            "identity": raw_id_of(token),
            "claims": claims,
        }
    )


def _as_lines(token: AccessToken, state: str, now: float) -> list[str]:
    from .._tokens.access_token import raw_id_of
    from ._times import date_and_time, span

    claims = token.claims
    rows = {"state": state}
    if (identity := raw_id_of(token)) is not None:
        rows["identity"] = _dumps(identity)[1:-1]
    for title, name in _TIMES.items():
        if (at := _time(claims, name)) is not None:
            rows[title] = f"{date_and_time(at)}, {f'in {span(at - now)}' if at > now else f'{span(now - at)} ago'}"
    rows |= {f"  {_dumps(name)[1:-1]}": _dumps(value) for name, value in claims.items()}
    width = max(map(len, rows))
    return [f"{title:{width}}  {text}" for title, text in rows.items()]


def _dumps(value: object) -> str:
    """The value as JSON in ASCII, which holds nothing that a terminal obeys."""
    try:
        return json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise _NoTokenError("the token has claims that JSON cannot hold: it was not made by a service") from None
