"""`acs-credential doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .._arguments import (
    Seconds,
    backend_option,
    check_scopes,
    connection_option,
    read_entra_id,
    read_user,
    require_connection,
)
from .._interrupt import loading

if TYPE_CHECKING:
    from ..._common.redaction import Secret
    from ._case import SignIn


def _read_id(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is None or (text and text.isprintable() and " " not in text):
        return text
    raise click.BadParameter("give the id that Entra shows, without white space")


def _read_token(_: click.Context, __: click.Parameter, text: str | None) -> Secret | None:
    """Without the end of a line. What no header can carry would be sent by nobody, and tell nothing."""
    from ..._common.errors import InvalidTokenError
    from ..._common.redaction import Secret
    from ..._tokens.jwt import check_text

    if not text or not text.strip():
        return None
    try:
        return Secret(check_text(text.strip()))
    except InvalidTokenError as error:
        raise click.BadParameter(str(error)) from None


@click.command(short_help="Find out what is wrong between here and the service.")
@connection_option
@click.option("--endpoint", envvar="ACS_ENDPOINT", show_envvar=True, help="Of the resource, to do without a key.")
@click.option("--user", callback=read_user, metavar="RAW_ID", help="Have a token issued for this existing user.")
@click.option("--client-id", callback=_read_id, help="An application of Entra: can people sign in to it?")
@click.option("--tenant-id", callback=_read_id, help="Their directory's id or domain; without it, any.")
@click.option("--authority", help="With --client-id: where they sign in, if not at Microsoft's public cloud.")
@click.option("--object-id", callback=read_entra_id, help="A person's id in Entra: may they use Teams Phone there?")
@click.option(
    "--entra-token",
    envvar="ACS_ENTRA_TOKEN",
    show_envvar=True,
    callback=_read_token,
    help="Of a person who has signed in: exchange it. Better in the environment.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    callback=check_scopes,
    help="What tokens are to be good for, such as voip, or a scope of Entra; repeat it. Without it, chat or its like.",
)
@click.option("--timeout", type=Seconds(1, 60), default=5, show_default=True, help="Seconds to wait for one step.")
@backend_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(
    *,
    connection: str | None,
    endpoint: str | None,
    user: str | None,
    client_id: str | None,
    tenant_id: str | None,
    authority: str | None,
    object_id: str | None,
    entra_token: Secret | None,
    scopes: tuple[str, ...],
    timeout: int,
    backend: str,
    as_json: bool,
) -> int:
    """Find out what is wrong between this machine and a Communication Services resource.

    Each line is a check: ok, a warning, or a failure with what to do. They come in the order in which a request meets
    them, from the clock to the chat endpoint. A check is not tried where an earlier failure makes it pointless or an
    argument is missing. No user is made and nothing is changed; no token, key or secret is shown.

    \b
    Examples:
      export ACS_CONNECTION_STRING="endpoint=https://...;accesskey=..."
      acs-credential doctor                              the way to the resource, and its key
      acs-credential doctor --user 8:acs:...             and a token of a user who exists, and chat
      acs-credential doctor --endpoint https://...       without a key
      acs-credential doctor --client-id ... --tenant-id ... \\
          --scope https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls
      acs-credential doctor --json | jq '.checks[] | select(.state == "failure")'

    \b
    Exit status:
      0  all is well that was tried          130  ended by Ctrl-C
      1  there is a failure or a warning     141  nobody reads the output any more
      2  an argument is wrong                143  ended by SIGTERM
                                             129  ended by SIGHUP
    """  # noqa: D301 - click's mark is the character, not its escape
    with loading():
        from ._case import Case
        from ._run import show

    key, address = _resource(connection, endpoint)
    case = Case(
        endpoint=address,
        key=key,
        scopes=scopes or _default_scopes(client_id or entra_token, object_id),
        user=user,
        sign_in=_sign_in(client_id, tenant_id, authority),
        entra_token=entra_token,
        tenant_id=tenant_id,
        object_id=object_id,
        patience=timeout,
    )
    return show(case, backend, as_json=as_json)


def _resource(connection: str | None, endpoint: str | None) -> tuple[Secret | None, str]:
    """The access key and the endpoint; each is empty where it is not known."""
    from ..._common.redaction import Secret
    from ..._http.endpoint import check_endpoint

    try:
        address = check_endpoint(endpoint) if endpoint else ""
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if connection is None:
        return None, address
    said = require_connection(connection)
    if address not in {"", said.endpoint}:
        raise click.UsageError("the connection string and --endpoint (ACS_ENDPOINT) name two resources: leave out one")
    return Secret(said.access_key), said.endpoint


def _sign_in(client_id: str | None, tenant_id: str | None, authority: str | None) -> SignIn | None:
    from ...entra._authority import ANY_TENANT, PUBLIC_CLOUD, where
    from ._case import SignIn

    if client_id is None:
        if authority is not None:
            raise click.UsageError("--authority is for a sign-in: give --client-id too")
        return None
    try:
        found = where(authority or PUBLIC_CLOUD, tenant_id or ANY_TENANT)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return SignIn(client_id, found.get("oidc_authority") or f"{found['authority']}/v2.0")


def _default_scopes(of_entra: object, of_teams_phone: object) -> tuple[str, ...]:
    from ... import DEFAULT_SCOPE, TEAMS_PHONE_SCOPE

    return (TEAMS_PHONE_SCOPE,) if of_teams_phone else (DEFAULT_SCOPE,) if of_entra else ("chat",)
