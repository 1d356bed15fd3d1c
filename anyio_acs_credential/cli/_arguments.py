"""Options that several commands have, and the checks of their values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .. import ConnectionString

_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

backend_option = click.option(
    "--backend", type=click.Choice(["asyncio", "trio"]), default="asyncio", show_default=True, help="The event loop."
)


class Whole(click.IntRange):
    """A whole number in a range. The error for anything else names the range."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, if it is in the range."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"give whole {self.name} from {self.min} to {self.max}, not {str(value)[:40]!r}", param, ctx)


class Seconds(Whole):
    """Whole seconds."""

    name = "seconds"


def read_user(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """Check the raw id of a user. The error does not repeat it, since it may be a secret in the wrong place."""
    from .. import CommunicationUserIdentifier, identifier_from_raw_id

    if text is None or (text.isprintable() and isinstance(identifier_from_raw_id(text), CommunicationUserIdentifier)):
        return text
    raise click.BadParameter("give the raw id of a user of the resource, as 8:acs:<resource>_<user>")


def read_entra_id(_: click.Context, __: click.Parameter, given: Any) -> Any:
    """One id, several, or none, without repeating what was given, which may be a secret in the wrong place."""
    given_ids = [given] if isinstance(given, str) else given or ()
    if not all(_GUID.fullmatch(text) for text in given_ids):
        raise click.BadParameter("give the id that Entra shows, such as 87d349ed-44d7-43e1-9a83-5f2406dee5bd")
    return given


def check_scopes(_: click.Context, __: click.Parameter, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Check the scopes of an option that may be repeated."""
    if not all(scope and scope.isprintable() and " " not in scope for scope in scopes):
        raise click.BadParameter("give one scope each time, such as chat or voip, without white space")
    return scopes


def require_connection(text: str | None) -> ConnectionString:
    """The resource and its key, as a connection string names them. No error repeats the text.

    Args:
        text: The connection string; None where none was given.

    Raises:
        click.UsageError: when it is missing or wrong.
    """
    from .. import AccessKeyCredential, parse_connection_string

    if text is None:
        raise click.UsageError(
            "there is no connection string: set ACS_CONNECTION_STRING to the one that the Azure portal shows under "
            '"Keys", or to the emulator\'s'
        )
    try:
        said = parse_connection_string(text)
        AccessKeyCredential(said.access_key)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return said


connection_option = click.option(
    "--connection-string",
    "connection",
    envvar="ACS_CONNECTION_STRING",
    show_envvar=True,
    help="Of the resource. Better in the environment: other processes see arguments.",
)
user_option = click.option(
    "--user",
    callback=read_user,
    metavar="RAW_ID",
    help="An existing user, as 8:acs:<resource>_<user>; without it, one is made.",
)
