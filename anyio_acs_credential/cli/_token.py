"""`acs-credential token`."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from ._arguments import backend_option, check_scopes, connection_option, require_connection, user_option
from ._interrupt import loading
from ._output import complain, say

if TYPE_CHECKING:
    from .. import AccessToken, ConnectionString


def _read_lifetime(_: click.Context, __: click.Parameter, text: str | None) -> timedelta | None:
    """Read hours and minutes, from 60 to 1440 minutes, which are the service's bounds (see `identity._wire`)."""
    if text is None:
        return None
    found = re.fullmatch(r"(?:(\d{1,4})h)?(?:(\d{1,4})m)?", text, re.ASCII)
    lifetime = timedelta(hours=int(found[1] or 0), minutes=int(found[2] or 0)) if found else timedelta()
    if not timedelta(hours=1) <= lifetime <= timedelta(hours=24):
        raise click.BadParameter("give hours and minutes from 1h to 24h, such as 90m or 1h30m")
    return lifetime


@click.command(short_help="Print an access token.")
@connection_option
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    callback=check_scopes,
    default=["chat"],
    show_default=True,
    help="What it is good for, such as chat or voip; repeat it.",
)
@user_option
@click.option(
    "--expires-in",
    callback=_read_lifetime,
    metavar="TIME",
    help="How long it lives, such as 90m; without it, the service's 24h.",
)
@backend_option
@click.option("--json", "as_json", is_flag=True, help="An object with token, expires_on (Unix seconds) and identity.")
def token(
    *,
    connection: str | None,
    scopes: tuple[str, ...],
    user: str | None,
    expires_in: timedelta | None,
    backend: str,
    as_json: bool,
) -> int:
    """Print an access token of a Communication Services resource, for a shell.

    Standard output gets the token and nothing else; standard error says whose it is and when it ends. The connection
    string has the resource's access key in it: keep both off shared screens and logs.

    \b
    Examples:
      export ACS_CONNECTION_STRING="endpoint=https://...;accesskey=..."
      acs-credential token                                   of a new user, for chat
      acs-credential token --scope chat --scope voip         for chat and calls
      acs-credential token --user 8:acs:... --expires-in 1h  of a user who exists
      TOKEN=$(acs-credential token 2>/dev/null)              the token alone, in a variable
      acs-credential token --json | jq -r .identity          for a program
      acs-credential token | acs-credential inspect          what is in it

    \b
    Exit status:
      0  the token was printed               130  ended by Ctrl-C
      1  the resource refused, or could      141  nobody reads the output any more
         not be reached                      143  ended by SIGTERM
      2  an argument is wrong                129  ended by SIGHUP
    """  # noqa: D301 - click's mark is the character, not its escape
    with loading():
        from ._running import run

    return run(partial(_print, require_connection(connection), scopes, user, expires_in, as_json), backend)


async def _print(
    connection: ConnectionString, scopes: tuple[str, ...], user: str | None, lifetime: timedelta | None, as_json: bool
) -> None:
    from ._service import identity_client

    async with identity_client(connection) as identities:
        if user is None:
            made, issued = await identities.create_user_and_token(scopes, token_expires_in=lifetime)
            user, whose = made.raw_id, f"the new user {made.raw_id}"
        else:
            issued, whose = await identities.get_token(user, scopes, token_expires_in=lifetime), user
    _say(issued, user, whose, as_json)


def _say(issued: AccessToken, user: str, whose: str, as_json: bool) -> None:
    from ._times import date_and_time

    if as_json:
        say(json.dumps({"token": issued.token, "expires_on": issued.expires_on, "identity": user}))
    else:
        complain(f"a token of {whose}, until {date_and_time(issued.expires_on)}")
        say(issued.token)
