"""`acs-credential watch`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from .._arguments import backend_option, check_scopes, connection_option, require_connection, user_option
from .._interrupt import loading

if TYPE_CHECKING:
    from ...entra._settings import Options
    from ._users import EntraUser, ResourceUser


@click.command(short_help="Watch a credential renew its token.")
@connection_option
@user_option
@click.option("--client-id", help="Sign in to Entra instead, to this application, with a code that is shown.")
@click.option("--endpoint", help="With --client-id: the resource, https://<resource>.communication.azure.com.")
@click.option("--tenant-id", help="With --client-id: the directory's id or domain; without it, any.")
@click.option("--authority", help="With --client-id: where people sign in, if not at Microsoft's public cloud.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    callback=check_scopes,
    help="What the tokens are good for, such as voip, or a scope of Entra; repeat it. Without it, chat or its like.",
)
@backend_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each event.")
def watch(
    *,
    connection: str | None,
    user: str | None,
    client_id: str | None,
    endpoint: str | None,
    tenant_id: str | None,
    authority: str | None,
    scopes: tuple[str, ...],
    backend: str,
    as_json: bool,
) -> int:
    """Watch a credential get its token, renew it and meet failures, until Ctrl-C.

    It is the credential that a program would have: of a user of the resource that a connection string names, or, with
    --client-id, of a person who signs in to Entra with a device code. It shows the state, when the token ends, when the
    next one is due, and each round with whether it fetched the token or another process did. It never shows a token.
    What is left of a token goes by the service's clock; where this machine's clock is wrong, that is shown as well. On
    a terminal it is a live picture, in a pipe it is lines.

    \b
    Examples:
      export ACS_CONNECTION_STRING="endpoint=https://...;accesskey=..."
      acs-credential watch                           a new user's
      acs-credential watch --user 8:acs:...          that of one who exists
      acs-credential watch --json | jq -c .event     for a program
    \b
      acs-credential watch --client-id ... --tenant-id ... \\
          --endpoint https://contoso.communication.azure.com \\
          --scope https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls
    \b
    Exit status:
      1  no user could be made, or nobody      130  ended by Ctrl-C
         signed in                             143  ended by SIGTERM
      2  an argument is wrong                  129  ended by SIGHUP
                                               141  nobody reads the output any more
    """  # noqa: D301 - click's mark is the character, not its escape
    with loading():
        from ._run import show

    if client_id is None:
        if endpoint or tenant_id or authority:
            raise click.UsageError("--endpoint, --tenant-id and --authority are for a sign-in: give --client-id too")
        return show(_resource_user(connection, user, scopes), backend, as_json=as_json)
    if user is not None:
        raise click.UsageError("--user is for a connection string: leave it out, or --client-id")
    return show(_entra_user(client_id, endpoint, tenant_id, authority, scopes), backend, as_json=as_json)


def _resource_user(connection: str | None, user: str | None, scopes: tuple[str, ...]) -> ResourceUser:
    from ._users import ResourceUser

    return ResourceUser(require_connection(connection), user, scopes or ("chat",))


def _entra_user(
    client_id: str, endpoint: str | None, tenant_id: str | None, authority: str | None, scopes: tuple[str, ...]
) -> EntraUser:
    from ... import DEFAULT_SCOPE
    from ..._exchange.scopes import check_scopes
    from ..._http.endpoint import check_endpoint
    from ...entra import DeviceCodeCredential
    from ._users import EntraUser

    if endpoint is None:
        raise click.UsageError("--client-id wants --endpoint as well, https://<resource>.communication.azure.com")
    where: Options = {}
    if tenant_id is not None:
        where["tenant_id"] = tenant_id
    if authority is not None:
        where["authority"] = authority
    sign_in = partial(DeviceCodeCredential, client_id, **where)
    try:
        sign_in()  # checks its arguments now, before the picture takes the terminal
        return EntraUser(check_endpoint(endpoint), check_scopes(scopes or (DEFAULT_SCOPE,)), sign_in)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
