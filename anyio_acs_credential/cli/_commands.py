"""The commands, and what their exit statuses mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("run",)

_NAME = "acs-credential"


def run(arguments: Sequence[str] | None) -> int:
    """Run a command, and tell a wrong one in a line.

    Args:
        arguments: The command line behind the program's name; None for this process's own.

    Returns:
        The exit status.
    """
    try:
        status: int | None = _group.main(arguments, prog_name=_NAME, standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else _NAME
        click.echo(f"{_NAME}: {' '.join(error.format_message().split())} (see {path} --help)", err=True)
        return error.exit_code
    except click.Abort:  # Ctrl-C while modules are loaded; later, what runs takes care of it
        return 130
    return status or 0


class _Seconds(click.IntRange):
    """Whole seconds; what is none is answered with what would be."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"give whole seconds from {self.min} to {self.max}, not {value!r}", param, ctx)


@click.group(invoke_without_command=True)
@click.version_option(package_name="anyio-acs-credential", message="%(version)s")
@click.pass_context
def _group(context: click.Context) -> None:
    """Access tokens for Azure Communication Services that renew themselves.

    \b
    Begin with:
      acs-credential demo           see it at work; no account and no settings needed
      acs-credential demo --entra   the same for a person who signs in to Entra
    """  # noqa: D301 - click's mark is the character, not its escape
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@_group.command(short_help="See requests outlive their access tokens.")
@click.option("--entra", is_flag=True, help="With a person who signs in to Entra, and the exchange of her tokens.")
@click.option("--seconds", type=_Seconds(10, 120), default=20, show_default=True, help="How long it takes, 10 to 120.")
@click.option(
    "--backend", type=click.Choice(["asyncio", "trio"]), default="asyncio", show_default=True, help="The event loop."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, and the sums in the last.")
def demo(entra: bool, seconds: int, backend: str, as_json: bool) -> int:
    """See requests outlive their access tokens, an outage and a revocation.

    On this machine alone, it starts an emulator of Communication Services whose tokens live a few seconds, and sends
    it chat requests all the time. The token endpoint goes down while a token is to be renewed; later all tokens are
    revoked. No request fails. On a terminal it is shown as a live picture, in a pipe as lines.

    With --entra, the user is a person who signs in with a device code; the demo shows it, and enters it for her. Her
    Entra token is exchanged for access tokens with the scope of Teams Phone Extensibility. It is the exchange that
    goes down, and the revocation ends the Entra token too: a claims challenge asks for a newer one. No second sign-in
    is needed.

    \b
    Examples:
      acs-credential demo                          watch it for 20 seconds
      acs-credential demo --entra                  the same with a sign-in to Entra
      acs-credential demo --seconds 60             the same at a third of the pace
      acs-credential demo --backend trio           on trio instead of asyncio
      acs-credential demo | cat                    a line for each thing that happens
      acs-credential demo --json | tail -n 1       the sums alone, for a program

    \b
    Exit status:
      0  no request failed        130  ended by Ctrl-C
      1  a request failed, or     143  ended by SIGTERM
         nobody signed in
      2  it could not be run      141  nobody reads the output any more
    """  # noqa: D301 - as above
    from ._run import show

    return show(seconds, backend, entra=entra, as_json=as_json)
