"""`acs-credential teams-phone`."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ._arguments import backend_option, connection_option, read_entra_id, require_connection
from ._interrupt import loading
from ._output import say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .. import CommunicationIdentityClient, TeamsPhoneAssignment

    Work = Callable[[CommunicationIdentityClient], Awaitable[dict[str, Any]]]


def _arguments(command: Callable[..., int]) -> Callable[..., int]:
    """Add the arguments and options that each of the commands has."""
    for add in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        backend_option,
        connection_option,
        click.argument("object_id", metavar="OBJECT", callback=read_entra_id),
        click.argument("tenant_id", metavar="TENANT", callback=read_entra_id),
    ):
        command = add(command)
    return command


@click.group(
    name="teams-phone", invoke_without_command=True, short_help="Say who may use Teams Phone through a resource."
)
@click.pass_context
def teams_phone(context: click.Context) -> None:
    """Say who may use Teams Phone through a Communication Services resource (Teams Phone Extensibility).

    Once the resource's owner has allowed it, a person's Entra token is exchanged, and calls to a Teams resource account
    reach the resource. TENANT is the id of the Entra tenant, OBJECT the id of the person or of the resource account in
    it.

    \b
    Examples:
      export ACS_CONNECTION_STRING="endpoint=https://...;accesskey=..."
      acs-credential teams-phone allow 87d349ed-... e5b7f628-...
      acs-credential teams-phone allow --resource-account 87d349ed-... 1fd5118e-...
      acs-credential teams-phone show --json 87d349ed-... e5b7f628-... | jq .client_ids
      acs-credential teams-phone remove 87d349ed-... e5b7f628-...

    \b
    Exit status:
      0  it is so                            130  ended by Ctrl-C
      1  nobody has allowed it (show), or    141  nobody reads the output any more
         the resource refused, or could      143  ended by SIGTERM
         not be reached                      129  ended by SIGHUP
      2  an argument is wrong
    """  # noqa: D301 - click's mark is the character, not its escape
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@teams_phone.command(short_help="Whether somebody may, and how.")
@_arguments
def show(*, tenant_id: str, object_id: str, **options: Any) -> int:
    """Show whether a person, or a Teams resource account, may use Teams Phone through the resource, and how.

    With --json, allowed is true, and principal_type and client_ids say how; or allowed is false, with the status 1.
    """

    async def work(client: CommunicationIdentityClient) -> dict[str, Any]:
        from .._common.errors import ServiceError

        try:
            return _told(await client.get_teams_phone_assignment(tenant_id, object_id))
        except ServiceError as error:
            if error.status_code == 404 and options["as_json"]:
                say(json.dumps(_not_allowed(tenant_id, object_id)))
            raise

    return _run(work, **options)


@teams_phone.command(short_help="Let somebody.")
@_arguments
@click.option("--resource-account", is_flag=True, help="OBJECT is a Teams resource account, and no person.")
@click.option(
    "--client-id",
    "client_ids",
    multiple=True,
    callback=read_entra_id,
    help="An application that the person may use; repeat it. Without it, none is named.",
)
def allow(
    *, tenant_id: str, object_id: str, resource_account: bool, client_ids: tuple[str, ...], **options: Any
) -> int:
    """Let a person, or a Teams resource account, use Teams Phone through the resource.

    It replaces what was allowed to them before. Doing it again does no harm.
    """

    async def work(client: CommunicationIdentityClient) -> dict[str, Any]:
        return _told(
            await client.set_teams_phone_assignment(
                tenant_id,
                object_id,
                principal_type="resource_account" if resource_account else "user",
                client_ids=client_ids,
            )
        )

    return _run(work, **options)


@teams_phone.command(short_help="Let somebody no longer.")
@_arguments
def remove(*, tenant_id: str, object_id: str, **options: Any) -> int:
    """Let a person, or a Teams resource account, no longer use Teams Phone through the resource."""

    async def work(client: CommunicationIdentityClient) -> dict[str, Any]:
        await client.delete_teams_phone_assignment(tenant_id, object_id)
        return _not_allowed(tenant_id, object_id)

    return _run(work, **options)


def _not_allowed(tenant_id: str, object_id: str) -> dict[str, Any]:
    return {"tenant_id": tenant_id, "object_id": object_id, "allowed": False}


def _told(assignment: TeamsPhoneAssignment) -> dict[str, Any]:
    return {
        "tenant_id": assignment.tenant_id,
        "object_id": assignment.object_id,
        "allowed": True,
        "principal_type": assignment.principal_type,
        "client_ids": list(assignment.client_ids),
    }


def _run(work: Work, *, connection: str | None, backend: str, as_json: bool) -> int:
    with loading():
        from ._running import run

    return run(partial(_say, require_connection(connection), work, as_json), backend)


async def _say(connection: Any, work: Work, as_json: bool) -> None:
    from ._service import identity_client

    async with identity_client(connection) as client:
        told = await work(client)
    say(*([json.dumps(told)] if as_json else _lines(told)))


def _lines(told: dict[str, Any]) -> list[str]:
    rows = {"tenant": told["tenant_id"], "object": told["object_id"], "allowed": "yes" if told["allowed"] else "no"}
    if told["allowed"]:
        rows["kind"] = told["principal_type"].replace("_", " ")
        rows["applications"] = ", ".join(told["client_ids"]) or "none is named"
    return [f"{title:12}  {text}" for title, text in rows.items()]
